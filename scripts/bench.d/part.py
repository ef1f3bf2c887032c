"""Runs one part of a benchmark in a process of its own: ``python part.py MODULE [ARGUMENT …]``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Last, not first: this folder's http.py would hide the standard library's.
sys.path[0] = str(HERE.parents[1])
sys.path += [str(HERE), str(HERE.parents[1] / "tests")]

if __name__ == "__main__":
    importlib.import_module(f"mediabench.{sys.argv[1]}").main(sys.argv[2:])
