"""Takes each check out of the programs, one by one, and says which no test misses.

    scripts/programs mutate [FOLDER…]    folders of programs/: common live_tipping ticket_factory …

A check is a statement that begins with ``require``: it is made to be asked and not heeded. All is
done in a copy. A check may be missed by none because another stands behind it: each that is listed
needs a look, not always a test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("programs", "tests", "hausd", "hausctl", "scripts", "pyproject.toml")
FOLDERS = ("common", "live_tipping", "ticket_factory", "event_factory")
TESTS = ("rules", "states", "attacks", "life", "model")
CHECK = re.compile(
    r"^(?P<indent> +)(?P<call>require\w*\((?:[^;{}]|\{[^{}]*\})*?\))(?P<end>\?;)?\n", re.M
)
"""A statement, or the last expression of a function, which has no ``?;``."""


@dataclass(frozen=True)
class Check:
    path: Path
    start: int
    line: int
    found: re.Match[str]

    def without(self, source: str) -> str:
        """The source with the check's answer thrown away."""
        indent, call = self.found["indent"], self.found["call"]
        tail = "" if self.found["end"] else f"{indent}Ok(())\n"
        made = f"{indent}let _ = {call};\n{tail}"
        return source[: self.found.start()] + made + source[self.found.end() :]

    def __str__(self) -> str:
        words = " ".join(self.found["call"].split())
        return f"{self.path}:{self.line}: {words[:100]}"


def checks_of(programs: Path, folder: str) -> Iterator[Check]:
    for path in sorted((programs / folder / "src").rglob("*.rs")):
        source = path.read_text()
        for found in CHECK.finditer(source):
            line = source.count("\n", 0, found.start()) + 1
            yield Check(path.relative_to(programs), found.start(), line, found)


def built(copy: Path) -> bool:
    """v0 alone: what is tried is the checks, not the two encodings."""
    run = subprocess.run(
        [copy / "scripts" / "programs", "build"],
        env=os.environ | {"PROGRAMS_VERSIONS": "v0"},
        capture_output=True,
        check=False,
    )
    return run.returncode == 0


def noticed(copy: Path) -> bool:
    python = ROOT / ".venv" / "bin" / "python"
    tests = [f"tests/programs/test_{name}.py" for name in _tests(copy)]
    command = [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=copy, capture_output=True, check=False).returncode != 0


def _tests(copy: Path) -> list[str]:
    """The quick ones first; not those of costs, texts and deployments."""
    pots = [f"pots_{name}" for name in TESTS]
    found = {
        path.stem.removeprefix("test_") for path in (copy / "tests/programs").glob("test_*.py")
    }
    return [*pots, *sorted(found - set(pots) - {"costs", "idl", "deploying"})]


def main(folders: list[str]) -> int:
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for each in COPIED:
            source = ROOT / each
            if source.is_dir():
                shutil.copytree(source, copy / each, symlinks=True)
            else:
                shutil.copy(source, copy / each)
        if not built(copy) or noticed(copy):
            print("the programs do not build, or their tests fail, before anything is changed")
            return 2
        missed = [check for folder in folders for check in _unnoticed(copy, folder)]
    print(f"{len(missed)} checks are missed by no test")
    return 1 if missed else 0


def _unnoticed(copy: Path, folder: str) -> Iterator[Check]:
    for check in list(checks_of(copy / "programs", folder)):
        path = copy / "programs" / check.path
        source = path.read_text()
        path.write_text(check.without(source))
        try:
            told = "does not build" if not built(copy) else "noticed"
            if told == "noticed" and not noticed(copy):
                told = "MISSED"
                yield check
        finally:
            path.write_text(source)
        print(f"{told:15} {check}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(FOLDERS)))
