"""What an artist's encoder meets, over streams in memory and a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing
from support.rtmp import RecordingRooms, RtmpClient, statuses
from trio.testing import lockstep_stream_pair, memory_stream_pair

from hausd.config import load
from hausd.core.ids import RoomId
from hausd.core.publishing import Publisher
from hausd.ingest.connection import encoder_name
from hausd.ingest.incoming import Incoming
from hausd.ingest.server import Limits, RtmpIngest, serve_rtmp
from hausd.terms import rtmp_limits
from hausd.wire import amf
from hausd.wire.flv import Tag

KEY, KEY_2 = "sk_one", "sk_two"
ROOM, ROOM_2 = RoomId("room-1"), RoomId("room-2")
SCRIPT = Tag(18, 0, amf.encode("onMetaData") + amf.encode_ecma_array({"encoder": "Test 1.0"}))
AUDIO = Tag(8, 23, b"\xaf\x01RAW")
VIDEO = Tag(9, 40, b"\x17\x01\x00\x00\x00" + b"x" * 4000)


def rooms() -> RecordingRooms:
    return RecordingRooms({KEY: ROOM, KEY_2: ROOM_2})


class Encoder:
    """The far end of a connection."""

    def __init__(self, stream: trio.abc.Stream, client: RtmpClient) -> None:
        self.stream = stream
        self.client = client
        self.heard: list[tuple[int, object]] = []

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def keep_saying(self, pieces: list[bytes], every_s: float) -> None:
        """Until the server closes, which it has to before the pieces run out."""
        try:
            for piece in pieces:
                await self.say(piece)
                await trio.sleep(every_s)
        except trio.BrokenResourceError:
            return
        raise AssertionError("the server took it all")

    async def listen(self) -> None:
        """Until the server closes."""
        while data := await self.stream.receive_some():
            self.heard += self.client.receive(data)

    async def listen_for(self, code: str) -> None:
        while code not in statuses(self.heard):
            data = await self.stream.receive_some()
            assert data, f"closed before {code}: {self.heard}"
            self.heard += self.client.receive(data)

    def description(self) -> str:
        *_, last = (v for kind, v in self.heard if kind == 20 and v[0] == "onStatus")
        return str(last[3]["description"])


class House:
    """A server whose encoders connect in memory."""

    def __init__(self, ingest: RtmpIngest, nursery: trio.Nursery) -> None:
        self.ingest = ingest
        self.nursery = nursery

    def connect(self, address: str = "192.0.2.1", *, lockstep: bool = False) -> Encoder:
        near, far = lockstep_stream_pair() if lockstep else memory_stream_pair()
        self.nursery.start_soon(self.ingest.serve_stream, near, address)
        return Encoder(far, RtmpClient())

    async def publish(self, key: str = KEY, address: str = "192.0.2.1") -> Encoder:
        encoder = self.connect(address)
        await encoder.say(encoder.client.opening(key))
        await encoder.listen_for("NetStream.Publish.Start")
        await encoder.say(encoder.client.tag(SCRIPT))
        return encoder


@asynccontextmanager
async def house(recording: RecordingRooms, limits: Limits | None = None) -> AsyncIterator[House]:
    async with serve_rtmp([], recording, limits) as ingest, trio.open_nursery() as nursery:
        yield House(ingest, nursery)
        nursery.cancel_scope.cancel()


async def test_what_is_published_reaches_the_room_in_order_to_the_last_tag() -> None:
    recording = rooms()
    async with house(recording) as at:
        encoder = await at.publish()
        await encoder.say(encoder.client.tag(AUDIO) + encoder.client.tag(VIDEO))
        await encoder.say(encoder.client.tag(AUDIO) + encoder.client.unpublish())
        feed = await recording.feed()
        await feed.ended.wait()
    assert feed.tags == [SCRIPT, AUDIO, VIDEO, AUDIO]
    assert feed.room == ROOM
    assert feed.publisher == Publisher("192.0.2.1", "rtmp", "Test 1.0")
    assert feed.closed_because == "the encoder finished"


async def test_media_sent_before_the_answer_is_not_lost() -> None:
    recording = rooms()
    async with house(recording) as at:
        encoder = at.connect()
        client = encoder.client
        await encoder.say(client.opening(KEY) + client.tag(VIDEO) + client.unpublish())
        feed = await recording.feed()
        await feed.ended.wait()
    assert feed.tags == [VIDEO]


async def test_an_encoder_may_publish_again_on_the_same_connection() -> None:
    recording = rooms()
    async with house(recording) as at:
        encoder = await at.publish()
        client = encoder.client
        await encoder.say(client.unpublish() + client.publish(KEY_2) + client.tag(VIDEO))
        feed = await recording.feed(1)
        await encoder.stream.aclose()
        await feed.ended.wait()
    assert feed.room == ROOM_2
    assert feed.tags == [VIDEO]
    assert feed.closed_because == "the encoder closed the connection without saying so"


async def test_a_wrong_key_is_answered_in_words_and_closed_a_little_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording, Limits(linger_s=1.0)) as at:
        encoder = at.connect()
        await encoder.say(encoder.client.opening("guess") + encoder.client.tag(VIDEO))
        await encoder.listen()
        assert trio.current_time() >= 1.0
    assert statuses(encoder.heard) == ["NetStream.Publish.BadName"]
    assert encoder.description() == "No room has this stream key."
    assert recording.feeds == []


async def test_many_wrong_keys_from_one_address_make_it_wait_whatever_it_tries(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    limits = Limits(linger_s=0.01, max_attempts=5, attempts_window_s=60)

    async def attempt(at: House, key: str, address: str) -> list[str]:
        encoder = at.connect(address)
        await encoder.say(encoder.client.opening(key))
        while not statuses(encoder.heard):
            encoder.heard += encoder.client.receive(await encoder.stream.receive_some())
        await encoder.stream.aclose()
        return statuses(encoder.heard)

    async with house(recording, limits) as at:
        for number in range(20):
            await attempt(at, f"guess-{number}", "192.0.2.1")
        assert len(recording.tried) == 5
        assert await attempt(at, KEY, "192.0.2.1") == ["NetStream.Publish.Denied"]
        assert await attempt(at, KEY, "192.0.2.2") == ["NetStream.Publish.Start"]
        await trio.sleep(15)
        assert await attempt(at, KEY, "192.0.2.1") == ["NetStream.Publish.Start"]


@pytest.mark.parametrize("said", [0, 1, 1000, 2000, 3073])
async def test_half_a_handshake_is_closed_in_time(
    said: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with house(rooms(), Limits(handshake_timeout_s=10)) as at:
        encoder = at.connect()
        await encoder.say((encoder.client.hello() + encoder.client.echo())[:said])
        await encoder.listen()
        assert 10 <= trio.current_time() < 11
        await trio.testing.wait_all_tasks_blocked()
        assert at.ingest.connections == 0


async def test_a_publisher_that_stalls_is_closed_with_the_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording, Limits(stall_s=30)) as at:
        await at.publish()
        feed = await recording.feed()
        await feed.ended.wait()
        assert 30 <= trio.current_time() < 31
    assert feed.closed_because == "the encoder sent no media for 30 s"


async def test_a_publisher_that_sends_a_byte_now_and_then_is_closed_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording, Limits(stall_s=30)) as at:
        encoder = await at.publish()
        feed = await recording.feed()
        raw = encoder.client.tag(VIDEO)
        await encoder.keep_saying([raw[n : n + 1] for n in range(len(raw))], every_s=5)
        assert trio.current_time() < 40
        await feed.ended.wait()
    assert "no media for 30 s" in feed.closed_because


async def test_a_busy_room_slows_the_encoder_down_and_nothing_piles_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    recording.busy = True
    async with house(recording, Limits(stall_s=5)) as at:
        encoder = at.connect(lockstep=True)
        client = encoder.client
        raw = client.opening(KEY) + b"".join(client.tag(VIDEO) for _ in range(100))
        sent = 0

        async def send() -> None:
            nonlocal sent
            for start in range(0, len(raw), 1000):
                await encoder.say(raw[start : start + 1000])
                sent += 1000

        at.nursery.start_soon(send)
        at.nursery.start_soon(encoder.listen)
        feed = await recording.feed()
        await trio.sleep(60)  # far longer than stall_s: waiting is not the encoder's fault
        assert feed.tags == []
        assert sent <= 20_000
        feed.gate.set()
        await trio.sleep(1)
        assert sent >= len(raw)
        assert feed.tags == [VIDEO] * 100


async def test_a_room_that_is_busy_for_a_while_is_not_the_encoders_fault(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording, Limits(stall_s=5)) as at:
        encoder = await at.publish()
        feed = await recording.feed()
        await trio.sleep(4)
        feed.gate = trio.Event()
        await encoder.say(encoder.client.tag(VIDEO))
        await trio.sleep(60)
        feed.gate.set()
        await trio.sleep(4)
        assert feed.tags == [SCRIPT, VIDEO]
        assert not feed.ended.is_set()
        await feed.ended.wait()
        assert trio.current_time() < 70
    assert feed.closed_because == "the encoder sent no media for 5 s"


async def test_a_newcomer_with_the_same_key_takes_over_at_once_from_a_dead_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording) as at:
        first = await at.publish()
        old = await recording.feed(0)
        second = await at.publish(address="192.0.2.9")
        await second.say(second.client.tag(VIDEO) + second.client.unpublish())
        new = await recording.feed(1)
        await new.ended.wait()
        await old.ended.wait()
        await first.listen()
        assert trio.current_time() < 2
    assert new.tags == [SCRIPT, VIDEO]
    assert old.closed_because == "another encoder took over"
    assert first.description() == "another encoder took over"


async def test_a_takeover_frees_a_publisher_whose_room_is_stuck(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    recording.busy = True
    async with house(recording) as at:
        await at.publish()
        old = await recording.feed(0)
        recording.busy = False
        await at.publish()
        await old.ended.wait()
        assert trio.current_time() < 2


async def test_a_room_that_closes_sends_its_publisher_away_with_the_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording) as at:
        encoder = await at.publish()
        (await recording.feed()).end("the room was closed")
        await encoder.listen()
    assert encoder.description() == "the room was closed"
    assert statuses(encoder.heard)[-1] == "NetStream.Failed"


async def test_two_publishers_fill_two_rooms_at_once() -> None:
    recording = rooms()
    async with house(recording) as at:
        one, two = await at.publish(KEY), await at.publish(KEY_2)
        for encoder, tag in ((one, AUDIO), (two, VIDEO), (one, AUDIO)):
            await encoder.say(encoder.client.tag(tag))
        for encoder in (one, two):
            await encoder.say(encoder.client.unpublish())
        for number in range(2):
            await (await recording.feed(number)).ended.wait()
    by_room = {feed.room: feed.tags for feed in recording.feeds}
    assert by_room == {ROOM: [SCRIPT, AUDIO, AUDIO], ROOM_2: [SCRIPT, VIDEO]}


async def test_a_full_house_refuses_new_rooms_but_not_a_takeover(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording, Limits(max_publishers=1)) as at:
        await at.publish(KEY)
        refused = at.connect()
        await refused.say(refused.client.opening(KEY_2))
        await refused.listen()
        assert refused.description() == "This node takes 1 publishers at once."
        await at.publish(KEY)
        assert (await recording.feed(1)).room == ROOM


async def test_idle_connections_make_room_for_artists(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    limits = Limits(max_connections=20, max_connections_per_address=5)
    async with house(recording, limits) as at:
        artist = await at.publish(KEY, "198.51.100.1")
        for number in range(300):
            at.connect(f"192.0.2.{number % 30}")
            await trio.testing.wait_all_tasks_blocked()
            assert at.ingest.connections <= 21
        other = await at.publish(KEY_2, "198.51.100.2")
        for encoder in (artist, other):
            await encoder.say(encoder.client.tag(VIDEO) + encoder.client.unpublish())
        for number in range(2):
            await (await recording.feed(number)).ended.wait()
        assert [feed.tags for feed in recording.feeds] == [[SCRIPT, VIDEO]] * 2


async def test_where_all_connections_publish_another_one_is_refused() -> None:
    recording = rooms()
    async with house(recording, Limits(max_connections_per_address=2)) as at:
        await at.publish(KEY)
        await at.publish(KEY_2)
        third = at.connect()
        assert await third.stream.receive_some() == b""


async def test_who_sends_faster_than_allowed_for_long_is_closed_with_the_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording, Limits(max_bytes_per_s=10_000)) as at:
        encoder = await at.publish()
        feed = await recording.feed()
        await encoder.keep_saying([encoder.client.tag(VIDEO) for _ in range(1000)], every_s=0.2)
        await feed.ended.wait()
    assert feed.closed_because == "it sent more than 0.08 Mbit/s for long"


async def test_who_sends_just_as_fast_as_allowed_may_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording, Limits(max_bytes_per_s=10_000)) as at:
        encoder = await at.publish()
        for _ in range(500):
            await encoder.say(encoder.client.tag(VIDEO))
            await trio.sleep(0.42)
        feed = await recording.feed()
        assert len(feed.tags) == 501


async def test_who_sends_much_and_does_not_publish_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with house(rooms()) as at:
        encoder = at.connect()
        client = encoder.client
        await encoder.say(client.hello() + client.echo() + client.connect())
        await encoder.keep_saying([client.tag(VIDEO) for _ in range(200)], every_s=0.04)  # for 8 s


async def test_a_stranger_is_heard_in_small_pieces_and_not_for_long(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    take = Incoming.take

    def counted(self: Incoming, untrusted: bytes, *, just_now: bool = True) -> None:
        heard.append(len(untrusted))
        take(self, untrusted, just_now=just_now)

    monkeypatch.setattr(Incoming, "take", counted)
    async with house(rooms()) as at:
        encoder = at.connect()
        client = encoder.client
        await encoder.say(client.hello() + client.echo() + client.tag(AUDIO) * 10_000)
        await encoder.listen()
    assert max(heard) <= 2048
    assert sum(heard) <= 34 * 1024


async def test_nonsense_in_mid_stream_ends_it_with_the_reason_after_what_was_whole() -> None:
    recording = rooms()
    async with house(recording) as at:
        encoder = await at.publish()
        await encoder.say(encoder.client.tag(VIDEO) + b"\xfe" * 100)
        feed = await recording.feed()
        await feed.ended.wait()
    assert feed.tags == [SCRIPT, VIDEO]
    assert feed.closed_because == "chunk stream 62 begins without a header"


async def test_a_node_that_stops_tells_the_room_why_the_publisher_left() -> None:
    recording = rooms()
    async with house(recording) as at:
        await at.publish()
        feed = await recording.feed()
    assert feed.closed_because == "the node is stopping"


async def test_who_wants_to_watch_reads_where(autojump_clock: trio.testing.MockClock) -> None:
    async with house(rooms()) as at:
        encoder = at.connect()
        client = encoder.client
        await encoder.say(client.hello() + client.echo() + client.connect())
        await encoder.say(client.command("play", 0, None, "x", stream_id=1))
        await encoder.listen()
    assert statuses(encoder.heard) == ["NetStream.Play.Failed"]


async def test_a_fault_in_a_room_ends_its_connection_only() -> None:
    class Faulty(RecordingRooms):
        def admit(self, untrusted_key: str) -> RoomId:
            if untrusted_key == "fault":
                raise RuntimeError("a fault of the room")
            return ROOM

    recording = Faulty({})
    async with house(recording) as at:
        encoder = at.connect()
        await encoder.say(encoder.client.opening("fault"))
        with trio.move_on_after(5):
            await encoder.listen()
        await at.publish()
        assert (await recording.feed()).room == ROOM


async def test_no_log_line_holds_a_stream_key(autojump_clock: trio.testing.MockClock) -> None:
    recording = rooms()
    with structlog.testing.capture_logs() as logs:
        async with house(recording) as at:
            for app, name in (("live", KEY), (f"live/{KEY}", ""), ("live", f"{KEY}-wrong")):
                encoder = at.connect()
                encoder.client.app = app
                await encoder.say(encoder.client.opening(name))
                await encoder.say(encoder.client.tag(VIDEO) + encoder.client.unpublish())
                await encoder.stream.send_eof()
                await encoder.listen()
    assert len(logs) >= 3
    assert KEY not in repr(logs)


@pytest.mark.parametrize(
    ("flash_version", "metadata", "name"),
    [
        ("FMLE/3.0 (compatible; Lavf59.27.100)", None, "Lavf59.27.100"),
        ("FMLE/3.0 (compatible; obs-studio/30.0.2; FMSc/1.0)", None, "obs-studio/30.0.2"),
        (
            "FMLE/3.0 (compatible; FMSc/1.0)",
            "obs-output module (libobs)",
            "obs-output module (libobs)",
        ),
        ("FMLE/3.0 (compatible; FMSc/1.0)", None, "FMLE/3.0 (compatible; FMSc/1.0)"),
        ("LNX 10,0,32,18", None, "LNX 10,0,32,18"),
        ("", None, ""),
        ("", "evil\x1b[31m\n" + "x" * 200, "evil[31m" + "x" * 72),
    ],
)
def test_the_encoder_is_called_what_it_calls_itself(
    flash_version: str, metadata: str | None, name: str
) -> None:
    values = {"encoder": metadata} if metadata else {}
    tag = Tag(18, 0, amf.encode("onMetaData") + amf.encode_ecma_array(values))
    assert encoder_name(flash_version, [VIDEO, tag]) == name


async def test_changed_limits_hold_for_connections_from_then_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    recording = rooms()
    async with house(recording, Limits(stall_s=30)) as at:
        at.ingest.set_limits(Limits(stall_s=5, max_attempts=1))
        await at.publish()
        feed = await recording.feed()
        await feed.ended.wait()
        assert trio.current_time() < 6
        for _ in range(3):
            encoder = at.connect()
            await encoder.say(encoder.client.opening("guess"))
            await encoder.listen()
        assert recording.tried == [KEY, "guess"]


async def test_each_limit_of_the_configuration_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sets = ["rtmp.max_message_bytes=65536", "rtmp.max_bytes_per_s=20 KB"]
    sets.append("rtmp.max_connections_per_address=2")
    limits = rtmp_limits(load(Path("/nonexistent"), sets=sets).config)
    recording = rooms()
    async with house(recording) as at:
        at.ingest.set_limits(limits)
        first, *_ = [at.connect() for _ in range(3)]
        await first.listen()  # it made room for the third
        while at.ingest.connections > 2:
            await trio.lowlevel.checkpoint()
        encoder = await at.publish(KEY, "192.0.2.2")
        await encoder.say(encoder.client.tag(Tag(9, 40, bytes(65_537))))
        feed = await recording.feed()
        await feed.ended.wait()
        assert feed.closed_because == "a message of 65537 bytes; 65536 are allowed"
        encoder = await at.publish(KEY, "192.0.2.2")
        await encoder.keep_saying([encoder.client.tag(VIDEO) for _ in range(1000)], every_s=0.1)
        feed = await recording.feed(1)
        await feed.ended.wait()
        assert feed.closed_because == "it sent more than 0.16 Mbit/s for long"
