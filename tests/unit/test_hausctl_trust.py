"""A node that names other programs than its user pinned gets no signature."""

from __future__ import annotations

from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from hausctl.client import Refused
from hausctl.trust import CLUSTERS, pin, told_programs, warning
from hausd.core.chain_shapes import ChainShape
from hausd.core.programs.addresses import EMBEDDED

_OTHERS = tuple(str(Pubkey(bytes([number]) * 32)) for number in (1, 2, 3))
_DEVNET = next(genesis for genesis, name in CLUSTERS.items() if name == "devnet")
_PRIVATE = str(Pubkey(b"p" * 32))


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "hausctl" / "programs"


def _chain(genesis: str, programs: tuple[str, ...], *, embedded: bool = False) -> ChainShape:
    event, ticket, tips = programs
    return ChainShape(
        genesis=genesis,
        slot=1,
        embedded=embedded,
        event_factory=event,
        ticket_factory=ticket,
        live_tipping=tips,
        fee_bps=0,
        endpoints=[],
    )


@pytest.mark.parametrize("genesis", CLUSTERS)
def test_programs_of_a_public_chain_are_named_until_they_are_pinned(genesis: str) -> None:
    chain = _chain(genesis, _OTHERS)
    said = warning(chain, "")
    assert CLUSTERS[genesis] in said
    assert all(each in said for each in _OTHERS)
    pin(chain)
    assert warning(chain, "") == ""


def test_others_than_the_pinned_are_refused(config: Path) -> None:
    pin(_chain(_DEVNET, _OTHERS))
    lying = _chain(_DEVNET, (*_OTHERS[:2], str(Pubkey(b"l" * 32))))
    with pytest.raises(Refused, match="other programs"):
        warning(lying, "")
    with pytest.raises(Refused, match="others for this chain"):
        pin(lying)
    assert len(config.read_text().splitlines()) == 1


def test_the_option_counts_more_than_the_file() -> None:
    chain = _chain(_DEVNET, _OTHERS)
    assert warning(chain, ",".join(_OTHERS)) == ""
    assert warning(chain, _OTHERS[0]) == ""  # it names the others itself
    with pytest.raises(Refused, match="other programs"):
        warning(chain, _OTHERS[1])


def test_the_nodes_own_chain_has_the_programs_that_come_with_it() -> None:
    assert warning(_chain(_PRIVATE, tuple(map(str, EMBEDDED)), embedded=True), "") == ""
    assert "not the programs" in warning(_chain(_PRIVATE, _OTHERS, embedded=True), "")
    assert told_programs(_chain(_PRIVATE, _OTHERS)) == _OTHERS


@pytest.mark.parametrize("line", ["x", "a b c", "a b c d e"])
def test_a_line_that_says_nothing_is_refused(config: Path, line: str) -> None:
    config.parent.mkdir()
    config.write_text(f"# remark\n\nother a b c\n{_DEVNET} {line}\n")
    with pytest.raises(Refused, match="line 4"):
        warning(_chain(_DEVNET, _OTHERS), "")


@pytest.mark.parametrize("option", ["x", "a,b", "a,b,c,d", ",", f"{_OTHERS[0]},,"])
def test_an_option_that_names_no_addresses_is_refused(option: str) -> None:
    with pytest.raises(Refused):
        warning(_chain(_DEVNET, _OTHERS), option)
