"""``python -m hausd.config``: the commented TOML, or what a node's configuration comes to.

``template`` prints the commented TOML. ``show [--home DIR] [--config FILE] [--set …]`` prints the
configuration that a node would start with, as JSON: ``{"values": …, "faults": […]}``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from hausd.config.faults import ConfigError
from hausd.config.home import default_home
from hausd.config.load import load
from hausd.config.template import commented_toml


def main(arguments: list[str] | None = None) -> int:
    """Runs it; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hausd.config", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("template")
    show = commands.add_parser("show")
    show.add_argument("--home", type=Path, default=default_home())
    show.add_argument("--config", type=Path)
    show.add_argument("--set", action="append", default=[])
    given = parser.parse_args(arguments)
    if given.command == "template":
        sys.stdout.write(commented_toml())
        return 0
    try:
        loaded = load(given.home, file=given.config, environ=os.environ, sets=given.set)
    except ConfigError as error:
        json.dump({"values": None, "faults": list(map(str, error.faults))}, sys.stdout)
        return 2
    json.dump({"values": loaded.config.model_dump(mode="json"), "faults": []}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
