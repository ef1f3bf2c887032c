"""What the node says is readable, whole, in order, and without secrets."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from support.cpu import done_in_bounds

from hausd.telemetry import (
    LoggedProgress,
    LogRing,
    ProcessProbe,
    count_swallowed,
    exposition,
    redacted,
    redacted_text,
    set_level,
    set_up_logs,
)

SECRET = "Zm9vYmFyMTIz"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


class Logs:
    """Logs set up to go into memory."""

    def __init__(
        self, form: str = "json", level: str = "info", ring: LogRing | None = None
    ) -> None:
        self.out = io.StringIO()
        set_up_logs(level, form, ring, self.out)  # type: ignore[arg-type]  # names of a test

    @property
    def entries(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        f"rtmp://127.0.0.1/live/sk_{SECRET}",
        f"GET /live/k51/index.m3u8?token={SECRET}&x=1",
        f"/live/k51/index.m3u8?x=1&access_token={SECRET}",
        f"GET /t/{SECRET}/live/k51/index.m3u8 HTTP/1.1",
        f"Authorization: Bearer {SECRET}",
        f"authorization: {SECRET}",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f"Proxy-Authorization: Basic {SECRET}",
        f"Set-Cookie: session={SECRET}; Path=/",
        f"https://user:{SECRET}@rpc.example.org/",
        f"password={SECRET}",
        f"https://rpc.example.org/?api-key={SECRET}",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_no_secret_is_left_in_a_text(text: str) -> None:
    assert SECRET not in redacted_text(text)
    assert redacted_text(text), "the rest stays"
    assert SECRET not in str(redacted({"deep": [{"er": text}]}))
    assert SECRET not in str(redacted(text.encode()))
    assert SECRET not in str(redacted(ValueError(text)))


@pytest.mark.parametrize(
    "name",
    ["password", "token", "access_token", "stream_key", "streamkey", "Authorization", "cookie",
     "client_secret", "private_key", "api_key", "passphrase", "seed"],
)  # fmt: skip
def test_no_secret_is_left_in_a_field_that_is_named_after_it(name: str) -> None:
    logs = Logs()
    structlog.get_logger("hausd.x").info("said", **{name: SECRET, "inner": {name: SECRET}})
    assert SECRET not in logs.out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "room k51qzi5uqu5dj6ol2q3rn53iofhyr8dw1ltbztstoboidmy3zcnsz7v23aisu0",
        "risk_of_rain",
        "http://127.0.0.1:8080/live/k51/720p/index.m3u8?_HLS_msn=3&_HLS_part=1",
        "/t/",
        "monkey=banana",
        "2 tokens left",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted_text(text) == text


def test_no_text_takes_long_to_look_through() -> None:
    told = done_in_bounds("""
from hausd.telemetry import redacted_text

units = ("a.", "://", "a:", "a://b:", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END ",
         "authorization", "authorization: ", " ", "cookie'", "bearer ", "token", "_token=", "key=")
for unit in units:
    for begin in ("=", "://", "authorization", "cookie:", "bearer ", "-----BEGIN PRIVATE KEY-----"):
        print(bool(redacted_text(begin + unit * (100_000 // len(unit)))))
""")
    assert told.split() == ["True"] * 90


_plain = st.text() | st.binary() | st.integers() | st.floats() | st.none()


@given(st.recursive(_plain, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=10))
def test_anything_can_be_logged(value: object) -> None:
    json.dumps(redacted(value))


def test_programs_get_one_json_object_a_line() -> None:
    logs = Logs()
    structlog.get_logger("hausd.rooms").warning("room-stalled", room="k51", text="two\nlines", n=3)
    (entry,) = logs.entries
    assert datetime.fromisoformat(str(entry.pop("time"))).tzinfo == UTC
    assert entry == {
        "level": "warning",
        "logger": "hausd.rooms",
        "event": "room-stalled",
        "room": "k51",
        "text": "two\nlines",
        "n": 3,
    }


def test_people_get_one_line_each() -> None:
    logs = Logs(form="human")
    structlog.get_logger("hausd.rooms").info("room-created", room="k51", stream_key=SECRET)
    (line,) = logs.out.getvalue().splitlines()
    assert "room-created" in line
    assert "room=k51" in line
    assert SECRET not in line
    assert Logs(form="auto").out.isatty() is False


def test_what_libraries_log_and_warn_comes_to_the_same_place() -> None:
    logs = Logs()
    logging.getLogger("hypercorn.error").error("failed %s", f"token={SECRET}")
    logging.getLogger("hypercorn.access").info("GET /")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", stacklevel=1)
    first, second = logs.entries
    assert first["logger"] == "hypercorn.error"
    assert first["event"] == "failed token=[redacted]"
    assert second["logger"] == "py.warnings"
    assert "old thing" in str(second["event"])


def test_an_exception_is_told_without_its_secrets() -> None:
    logs = Logs()
    try:
        raise ValueError(f"bad key sk_{SECRET}")
    except ValueError:
        structlog.get_logger("hausd.x").exception("failed")
        logging.getLogger("lib").exception("lib failed")
    for entry in logs.entries:
        assert entry["level"] == "error"
        assert "ValueError: bad key sk_[redacted]" in str(entry["exception"])
    assert SECRET not in logs.out.getvalue()


def test_the_level_changes_at_once_for_loggers_that_exist() -> None:
    logs = Logs(level="warning")
    log = structlog.get_logger("hausd.x")
    log.info("unheard")
    set_level("debug")
    log.debug("heard")
    assert [entry["event"] for entry in logs.entries] == ["heard"]


def test_a_reader_that_is_gone_stops_nobody() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    ring = LogRing(10)
    set_up_logs("info", "json", ring, Closed())
    structlog.get_logger("hausd.x").info("said")
    assert [entry.event for entry in ring.recent(5)] == ["said"]


def said(ring: LogRing, event: str, level: str = "info") -> None:
    ring.append(datetime.now(UTC), level, "hausd.x", event, {})  # type: ignore[arg-type]  # a test's


def test_the_ring_keeps_the_newest() -> None:
    ring = LogRing(3)
    for event in "abcde":
        said(ring, event, "error" if event in "ad" else "info")
    assert [entry.event for entry in ring.recent(10)] == ["c", "d", "e"]
    assert [entry.event for entry in ring.recent(2)] == ["d", "e"]
    assert [entry.event for entry in ring.recent(10, "warning")] == ["d"]
    assert ring.recent(0) == []


async def test_a_follower_gets_what_was_and_each_entry_as_it_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ring = LogRing(10)
    said(ring, "before")
    said(ring, "long before, and only a hint", "debug")
    heard: list[object] = []

    async def follow() -> None:
        async for entry in ring.follow(10, "info"):
            heard.append(entry if isinstance(entry, int) else entry.event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        assert heard == ["before"]
        said(ring, "one")
        said(ring, "unheard", "debug")
        await trio.testing.wait_all_tasks_blocked()
        assert heard == ["before", "one"]
        await trio.to_thread.run_sync(said, ring, "from a thread")
        await trio.testing.wait_all_tasks_blocked()
        assert heard == ["before", "one", "from a thread"]
        nursery.cancel_scope.cancel()


async def test_a_follower_that_is_too_slow_is_told_what_it_missed() -> None:
    ring = LogRing(3)
    follower = ring.follow(0)
    said(ring, "never seen: follow() has not begun")
    async with trio.open_nursery() as nursery:
        first: list[object] = []

        async def begin() -> None:
            first.append(await follower.__anext__())

        nursery.start_soon(begin)
        await trio.testing.wait_all_tasks_blocked()
        said(ring, "a")
    for event in "bcdefg":
        said(ring, event)
    heard = [await follower.__anext__() for _ in range(4)]
    await follower.aclose()
    assert heard[0] == 3
    assert [getattr(entry, "event", None) for entry in heard[1:]] == ["e", "f", "g"]


async def test_threads_may_log_while_nobody_and_many_follow() -> None:
    ring = LogRing(10_000)
    heard: list[int] = []

    async def follow(until: int) -> None:
        count = 0
        async for _ in ring.follow(0):
            count += 1
            if count == until:
                break
        heard.append(count)

    def shout() -> None:
        for _ in range(200):
            said(ring, "hey")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(follow, 800)
        await trio.testing.wait_all_tasks_blocked()
        threads = [threading.Thread(target=shout) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await trio.to_thread.run_sync(thread.join)
    assert heard == [800, 800, 800]


def test_short_work_says_nothing_and_long_work_says_how_far_it_is() -> None:
    logs = Logs()
    now = [0.0]
    progress = LoggedProgress("verify", clock=lambda: now[0])
    for done in range(50):
        now[0] = done / 10
        progress(done, 50, f"file {done}")
    assert [entry["percent"] for entry in logs.entries] == [40, 80]
    assert logs.entries[0]["work"] == "verify"


async def test_the_process_is_measured_when_asked() -> None:
    facts = ProcessProbe().look()
    assert facts.memory_bytes > 1_000_000
    assert facts.open_files > 2
    assert facts.tasks >= 1


async def test_metrics_tell_of_the_process_of_logs_and_of_swallowed_errors() -> None:
    Logs()
    structlog.get_logger("hausd.x").warning("said")
    count_swallowed("test.place", KeyError("secret"))
    body, content_type = exposition()
    text = body.decode()
    assert content_type.startswith("text/plain")
    assert 'hausd_log_entries_total{level="warning"}' in text
    assert 'hausd_swallowed_errors_total{type="KeyError",where="test.place"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "hausd_process_tasks" in text
    assert "secret" not in text
