"""Who signs: a key file as Solana's CLI writes it, or a program that keeps the key elsewhere.

The signer program (``--signer "COMMAND ARGUMENTS"``) is run in two ways: with ``address`` as its
last argument it writes the wallet's address, base58, on one line; with ``sign`` it reads the
message's bytes on standard input until their end, and writes the signature, base58, on one line.
Exit status 0; what it says to people goes to standard error. It has two minutes, for a device whose
button has to be pressed.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from hausctl.client import Refused

if TYPE_CHECKING:
    from solders.keypair import Keypair
    from solders.pubkey import Pubkey
    from solders.signature import Signature

DEFAULT_KEYPAIR = Path("~/.config/solana/id.json")
SIGN_TIMEOUT_S = 120
_MAX_FILE_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

KeypairOption = Annotated[
    str,
    typer.Option(
        "--keypair",
        metavar="FILE",
        help="The wallet, in the format of Solana's CLI (default ~/.config/solana/id.json).",
    ),
]
SignerOption = Annotated[
    str,
    typer.Option(
        "--signer",
        metavar="COMMAND",
        help="A program that signs instead: see docs/wallets.md.",
    ),
]


class Wallet(Protocol):
    """An address, and signatures by it."""

    @property
    def address(self) -> Pubkey: ...

    def sign(self, message: bytes) -> Signature:
        """Signs a message's bytes. Raises Refused."""


def wallet(keypair: str, signer: str) -> Wallet:
    """The wallet that the options name. Raises Refused."""
    if keypair and signer:
        raise typer.BadParameter("name either --keypair or --signer")
    if signer:
        try:
            command = shlex.split(signer)
        except ValueError as fault:
            message = f"{signer!r} is no command line: {str(fault).lower()}"
            raise typer.BadParameter(message, param_hint="--signer") from None
        if not command:
            raise typer.BadParameter("it names no program", param_hint="--signer")
        return ExternalSigner(command)
    return KeyFile.read(Path(keypair).expanduser() if keypair else DEFAULT_KEYPAIR.expanduser())


class KeyFile:
    """A wallet whose key is in a file."""

    def __init__(self, key: Keypair) -> None:
        self._key = key

    @classmethod
    def read(cls, path: Path) -> KeyFile:
        """Reads a file of Solana's CLI: a JSON list of 64 numbers. Raises Refused."""
        from solders.keypair import Keypair

        hint = "name a key file with --keypair, or a program with --signer"
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read(_MAX_FILE_BYTES + 1)
        except OSError as fault:
            raise Refused("no-wallet", f"{path} can't be read ({fault.strerror})", hint) from None
        if mode & _OTHERS:
            raise Refused(
                "wallet-open", f"other users may read the wallet {path}", f"chmod 600 {path}"
            )
        try:
            numbers = json.loads(raw)
            if not isinstance(numbers, list) or len(numbers) != 64:
                raise ValueError
            return cls(Keypair.from_bytes(bytes(numbers)))
        except (ValueError, TypeError):
            message = f"{path} is no key file of Solana's CLI: a JSON list of 64 numbers"
            raise Refused("bad-wallet", message, hint) from None

    @property
    def address(self) -> Pubkey:
        return self._key.pubkey()

    def sign(self, message: bytes) -> Signature:
        return self._key.sign_message(message)


class ExternalSigner:
    """A wallet whose key a program keeps."""

    def __init__(self, command: list[str]) -> None:
        from solders.pubkey import Pubkey

        self._command = command
        told = self._run("address", b"")
        try:
            self.address = Pubkey.from_string(told)
        except ValueError:
            raise Refused("bad-signer", f"the signer tells no address: {told[:80]!r}") from None

    def sign(self, message: bytes) -> Signature:
        from solders.signature import Signature

        try:
            signature = Signature.from_string(self._run("sign", message))
        except ValueError:
            raise Refused("bad-signer", "the signer gives no signature", _UNPAID) from None
        if not signature.verify(self.address, message):
            raise Refused("bad-signer", "the signer's signature is wrong", _UNPAID)
        return signature

    def _run(self, what: str, given: bytes) -> str:
        name = self._command[0] if self._command else ""
        try:
            done = subprocess.run(
                [*self._command, what],
                input=given,
                stdout=subprocess.PIPE,
                timeout=SIGN_TIMEOUT_S,
                check=True,
            )
        except (OSError, IndexError) as fault:
            raise Refused("no-signer", f"the signer {name!r} can't be run ({fault})") from None
        except subprocess.TimeoutExpired:
            message = f"the signer did not answer within {SIGN_TIMEOUT_S} s"
            raise Refused("signer-slow", message, _UNPAID) from None
        except subprocess.CalledProcessError as fault:
            message = f"the signer refuses (exit status {fault.returncode})"
            raise Refused("signer-refuses", message, _UNPAID) from None
        return done.stdout.decode("ascii", "replace").strip()


_UNPAID = "nothing was sent or paid"
