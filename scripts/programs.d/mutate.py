"""Takes each check out of the programs, one by one, and says which no test misses.

    scripts/programs mutate [--jobs N] [--only TEXT] [--resume FILE] [FOLDER…]

with folders of programs/, or all of them.

A check is a call of ``require…`` and the like, an ``if`` that refuses, a part of an ``&&`` (or, in
a refusal, of an ``||``), a guard, or arithmetic that is checked. All are put behind one switch, in
a copy, which is built once; a number in the built programs says which is off. So trying one takes
no longer than its tests. Those that another check stands behind are in ``redundant.toml``, with the
reason; any other that no test misses wants a test, or wants to go.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from checks import SWITCH, Check, instrumented

ROOT = Path(__file__).resolve().parents[2]
LISTED = Path(__file__).with_name("redundant.toml")
NAMES = ("live_tipping", "ticket_factory", "event_factory")
FOLDERS = (*NAMES, "common")
_SOURCES = (".rs", ".py", ".toml", ".lock")
MAGIC = b"hausd's mutant: "
NONE = 0xFFFF
MOST_FIRST = 12
NOTICED, REDUNDANT, MISSED, PASSED = "noticed", "redundant", "MISSED", "passed"
ALL = "all"
_POTS = ("pots_limits", "pots_rules", "pots_states", "pots_attacks", "pots_life")
_TOKENS = ("tokens_mints", "tokens_recipients", "tokens_life")
_EVENTS = ("event_limits", "platform_limits", "event_factory_refusals", "endings", "payees", "life")
TESTS = {
    "common": (*_POTS, *_EVENTS, *_TOKENS, "pots_model"),
    "live_tipping": (*_POTS, *_TOKENS, "endings", "payees", "life", "pots_model"),
    "ticket_factory": (*_POTS, *_TOKENS, "payees", "life", "pots_model"),
    "event_factory": (*_EVENTS, *_TOKENS, "pots_model"),
}
"""The quick ones first."""
_LONG = {"pots_model"}


def prepared(copy: Path) -> list[Check]:
    """Puts every check in a copy of the sources behind the switch."""
    checks: list[Check] = []
    for folder in FOLDERS:
        for path in sorted((copy / "programs" / folder / "src").rglob("*.rs")):
            crate = "crate" if folder == "common" else "hausd_common"
            name = path.relative_to(copy / "programs")
            source, found = instrumented(path.read_text(), name, len(checks), crate)
            path.write_text(source)
            checks += found
    library = copy / "programs" / "common" / "src" / "lib.rs"
    library.write_text(library.read_text() + SWITCH.format(magic=MAGIC.decode()))
    return checks


def copied(copy: Path) -> None:
    """What a build needs, anew."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "programs", copy / "programs", ignore=shutil.ignore_patterns("target"))
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    shutil.copytree(ROOT / "tests/support/artifacts", copy / "tests/support/artifacts")


def built(copy: Path) -> None:
    """v0 alone: what is tried is the checks, not the two encodings. Once for the same sources."""
    artifacts, kept = copy / "programs" / "artifacts", copy.parent / "built"
    of = hashed(copy / "programs")
    if (kept / "of").exists() and (kept / "of").read_text() == of:
        shutil.copytree(kept, artifacts, dirs_exist_ok=True)
        return
    wanted = {"PROGRAMS_VERSIONS": "v0", "PROGRAMS_NAMES": " ".join(NAMES)}
    # core and the libraries are those of the ordinary build
    sources = ROOT / "programs"
    shared = {"PROGRAMS_TARGET_DIR": str(sources / "target"), "PROGRAMS_REMAPPED": str(sources)}
    environment = os.environ | wanted | shared
    command = [copy / "scripts" / "programs", "build"]
    run = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        sys.exit(f"the copy does not build:\n{run.stderr}")
    shutil.copytree(artifacts, kept, dirs_exist_ok=True)
    (kept / "of").write_text(of)


def switched(copy: Path, number: int, to: Path) -> None:
    """The three programs with one check off."""
    for name in NAMES:
        code = bytearray((copy / "programs" / "artifacts" / f"{name}_v0.so").read_bytes())
        at = code.index(MAGIC) + len(MAGIC)
        code[at : at + 2] = number.to_bytes(2, "little")
        (to / f"{name}_v0.so").write_bytes(code)


class Trier:
    """A process that tries one build after the other, in a folder of its own."""

    def __init__(self, copy: Path, number: int) -> None:
        self._copy, self._folder = copy, copy / f"trial-{number}"
        self._folder.mkdir()
        # what is imported skips tests where nothing is built
        switched(copy, NONE, self._folder)
        python = ROOT / ".venv" / "bin" / "python"
        folder = str(self._folder)
        places = {"HAUSD_ARTIFACTS": folder, "HYPOTHESIS_STORAGE_DIRECTORY": folder}
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("trying.py")],
            cwd=ROOT,
            env=os.environ | places | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def noticed(self, number: int, tests: list[str], first: list[str], named: str = "") -> str:
        """The test that fails with that check off, or nothing.

        ``first`` is tried first, then what is ``named`` so.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        switched(self._copy, number, self._folder)
        options = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        files = [f"tests/programs/test_{name}.py" for name in tests]
        trials = [[*options, *files]]
        if named:
            trials.insert(0, [*options, *files, "-k", f"({named}) and not TestLife"])
        if first:
            trials.insert(0, [*options, *first])
        self._process.stdin.write(json.dumps(trials) + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline().strip()
        return "" if said == "passed" else said

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Tried:
    """What was found before, a JSON line each, as long as it holds: what a test noticed, for the
    same sources; what none did, for the same tests as well."""

    def __init__(self, path: Path | None, *, quick: bool) -> None:
        self._path = path
        self._all = hashed(ROOT / "tests/programs", ROOT / "tests/support")
        self._tests = self._all + " but the long" * quick
        self._sources = {
            folder: hashed(*(ROOT / "programs" / each / "src" for each in {folder, "common"}))
            for folder in FOLDERS
        }
        self._sources[ALL] = hashed(*(ROOT / "programs" / each / "src" for each in FOLDERS))
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self._words = {tuple(found[:-1]): found[-1] for found in map(json.loads, lines)}

    def word(self, check: str, folder: str) -> str | None:
        key = (check, self._sources[folder])
        held = ("", self._all, self._tests)
        return next((self._words[*key, each] for each in held if (*key, each) in self._words), None)

    def note(self, check: str, folder: str, word: str) -> None:
        if self._path is None:
            return
        tests = "" if word == NOTICED else self._tests
        line = json.dumps([check, self._sources[folder], tests, word])
        with self._path.open("a") as file:
            file.write(line + "\n")


def hashed(*folders: Path) -> str:
    """The sources in these folders, in 16 digits."""
    hasher = hashlib.sha256()
    paths = [path for folder in folders for path in folder.rglob("*.*") if path.suffix in _SOURCES]
    for path in sorted(paths):
        hasher.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()[:16]


def tests_of(folder: str, *, quick: bool) -> list[str]:
    return [name for name in TESTS[folder] if not (quick and name in _LONG)]


def named(check: Check) -> str:
    """Tests go by instructions' names, which are those of files, or of functions."""
    if check.file.parent.name != "instructions":
        return ""
    return f"{check.file.stem} or {check.function}"


def now_first(tests: list[str], noticed: str) -> None:
    """What noticed one check is likely to notice the next."""
    tests[:] = [noticed, *(each for each in tests if each != noticed)][:MOST_FIRST]


def known() -> dict[tuple[str, str, str], str]:
    """Checks that others stand behind: by file, function and words, the reason."""
    listed = tomllib.loads(LISTED.read_text()).get("check", [])
    return {(each["file"], each["function"], each["words"]): each["reason"] for each in listed}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/programs mutate", description=__doc__)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help=", ".join(FOLDERS))
    parser.add_argument("--jobs", type=int, default=2, help="how many are tried at once")
    parser.add_argument("--only", default="", help="checks whose file or words have this in them")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="without the model that plays whole events: more is missed",
    )
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="goes on where a run with this file stopped"
    )
    options = parser.parse_args()
    redundant, tried = known(), Tried(options.resume, quick=options.quick)
    # always at the same place, so that cargo finds again what it has built
    copy = ROOT / "programs" / "target" / "mutants" / "copy"
    copied(copy)
    checks = prepared(copy)
    built(copy)
    triers = Queue[Trier]()
    for each in range(options.jobs):
        triers.put(Trier(copy, each))
    trier = triers.get()
    if tried.word(ALL, ALL) is None:
        if failing := trier.noticed(NONE, tests_of("common", quick=options.quick), []):
            print(f"the tests fail before a check is off: {failing}")
            return 2
        tried.note(ALL, ALL, PASSED)
    triers.put(trier)
    numbers = [
        number
        for folder in options.folders or FOLDERS
        for number, check in enumerate(checks)
        if check.folder == folder and options.only in str(check)
    ]
    # what no test is to notice takes longest
    numbers.sort(key=lambda number: checks[number].key in redundant)
    print(f"{len(numbers)} checks", flush=True)

    first: dict[str, list[str]] = {folder: [] for folder in FOLDERS}

    def told(number: int) -> bool:
        check = checks[number]
        word = tried.word(str(check), check.folder)
        if word is None:
            trier = triers.get()
            tests = tests_of(check.folder, quick=options.quick)
            seen = trier.noticed(number, tests, first[check.folder], named(check))
            triers.put(trier)
            word = NOTICED if seen else MISSED
            if "::" in seen:
                now_first(first[check.folder], seen)
            tried.note(str(check), check.folder, word)
        if word == MISSED and check.key in redundant:
            word = REDUNDANT
        print(f"{word:10} {check}", flush=True)
        return word == MISSED

    with ThreadPoolExecutor(options.jobs) as pool:
        missed = sum(pool.map(told, numbers))
    while not triers.empty():
        triers.get().close()
    gone = set(redundant) - {check.key for check in checks}
    for each in sorted(gone):
        print("there is no such check any more:", ": ".join(each))
    print(f"{missed} checks are missed by no test")
    return 1 if missed or gone else 0


if __name__ == "__main__":
    sys.exit(main())
