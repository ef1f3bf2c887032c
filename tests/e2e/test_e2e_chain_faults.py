"""A stream goes on whatever the chain's RPC does, and the chain is told the rest afterwards."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.hausctl import heed_interrupts
from support.node import Node, until
from support.publish import publishing
from support.rpcproxy import Mangle, Proxy, hangs, proxy_beside, stands_still, status
from support.wallets import rpc
from support.whole import PAGE, READ_ANEW_S, Whole, ask, shown, whole_chain, written

from hausd.media.demo import Shape, write

pytestmark = pytest.mark.e2e
LIMITED = {"retry_after": "1"}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 1.0, 0, 300_000), seconds=60)
    return path


def newest(one: Node, room: str) -> int:
    """Media sequence number of the newest segment that a viewer is shown."""
    text = one.get(f"/live/{room}/source/index.m3u8", headers=PAGE).text
    first = re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text)
    return int(first[1]) + text.count("#EXTINF") if first else 0


@contextmanager
def trouble(proxy: Proxy, fault: Mangle, delay_s: float = 0.0) -> Iterator[None]:
    """The RPC's way has this fault while the block lasts."""
    healthy = proxy.mangle
    proxy.mangle, proxy.delay_s = fault, delay_s
    try:
        yield
    finally:
        proxy.mangle, proxy.delay_s = healthy, 0.0


def other_account(whole: Whole, event: str) -> Mangle:
    """Answers with another event's account, which is a genuine one."""
    other = whole.event(whole.haven)["id"]
    options = {"encoding": "base64"}
    raw = rpc(whole.rpc, "getAccountInfo", other, options)["value"]

    def mangle(asked: dict[str, Any], told: dict[str, Any]) -> None:
        if asked["method"] == "getMultipleAccounts" and event in asked["params"][0]:
            told["result"]["value"][asked["params"][0].index(event)] = raw

    return mangle


def faults(whole: Whole, event: str) -> dict[str, tuple[Mangle, float, str]]:
    """What goes wrong, and the words that tell of it."""
    return {
        "is not there": (hangs, 0.0, "connection failed|can't be reached"),
        "is slow": (lambda asked, told: None, 5.0, "did not answer in time"),
        "limits": (status(429, **LIMITED), 0.0, "limits how often"),
        "tells of another event": (other_account(whole, event), 0.0, "another event"),
        "stands still": (stands_still(), 0.0, "nothing newer|behind what was seen"),
    }


def test_a_stream_and_its_viewers_go_on_and_the_checkpoints_catch_up(
    film: Path, tmp_path: Path
) -> None:
    with whole_chain(tmp_path) as whole, proxy_beside(whole.rpc) as proxy:
        origin = whole.node("origin", "chain.answer_s=1", rpc=proxy.url)
        viewer = whole.node("viewer")
        made = whole.event(origin)
        event = made["id"]
        viewer.ctl("rooms", "follow", event)
        with publishing(film, f"{origin.rtmp}/{made['stream_key']}"):
            until(lambda: written(viewer, event), READ_ANEW_S)
            for name, (fault, delay_s, words) in faults(whole, event).items():
                seen, there = newest(viewer, event), written(viewer, event)["n"]
                with trouble(proxy, fault, delay_s):
                    told = until(lambda words=words: _doubt(origin, words), READ_ANEW_S)
                    assert told["last_checkpoint"]["n"] >= 0, name
                    until(lambda seen=seen: newest(viewer, event) >= seen + 3)
                until(lambda there=there: written(viewer, event)["n"] > there, READ_ANEW_S)
                until(lambda: _caught_up(origin), READ_ANEW_S)
            assert shown(origin, event)["state"] == "live"
            assert shown(viewer, event)["event"]["proof"] != "differs"
        assert origin.figure("hausd_chain_rpc_faults_total") > 0


def _caught_up(one: Node) -> bool:
    chain = ask(one, "status")["chain"]
    return not chain["doubt"] and chain["checkpoints_behind"] < 4


def _doubt(one: Node, words: str) -> Any:
    chain = ask(one, "status")["chain"]
    return chain if re.search(words, f"{chain['doubt']} {chain['waiting']}") else None


def test_a_follower_is_not_led_by_a_chain_that_lies_about_a_manifest(
    film: Path, tmp_path: Path
) -> None:
    with whole_chain(tmp_path) as whole, proxy_beside(whole.rpc) as proxy:
        origin, follower = whole.node("origin"), whole.node("follower", rpc=proxy.url)
        made = whole.event(origin)
        event = made["id"]
        follower.ctl("rooms", "follow", event)
        with publishing(film, f"{origin.rtmp}/{made['stream_key']}"):
            until(lambda: written(follower, event), READ_ANEW_S)
            proxy.mangle = another_manifest
            doubted = until(lambda: _unproven(follower, event), READ_ANEW_S)
            assert doubted["proof"] in ("differs", "unseen")
            seen = newest(follower, event)
            until(lambda: newest(follower, event) >= seen + 2)
            proxy.mangle = stands_still(of_one_slot=True)
            told = until(lambda: _unproven(follower, event, "nothing newer"), READ_ANEW_S)
            assert not told["proven"]
            proxy.mangle = lambda asked, told: None
            until(lambda: shown(follower, event)["event"]["proven"], READ_ANEW_S)
        whole.by_artist("end", event)
        until(lambda: shown(follower, event)["state"] == "closed", READ_ANEW_S)
        manifest = until(lambda: shown(origin, event)["recording"]["manifest"])
        until(lambda: shown(follower, event)["recording"]["manifest"] == manifest)
        to_be_looked_up(whole, follower, proxy)


_MANIFEST_AT = 8 + 1 + 1 + 32 + 32
_CHECKPOINT_BYTES = 150


def another_manifest(asked: dict[str, Any], told: dict[str, Any]) -> None:
    """A checkpoint's manifest is another, of a head that nobody signed."""
    if asked["method"] != "getMultipleAccounts" or len(asked["params"][0]) != 4:
        return
    account = told["result"]["value"][3]
    data = bytearray(base64.b64decode(account["data"][0]))
    assert len(data) == _CHECKPOINT_BYTES
    data[_MANIFEST_AT + 35] ^= 1
    account["data"][0] = base64.b64encode(data).decode()


def _unproven(one: Node, room: str, words: str = "") -> Any:
    event = shown(one, room)["event"]
    return event if event and not event["proven"] and words in event["doubt"] else None


@contextmanager
def sending(one: Node, proxy: Proxy, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``hausctl --json`` that waits for the fate of a transaction which nobody takes."""
    proxy.asked.clear()
    program = subprocess.Popen(
        [sys.executable, "-m", "hausctl", "--home", str(one.home), "--json", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    try:
        until(lambda: "sendTransaction" in proxy.asked)
        yield program
    finally:
        program.kill()
        program.wait()


def refusal(program: subprocess.Popen[str]) -> dict[str, str]:
    told: dict[str, str] = json.loads(program.communicate(timeout=20)[0])["error"]
    return told


def to_be_looked_up(whole: Whole, one: Node, proxy: Proxy) -> None:
    """What is broken off while it is sent is to be looked up before paying again: by Ctrl-C, and
    by the node's end (it is killed)."""
    proxy.drops = 10**6
    by = ("--keypair", whole.artist.file)
    with sending(one, proxy, "events", "create", "Sunrise", "--ends", "+2h", *by) as program:
        program.send_signal(signal.SIGINT)
        told = refusal(program)
    assert told["code"] == "unknown"
    assert "may yet come to be" in told["hint"]
    (room,) = [each for each in ask(one, "rooms") if each["title"] == "Sunrise"]
    assert room["state"] == "created"
    with sending(one, proxy, "keys", "mint", "10", *by) as program:
        one.kill()
        told = refusal(program)
    assert told["code"] == "unknown"
    assert re.search(r"transaction [1-9A-HJ-NP-Za-km-z]{80,88} ", told["message"])
    assert "before you pay again" in told["hint"]
