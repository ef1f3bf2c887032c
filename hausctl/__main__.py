"""The program: global options wherever they stand, the command, and errors in words or JSON."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "hausctl"
COMPLETE_VARIABLE = "_HAUSCTL_COMPLETE"
_FAILED, _USAGE = 1, 2
_NO_TEXT = re.compile("[\ud800-\udfff]")
"""Bytes that are no UTF-8, as Python has them: they could be neither sent nor printed."""
_PROGRAMS = "EVENT_FACTORY or EVENT_FACTORY,TICKET_FACTORY,LIVE_TIPPING"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs hausctl and exits: 0 done, 1 refused or failed, 2 wrong usage."""
    # A pipe that closes early ends the program quietly, as it ends others.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if COMPLETE_VARIABLE in os.environ:
        line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
        # typer's module gives this name without saying that it does
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
        globally = hoisted([*line.split(), "."])  # a --home may still lack its directory
        sys.exit(_run(given, globally, described=True))
    try:
        globally = hoisted(given)
    except ValueError as error:
        sys.exit(_tell("usage", str(error), f"see {PROGRAM} --help", "--json" in given, _USAGE))
    if any(_NO_TEXT.search(word) for word in globally.rest):
        sys.exit(
            _tell("usage", "the command line is no text", "write UTF-8", globally.json, _USAGE)
        )
    if globally.rest == ["--version"]:
        sys.exit(_tell_version(globally.json))
    described = not {"-h", "--help"}.isdisjoint(globally.rest)
    sys.exit(_run(globally.rest, globally, described=described))


@dataclass(frozen=True)
class Hoisted:
    """The options that may stand anywhere, and the rest of the command line."""

    home: Path
    json: bool
    programs: str
    rest: list[str]


def hoisted(arguments: Sequence[str]) -> Hoisted:
    """Takes ``--home DIR``, ``--programs ADDRESSES`` and ``--json`` out, wherever they stand.

    Raises ValueError where one lacks its value. What follows ``--`` stays as it is.
    """
    home, as_json, programs = Path(os.environ.get("HAUSD_HOME") or "~/.hausd"), False, ""
    rest: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += ["--", *left]
            break
        if word == "--json":
            as_json = True
        elif word == "--home":
            if not left:
                raise ValueError("--home needs a directory")
            home = _named(left.pop(0))
        elif word.startswith("--home="):
            home = _named(word.removeprefix("--home="))
        elif word == "--programs":
            if not left:
                raise ValueError(f"--programs needs {_PROGRAMS}")
            programs = left.pop(0)
        elif word.startswith("--programs="):
            programs = word.removeprefix("--programs=")
        else:
            rest.append(word)
    try:
        home = home.expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return Hoisted(home.absolute(), as_json, programs, rest)


def _named(untrusted: str) -> Path:
    if not untrusted:  # as of a variable that isn't set: never the current directory
        raise ValueError("--home needs a directory; it was given an empty name")
    return Path(untrusted)


def _run(arguments: list[str], globally: Hoisted, *, described: bool) -> int:
    import typer

    from hausctl.app import build
    from hausctl.client import Refused
    from hausctl.context import Here
    from hausctl.usage import in_words

    try:
        code = build(described=described)(
            arguments,
            prog_name=PROGRAM,
            complete_var=COMPLETE_VARIABLE,
            obj=Here(globally.home, globally.json, globally.programs),
            standalone_mode=False,
        )
    except Refused as error:
        return _tell(error.code, error.message, error.hint, globally.json, _FAILED)
    except typer.TyperException as error:
        message, hint = in_words(error, PROGRAM)
        return _tell("usage", message, hint, globally.json, _USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return code if isinstance(code, int) else 0


def _tell_version(as_json: bool) -> int:
    from hausd import __version__

    if as_json:
        from hausctl.context import write_json

        write_json({"version": __version__})
    else:
        sys.stdout.write(f"{PROGRAM} {__version__}\n")
    return 0


def _tell(code: str, message: str, hint: str, as_json: bool, exit_code: int) -> int:
    if as_json:
        from hausctl.context import write_json

        write_json({"error": {"code": code, "message": message, "hint": hint}})
    else:
        sys.stderr.write(f"{PROGRAM}: {message}\n")
        for line in hint.splitlines():
            sys.stderr.write(f"  {line}\n")
    return exit_code


if __name__ == "__main__":
    main()
