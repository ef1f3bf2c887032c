"""The IDLs say what the programs are: names, numbers, sentences and layouts, read of the source."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parents[2] / "programs"
NAMES = ("event_factory", "ticket_factory", "live_tipping")
_ERROR = re.compile(r"((?:\s*/// .+\n)+)\s+(\w+) = (\d+),")
_STRUCT = re.compile(r"#\[repr\(C, packed\)\]\npub struct (\w+) \{(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"pub (\w+): (.+),\n|(?<=\n) {4}(?!//|pub )(\w+): (.+),\n")
# how the source says a type, how an IDL does
_TYPES = {
    "Address": ["publicKey"],
    "u8": ["u8", "bool"],
    "u16": ["u16"],
    "u32": ["u32"],
    "u64": ["u64"],
    "i64": ["i64"],
}


def described(name: str) -> Any:
    return json.loads((PROGRAMS / "idl" / f"{name}.json").read_text())


def source(name: str, *files: str) -> str:
    return "\n".join((PROGRAMS / name / "src" / file).read_text() for file in files)


@pytest.mark.parametrize("name", NAMES)
def test_errors_have_the_sources_numbers_and_sentences(name: str) -> None:
    rust = source(name, "error.rs") + source("common", "error.rs")
    written = [
        (int(number), error, " ".join(line.strip()[4:] for line in words.strip().splitlines()))
        for words, error, number in _ERROR.findall(rust)
    ]
    told = [(each["code"], each["name"], each["msg"]) for each in described(name)["errors"]]
    assert told == written


@pytest.mark.parametrize("name", NAMES)
def test_accounts_have_the_sources_fields_in_order(name: str) -> None:
    structs = {
        struct: [(a or c, b or d) for a, b, c, d in _FIELD.findall(body + "\n")]
        for struct, body in _STRUCT.findall(
            source(name, "state.rs") + source("common", "payout.rs")
        )
    }
    idl = described(name)
    assert idl["accounts"]
    for account in idl["accounts"]:
        fields = structs[account["name"]]
        assert fields[0] == ("discriminator", "[u8; 8]")
        flat = []
        for field, kind in fields[1:]:
            flat += structs["Payouts"] if kind == "Payouts" else [(field, kind)]
        for (field, kind), told in zip(flat, account["type"]["fields"], strict=True):
            camel = re.sub(r"_(\w)", lambda found: found[1].upper(), field)
            assert told["name"] == {"len": "payeeLen"}.get(camel, camel)
            assert _same(kind, told["type"]), (account["name"], field, kind, told["type"])


def _same(kind: str, told: Any) -> bool:
    if isinstance(told, str):
        return told in _TYPES[kind]
    if "array" in told:
        element = re.fullmatch(r"\[(\w+); (\w+)\]", kind)
        assert element, kind
        inner, count = told["array"]
        lengths = {"MAX_SPLIT": 8, "MAX_TIERS": 8, "MAX_PAYEES": 10, "MAX_TITLE_BYTES": 64}
        same_length = count == (int(element[2]) if element[2].isdigit() else lengths[element[2]])
        return same_length and (isinstance(inner, dict) or inner in _TYPES[element[1]])
    return False


@pytest.mark.parametrize("name", NAMES)
def test_events_in_the_log_are_described(name: str) -> None:
    folder = PROGRAMS / name / "src"
    rust = "\n".join(path.read_text() for path in folder.rglob("*.rs"))
    written = set(re.findall(r'names::event\("(\w+)"\)', rust))
    assert {event["name"] for event in described(name)["events"]} == written


@pytest.mark.parametrize("name", NAMES)
def test_instructions_are_the_programs(name: str) -> None:
    """Those that only an event signs are EventFactory's business and not described."""
    written = set(re.findall(r'instruction\("(\w+)"\)', source(name, "lib.rs")))
    told = {
        re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), each["name"])
        for each in described(name)["instructions"]
    }
    assert told <= written
    inner = {
        "event_factory": set(),
        "ticket_factory": {
            "init_sale", "add_tier", "open_sale", "close_sale", "settle", "cancel_sale"
        },
        "live_tipping": {
            "init_vault", "open_vault", "set_close", "close_vault", "settle", "cancel_vault"
        },
    }  # fmt: skip
    assert written - told == inner[name]


def test_artifacts_are_those_that_the_sums_name() -> None:
    folder = PROGRAMS / "artifacts"
    lines = (folder / "SHA256SUMS").read_text().split("\n")[:-1]
    sums = {line.split()[1].removeprefix("*").removeprefix("./"): line.split()[0] for line in lines}
    for name in NAMES:
        for version in ("v0", "v3"):
            path = folder / f"{name}_{version}.so"
            assert sums[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()
