"""A guest list is read exactly, or refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from hausctl.client import Refused
from hausctl.guests import read_guests

_addresses = st.binary(min_size=32, max_size=32).map(lambda raw: str(Pubkey(raw)))
_GUEST = str(Pubkey(b"g" * 32))


@given(st.dictionaries(_addresses, st.integers(1, 65_535), min_size=1))
def test_what_is_listed_is_read(
    tmp_path_factory: pytest.TempPathFactory, guests: dict[str, int]
) -> None:
    file = tmp_path_factory.getbasetemp() / "guests.csv"
    file.write_text("".join(f"{who}, {count} # remark\n\n" for who, count in guests.items()))
    assert read_guests(str(file), 7) == guests


def test_without_a_count_the_given_one_is_meant(tmp_path: Path) -> None:
    (tmp_path / "guests").write_text(f"# friends\n{_GUEST}\n")
    assert read_guests(str(tmp_path / "guests"), 2) == {_GUEST: 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names nobody"),
        ("x\n", "line 1"),
        (f"{_GUEST}\n{_GUEST}\n", "line 2"),
        (f"{_GUEST},0\n", "'0' is no count"),
        (f"{_GUEST},-1\n", "'-1' is no count"),
        (f"{_GUEST},70000\n", "'70000' is no count"),
        (f"{_GUEST},²\n", "is no count"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "guests").write_text(text)
    with pytest.raises(Refused, match=said):
        read_guests(str(tmp_path / "guests"), 1)


def test_a_list_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "guests").write_bytes(b"\xff\xfe")
    for name in ("guests", "nowhere"):
        with pytest.raises(Refused):
            read_guests(str(tmp_path / name), 1)
