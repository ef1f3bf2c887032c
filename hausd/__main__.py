"""``hausd``: reads the command line and the configuration, then runs a node.

Exit codes: 0 stopped, 1 failed, 2 bad configuration.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hausd import __version__
from hausd.config import ConfigError, Loaded, load
from hausd.config.home import HomeError, default_home, node_key, open_home

FAILED = 1
BAD_CONFIGURATION = 2
INTERRUPTED = 130
_MOST_FILES = 65_536


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hausd", description="A peer-to-peer node for ticketed live events."
    )
    parser.add_argument(
        "--home",
        type=_directory,
        default=None,
        metavar="DIR",
        help="where the node keeps everything (default ~/.hausd, or $HAUSD_HOME)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration (default: hausd.toml in the home)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="sets one option; may be given often",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="allow listening off loopback without TLS"
    )
    parser.add_argument("--demo", action="store_true", help="publish a moving test picture")
    parser.add_argument(
        "--greet",
        action="store_true",
        help="say where to stream, with which key, and where to watch (a terminal is always told)",
    )
    parser.add_argument("--check", action="store_true", help="check the configuration and stop")
    parser.add_argument("--version", action="version", version=f"hausd {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; gives its exit code."""
    try:
        return _main(arguments)
    except KeyboardInterrupt:  # before the node ran, or after
        return INTERRUPTED


def _main(arguments: Sequence[str] | None) -> int:
    given = _arguments().parse_args(arguments)
    home_path = given.home or _home_of_environment() or default_home()
    try:
        loaded = load(
            home_path.absolute(),
            file=given.config,
            environ=os.environ,
            sets=given.set,
            insecure=given.insecure,
        )
    except ConfigError as error:
        for fault in error.faults:
            print(f"hausd: {fault}", file=sys.stderr)
        return BAD_CONFIGURATION
    if given.check:
        print("the configuration is good")
        return 0
    try:
        _raise_file_limit()
        with open_home(home_path) as home:
            node_key(home)  # made by the first start; a damaged one is told now
            # imported late: --version, --check and a bad configuration answer at once
            from hausd.node import NodeFailed, run_node

            def read_config() -> Loaded:
                return load(
                    home.path,
                    file=given.config,
                    environ=os.environ,
                    sets=given.set,
                    insecure=given.insecure,
                )

            try:
                run_node(home, loaded, read_config, demo=given.demo, greet=given.greet)
            except NodeFailed as failed:
                return _failed(str(failed), failed.hint)
    except HomeError as error:
        return _failed(str(error), error.hint)
    return 0


def _raise_file_limit() -> None:
    """As many open files as the system lets us have. The usual soft limit of 1,024 is for programs
    that use select(), and is few for viewers, peers and segments together."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # not all systems give what they call the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _directory(untrusted: str) -> Path:
    if not untrusted:  # as of a variable that isn't set: never the current directory
        raise argparse.ArgumentTypeError("it was given an empty name")
    return Path(untrusted)


def _home_of_environment() -> Path | None:
    named = os.environ.get("HAUSD_HOME")
    return Path(named) if named else None


def _failed(message: str, hint: str) -> int:
    print(f"hausd: {message}" + (f"\n  {hint}" if hint else ""), file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
