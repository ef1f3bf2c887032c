"""Rooms' files: what a damaged disk, a restored backup or a newer hausd leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hausd.core.keys import SigningKey
from hausd.rooms.records import VERSION, RecordIsNewer, RoomRecord, RoomRecords

SEED = b"s" * 32


def record(title: str = "Night show", seed: bytes = SEED) -> RoomRecord:
    return RoomRecord(
        id=SigningKey(seed).public.open_room,
        title=title,
        created_ms=1,
        seed=seed,
        stream_key="sk_test",
    )


def file_of(folder: Path, room: RoomRecord) -> Path:
    return folder / f"{room.id}.room.json"


def test_a_room_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    records = RoomRecords(tmp_path)
    records.save(record())
    assert records.load() == ([record()], [])
    assert (file_of(tmp_path, record()).stat().st_mode & 0o777) == 0o600


@pytest.mark.parametrize("harm", ["empty", "cut", "junk", "gone", "seed", "another"])
def test_a_damaged_file_costs_no_room_its_keys(tmp_path: Path, harm: str) -> None:
    records = RoomRecords(tmp_path)
    records.save(record("Before"))
    records.save(record("After"))
    path = file_of(tmp_path, record())
    content = path.read_bytes()
    match harm:
        case "gone":
            path.unlink()
        case "seed":
            told = json.loads(content)
            told["seed"] = "A" * 43 + "="
            path.write_text(json.dumps(told))
        case "another":
            path.write_bytes(
                content.replace(record().id.encode(), record(seed=b"t" * 32).id.encode())
            )
        case _:
            path.write_bytes({"empty": b"", "cut": content[:-9], "junk": os.urandom(99)}[harm])
    (found,), (fault,) = records.load()
    assert (found.title, found.seed) == ("Before", SEED)
    assert path.name in fault
    assert "the copy before it was taken up" in fault


def test_without_a_whole_copy_the_room_is_told_to_be_missing(tmp_path: Path) -> None:
    records = RoomRecords(tmp_path)
    records.save(record())
    file_of(tmp_path, record()).write_bytes(b"{")
    found, (fault,) = records.load()
    assert found == []
    assert "Put it back from a backup" in fault
    assert file_of(tmp_path, record()).read_bytes() == b"{"


def test_a_forgotten_room_does_not_come_back(tmp_path: Path) -> None:
    records = RoomRecords(tmp_path)
    records.save(record())
    records.save(record("Again"))
    records.delete(SigningKey(SEED).public.open_room)
    assert records.load() == ([], [])


def test_a_newer_hausds_file_is_neither_read_nor_written_over(tmp_path: Path) -> None:
    records = RoomRecords(tmp_path)
    records.save(record())
    path = file_of(tmp_path, record())
    path.write_text(json.dumps({"version": VERSION + 1, "what": "ever"}))
    with pytest.raises(RecordIsNewer, match="newer hausd"):
        records.load()
    assert json.loads(path.read_text())["version"] == VERSION + 1


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    records = RoomRecords(tmp_path)
    records.save(record())
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.room.json").write_text("x")
    assert records.load() == ([record()], [])


def test_what_a_full_disk_left_of_a_new_file_is_no_room(tmp_path: Path) -> None:
    records = RoomRecords(tmp_path)
    records.save(record())
    (tmp_path / f"{record(seed=b't' * 32).id}.room.new").write_bytes(b"")
    assert records.load() == ([record()], [])
