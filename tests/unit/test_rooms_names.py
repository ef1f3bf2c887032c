"""Where a room's name points: to what can be played, with a sequence that only grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.hosts import seed_of

from hausd.core.cid import CID, Codec
from hausd.core.ids import is_room_id, room_cid
from hausd.core.keys import SigningKey
from hausd.core.peers import peer_id_of
from hausd.rooms.names import CHECKPOINT_NS, LIFETIME_NS, newest, renewed
from hausd.rooms.records import RoomRecord
from hausd.wire import ipns

KEY = SigningKey(seed_of("room"))
NAME = peer_id_of(KEY.public)
NOW_NS = 1_800_000_000 * 10**9


def record() -> RoomRecord:
    return RoomRecord(id=KEY.public.open_room, title="", created_ms=0, seed=seed_of("room"))


def manifest(number: int) -> str:
    return str(CID.of(b"%d" % number, Codec.DAG_CBOR))


def turn(room: RoomRecord, now_ns: int) -> tuple[int, str] | None:
    """Signs where that is due: sequence and path."""
    made = renewed(room, now_ns)
    if made is None:
        return None
    room.name = made.encoded
    assert ipns.verify(made.encoded, NAME, now_ns) == made
    return made.sequence, made.path.removeprefix("/ipfs/")


def test_a_name_points_to_checkpoints_until_there_is_something_finished() -> None:
    room = record()
    assert turn(room, NOW_NS) is None, "nothing is recorded"
    room.manifest = manifest(1)
    assert turn(room, NOW_NS) == (1, manifest(1))
    room.manifest = manifest(2)
    assert turn(room, NOW_NS + CHECKPOINT_NS - 1) is None
    assert turn(room, NOW_NS + CHECKPOINT_NS) == (2, manifest(2))
    room.directory = manifest(10)
    assert turn(room, NOW_NS + CHECKPOINT_NS + 1) == (3, manifest(10)), "the end is told at once"
    room.manifest = manifest(3)
    assert turn(room, NOW_NS + 9 * CHECKPOINT_NS) is None, "it is live again"
    room.directory = manifest(11)
    assert turn(room, NOW_NS + 9 * CHECKPOINT_NS) == (4, manifest(11))


def test_a_record_is_renewed_long_before_it_is_over_under_the_same_number() -> None:
    room = record()
    room.manifest = manifest(1)
    assert turn(room, NOW_NS) == (1, manifest(1))
    assert turn(room, NOW_NS + LIFETIME_NS // 2 - 1) is None
    assert turn(room, NOW_NS + LIFETIME_NS // 2) == (1, manifest(1))
    before = newest(room)
    assert before is not None
    assert turn(room, NOW_NS - LIFETIME_NS) is not None, "a clock that was set back"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, LIFETIME_NS))))
def test_whatever_happens_a_number_means_one_place(
    steps: list[tuple[int, int, int]],
) -> None:
    room, now_ns = record(), NOW_NS
    said: dict[int, str] = {}
    last = 0
    for number, finished, later_ns in steps:
        now_ns += later_ns
        room.manifest = manifest(number)
        room.directory = manifest(100 + finished) if finished else room.directory
        made = turn(room, now_ns)
        if made is not None:
            assert made[0] >= last
            last = made[0]
            assert said.setdefault(*made) == made[1]


def test_a_file_that_lost_its_record_begins_anew() -> None:
    room = record()
    room.name = b"damaged"
    assert newest(room) is None
    room.manifest = manifest(1)
    assert turn(room, NOW_NS) == (1, manifest(1))


def test_a_rooms_cid_is_what_anybody_can_make_of_its_id() -> None:
    room = KEY.public.open_room
    assert is_room_id(room)
    assert room_cid(room) == CID.of(f"/haus/1/room/{room}".encode())
