"""The certificate that HTTPS is served with."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


class TlsFault(Exception):
    """Certificate or key can't be used; the text says which file and why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate with its chain, and its key."""

    certificate: Path
    key: Path


def load_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 and up, HTTP/2 offered first. Raises TlsFault."""
    for path in (files.certificate, files.key):
        try:
            path.open("rb").close()
        except OSError as fault:
            raise TlsFault(f"{path} can't be read: {fault.strerror}") from fault
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # RFC 9113 section 9.2.2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        # A key with a passphrase would ask on the terminal; an empty one makes it fail instead.
        context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
    except ssl.SSLError as fault:
        what = fault.reason or "not PEM, or protected by a passphrase"
        raise TlsFault(
            f"{files.certificate} and {files.key} are no usable certificate and key: {what}"
        ) from fault
    return context
