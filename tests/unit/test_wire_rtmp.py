"""A client and a server joined in memory: the conversations that encoders have."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from support.rtmp import RtmpClient, statuses

from hausd.wire import amf
from hausd.wire.flv import Tag
from hausd.wire.rtmp import (
    Connect,
    Event,
    PlayRefused,
    PublishRequested,
    RtmpServer,
    Unpublished,
    Violated,
)
from hausd.wire.rtmp_chunks import Message

AUDIO = Tag(8, 20, b"\xaf\x01RAW")
VIDEO = Tag(9, 40, b"\x17\x01\x00\x00\x00" + b"x" * 5000)
SCRIPT = Tag(18, 0, amf.encode("onMetaData", {"encoder": "test"}))


class Call:
    """A client and the server it talks to."""

    def __init__(self, client: RtmpClient | None = None) -> None:
        self.client = client or RtmpClient()
        self.server = RtmpServer(bytes(1528))
        self.heard: list[tuple[int, object]] = []

    def say(self, data: bytes) -> list[Event]:
        events = self.server.receive(data)
        self.heard += self.client.receive(self.server.data_to_send())
        return events

    def connected(self) -> Call:
        self.say(self.client.hello() + self.client.echo() + self.client.connect())
        return self

    def publishing(self) -> Call:
        self.connected().say(self.client.publish("KEY"))
        self.accept()
        return self

    def accept(self) -> None:
        self.server.accept_publish()
        self.say(b"")

    def send_message(self, message_type: int, data: bytes, time_ms: int = 0) -> list[Event]:
        return self.say(self.client.writer.write(7, Message(message_type, time_ms, 1, data)))

    def commands(self, name: str) -> list[list[object]]:
        return [said for kind, said in self.heard if kind == 20 and said[0] == name]


def test_an_encoder_publishes_and_leaves() -> None:
    call = Call()
    client = call.client
    assert call.say(client.hello()) == []
    assert call.server.receive(client.echo()) == []
    assert call.say(client.connect()) == [
        Connect("live", "rtmp://127.0.0.1/live", client.flash_version, enhanced=False)
    ]
    assert call.say(client.publish("KEY")) == [PublishRequested(1, "KEY")]
    call.accept()
    assert statuses(call.heard) == ["NetStream.Publish.Start"]
    tags = [SCRIPT, AUDIO, VIDEO]
    assert call.say(b"".join(client.tag(tag) for tag in tags)) == tags
    assert call.say(client.unpublish()) == [Unpublished(1)]
    assert call.say(client.tag(AUDIO)) == []
    assert call.say(client.publish("KEY2")) == [PublishRequested(1, "KEY2")]


def test_an_encoder_that_says_everything_at_once_is_understood() -> None:
    call = Call()
    events = call.say(call.client.opening("KEY") + call.client.tag(VIDEO))
    assert [type(event) for event in events] == [Connect, PublishRequested, Tag]


def test_the_server_answers_the_hello_without_waiting_for_more() -> None:
    server = RtmpServer(b"r" * 1528)
    hello = RtmpClient().hello()
    server.receive(hello[:1])
    assert server.data_to_send() == b""
    server.receive(hello[1:])
    answer = server.data_to_send()
    assert answer[:9] == b"\x03" + bytes(8)
    assert answer[9:1537] == b"r" * 1528
    assert answer[1537:] == hello[1:]


def test_connect_is_answered_with_windows_chunk_size_and_the_codecs_by_fourcc() -> None:
    call = Call().connected()
    kinds = [kind for kind, _ in call.heard]
    assert kinds == [5, 6, 20]  # the chunk size is eaten by the client's reader
    (result,) = call.commands("_result")
    assert result[2]["fourCcList"] == ["avc1", "hvc1", "av01", "mp4a", "Opus", ".mp3"]
    assert result[3]["code"] == "NetConnection.Connect.Success"


def test_the_client_hears_of_the_large_chunk_size() -> None:
    call = Call().connected()
    assert call.client._reader._chunk_bytes == 65_536


@pytest.mark.parametrize(
    ("app", "name", "key"),
    [
        ("live", "KEY", "KEY"),
        ("live/KEY", "", "KEY"),
        ("live/KEY/", "", "KEY"),
        ("", "KEY", "KEY"),
        ("live", "KEY?bwtest=true", "KEY"),
        ("live?x=y", "KEY", "KEY"),
        ("live/KEY?x=y", "?z", "KEY"),
        ("live", "/KEY", "KEY"),
        ("", "live/KEY", "KEY"),
        ("", "", ""),
    ],
)
def test_the_key_is_found_wherever_encoders_put_it(app: str, name: str, key: str) -> None:
    call = Call(RtmpClient(app=app)).connected()
    assert call.say(call.client.publish(name)) == [PublishRequested(1, key)]


def test_events_shown_in_a_log_do_not_tell_the_key() -> None:
    call = Call(RtmpClient(app="live/SECRET"))
    events = call.say(call.client.opening("SECRET"))
    assert "SECRET" not in repr(events)


def test_a_refused_encoder_reads_why_and_its_media_is_ignored() -> None:
    call = Call().connected()
    call.say(call.client.publish("KEY"))
    call.server.reject_publish("NetStream.Publish.BadName", "No room has this key.")
    assert call.say(call.client.tag(VIDEO)) == []
    (status,) = call.commands("onStatus")
    assert status[3]["level"] == "error"
    assert status[3]["description"] == "No room has this key."
    assert call.say(call.client.publish("KEY")) == []


def test_a_publish_taken_back_before_the_answer_is_not_accepted() -> None:
    call = Call().connected()
    events = call.say(call.client.publish("KEY") + call.client.unpublish())
    assert [type(event) for event in events] == [PublishRequested, Unpublished]
    call.accept()
    assert call.say(call.client.tag(VIDEO)) == []


def test_a_second_publish_at_the_same_time_is_refused() -> None:
    call = Call().publishing()
    assert call.say(call.client.publish("OTHER")) == []
    assert call.commands("_error")[0][3]["description"] == "Not possible now: media flows."


def test_who_wants_to_watch_is_told_to_use_http() -> None:
    call = Call().connected()
    assert call.say(call.client.command("play", 0, None, "KEY", stream_id=1)) == [PlayRefused()]
    (status,) = call.commands("onStatus")
    assert status[3]["code"] == "NetStream.Play.Failed"
    assert "HTTP" in status[3]["description"]


def test_courtesies_and_unknown_commands_are_answered() -> None:
    call = Call().connected()
    call.say(call.client.command("FCPublish", 2, None, "KEY"))
    call.say(call.client.command("_checkbw", 3, None))
    call.say(call.client.command("shout", 4, None))
    call.say(call.client.command("whisper", 0, None))
    call.say(call.client.command("closeStream", 0, None))
    assert [said[1] for said in call.commands("_result")] == [1, 2, 3]
    assert [said[1] for said in call.commands("_error")] == [4]
    assert len(call.commands("onFCPublish")) == 1


def test_deleting_another_stream_does_not_end_the_publish() -> None:
    call = Call().publishing()
    assert call.say(call.client.command("deleteStream", 9, None, 3)) == []
    assert call.say(call.client.tag(VIDEO)) == [VIDEO]


def test_commands_and_data_in_amf3_messages_are_read() -> None:
    call = Call().connected()
    publish = b"\0" + amf.encode("publish", 5, None, "KEY", "live")
    assert call.send_message(17, publish) == [PublishRequested(1, "KEY")]
    call.accept()
    body = amf.encode("onMetaData", {"width": 1})
    assert call.send_message(15, b"\0" + amf.encode("@setDataFrame") + body) == [Tag(18, 0, body)]
    assert call.send_message(18, amf.encode("@clearDataFrame", "onMetaData")) == []


def test_aggregate_messages_are_split_and_their_times_shifted() -> None:
    def part(kind: int, time_ms: int, body: bytes) -> bytes:
        time = (time_ms & 0xFFFFFF).to_bytes(3, "big") + bytes((time_ms >> 24,))
        head = bytes((kind,)) + len(body).to_bytes(3, "big") + time + b"\0\0\0"
        return head + body + (11 + len(body)).to_bytes(4, "big")

    call = Call().publishing()
    body = part(9, 0x1000000, b"v") + part(8, 0x1000010, b"a") + part(9, 0x1000028, b"w")
    assert call.send_message(22, body, 500) == [
        Tag(9, 500, b"v"),
        Tag(8, 516, b"a"),
        Tag(9, 540, b"w"),
    ]
    (violated,) = call.send_message(22, body[:-8], 500)[-1:]
    assert violated == Violated("protocol", "an aggregate message ends within a tag")


def test_pings_are_answered_with_their_own_time() -> None:
    call = Call().connected()
    call.heard.clear()
    call.send_message(4, b"\x00\x06\x00\x00\x12\x34")
    call.send_message(4, b"\x00\x03\x00\x00\x00\x01\x00\x00\x03\xe8")
    assert call.heard == [(4, b"\x00\x07\x00\x00\x12\x34")]


def test_what_arrived_is_acknowledged_before_the_window_is_full() -> None:
    call = Call().publishing()
    call.say(call.client.writer.write(2, Message(5, 0, 0, struct.pack(">I", 100_000))))
    call.heard.clear()
    total = 0
    while total < 1_000_000:
        raw = call.client.tag(VIDEO)
        total += len(raw)
        call.say(raw)
    acks = [int.from_bytes(data, "big") for kind, data in call.heard if kind == 3]
    assert len(acks) >= 10
    assert acks == sorted(acks)
    assert all(after - before <= 60_000 for before, after in pairwise(acks))


@pytest.mark.parametrize(
    ("raw", "code", "complaint"),
    [
        (b"GET / HTTP/1.1\r\n", "http", "HTTP was spoken"),
        (b"POST /open/1 HTTP/1.1", "http", "HTTP"),
        (b"\x16\x03\x01\x02\x00", "tls", "TLS was spoken"),
        (b"\x06" + bytes(1536), "rtmpe", "RTMPE"),
        (b"\xff", "not-rtmp", "0xff"),
    ],
)
def test_other_protocols_are_named(raw: bytes, code: str, complaint: str) -> None:
    (violated,) = RtmpServer(bytes(1528)).receive(raw)
    assert isinstance(violated, Violated)
    assert violated.code == code
    assert complaint in violated.reason


@pytest.mark.parametrize(
    ("commands", "complaint"),
    [
        ([("publish", 5, None, "KEY")], "before connect"),
        ([("connect", 1)], "without its properties"),
        ([(3.0,)], "without a name"),
        ([("connect", 1, {}), *[("createStream", 2, None)] * 17], "more than 16 streams"),
    ],
)
def test_commands_out_of_order_end_the_call(
    commands: list[tuple[amf.AmfWritable, ...]], complaint: str
) -> None:
    call = Call()
    client = call.client
    events = call.say(client.hello() + client.echo())
    for values in commands:
        events += call.say(client.command(*values))
    assert isinstance(events[-1], Violated)
    assert complaint in events[-1].reason
    assert call.say(client.connect()) == []


@pytest.mark.parametrize("message", [b"\x02\x00", b"\x02\x00\x01a" * 20_000])
def test_commands_that_are_not_amf_or_far_too_long_end_the_call(message: bytes) -> None:
    (violated,) = Call().connected().send_message(20, message)
    assert isinstance(violated, Violated)


def test_what_came_before_a_fault_still_counts() -> None:
    call = Call().publishing()
    events = call.say(call.client.tag(AUDIO) + call.client.tag(VIDEO) + b"\xff" * 64)
    assert events[:2] == [AUDIO, VIDEO]
    assert isinstance(events[2], Violated)


def test_random_bytes_of_the_wrong_length_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="1528"):
        RtmpServer(b"")
