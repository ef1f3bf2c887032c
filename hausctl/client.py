"""Speaks to a node's admin socket.

``http.client`` over a Unix socket rather than a larger HTTP library: a command's time is mostly
imports, and this one is there anyway.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

SOCKET_NAME = "admin.sock"
_MAX_SOCKET_PATH_BYTES = 107
_TIMES = frozenset(
    {"time", "created", "started", "since", "until", "next_try", "heard", "told", "name_until"}
    | {"starts", "ends", "tips_close", "sale_start", "sale_end", "refundable_until"}
)


class Refused(Exception):
    """What the user asked for can't be done; ``code``, ``message`` and ``hint`` say why."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class NotRunning(Refused):
    """No node answers in this home."""

    def __init__(self, home: Path, message: str, hint: str) -> None:
        super().__init__("not-running", message, hint)
        self.home = home


class Client:
    """Requests to the node of one home. Every call raises NotRunning or Refused."""

    def __init__(self, home: Path, timeout_s: float = 30.0) -> None:
        self._home = home
        self._timeout_s = timeout_s

    def get(self, *path: str, query: str = "") -> Any:
        """Asks for something; gives the JSON value as it came."""
        return self._whole("GET", path, None, query)

    def post(self, *path: str, body: Mapping[str, object] | None = None) -> Any:
        """Makes or changes something."""
        return self._whole("POST", path, body)

    def delete(self, *path: str) -> Any:
        """Removes something."""
        return self._whole("DELETE", path, None)

    def lines(
        self,
        method: str,
        *path: str,
        body: Mapping[str, object] | None = None,
        query: str = "",
    ) -> Iterator[Any]:
        """Gives each JSON line of an answer as it comes, however long that takes."""
        with self._answer(method, path, body, query, timeout_s=None) as answer:
            while line := answer.readline():
                yield _read(line)

    def _whole(
        self,
        method: str,
        path: tuple[str, ...],
        body: Mapping[str, object] | None,
        query: str = "",
    ) -> Any:
        with self._answer(method, path, body, query, self._timeout_s) as answer:
            text = answer.read()
        return _read(text) if text else None

    @contextmanager
    def _answer(
        self,
        method: str,
        path: tuple[str, ...],
        body: Mapping[str, object] | None,
        query: str,
        timeout_s: float | None,
    ) -> Iterator[http.client.HTTPResponse]:
        url = "/v1/" + "/".join(quote(part, safe="") for part in path) + query
        connection = _UnixConnection(self._home, timeout_s)
        headers = {"content-type": "application/json"} if body is not None else {}
        try:
            connection.request(method, url, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise _refusal(answer.status, answer.read())
            yield answer
        except (OSError, http.client.HTTPException) as error:
            raise _broken(self._home, error) from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, home: Path, timeout_s: float | None) -> None:
        super().__init__("hausd", timeout=timeout_s)
        self._home = home

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        path = self._home / SOCKET_NAME
        if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
            self.sock.connect(str(path))
            return
        # Too deep for a socket's address: go through the open directory instead.
        directory = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
        finally:
            os.close(directory)


def _read(untrusted: bytes) -> Any:
    try:
        return json.loads(untrusted)
    except ValueError:
        hint = "hausctl doctor looks into it"
        raise Refused("bad-answer", "the node broke off within its answer", hint) from None


def _refusal(status: int, body: bytes) -> Refused:
    try:
        error = json.loads(body)["error"]
        return Refused(str(error["code"]), str(error["message"]), str(error.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        hint = "are hausd and hausctl of the same version?"
        return Refused("bad-answer", f"the node answered {status}, and not in words", hint)


def _broken(home: Path, error: OSError | http.client.HTTPException) -> Refused:
    match error:
        case NotADirectoryError():
            hint = "name the node's home with --home DIR, or $HAUSD_HOME"
            return NotRunning(home, f"{home} is not a directory, so no node's home", hint)
        case FileNotFoundError() | ConnectionRefusedError():
            hint = f"start it with: hausd --home {home}   (or name another home with --home)"
            return NotRunning(home, f"no node runs in {home}", hint)
        case PermissionError():
            hint = "run hausctl as the user that runs the node"
            return NotRunning(home, f"this user may not speak to the node in {home}", hint)
        case TimeoutError():
            return Refused("timeout", "the node doesn't answer", "hausctl doctor looks into it")
        case _:
            hint = "hausctl doctor looks into it"
            return Refused("disconnected", "the node broke the connection off", hint)


def shaped(value: Any) -> Any:
    """A JSON value with its objects' fields as attributes, and its times as datetime.

    The caller says with a cast which shape of ``hausd.core.shapes`` it is: pydantic would cost
    more than the whole command.
    """
    if isinstance(value, list):
        return [shaped(each) for each in value]
    if isinstance(value, dict):
        return SimpleNamespace(
            **{
                name: datetime.fromisoformat(inner)
                if name in _TIMES and isinstance(inner, str)
                else shaped(inner)
                for name, inner in value.items()
            }
        )
    return value
