"""Whatever a pinning service, Kubo or a gateway answers is understood or refused in plain words."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hausd.core.cid import CID, Codec
from hausd.ipfs.calls import Answer, _refusal
from hausd.ipfs.kubo import KuboNode
from hausd.ipfs.pinning import _status
from hausd.ipfs.ports import Origin, TryFailed
from hausd.ipfs.table import PinTable, RemotePin, encode

CID_TEXT = str(CID.of(b"room", Codec.DAG_PB))
GOOD = {
    "requestid": "UniqueIdOfPinRequest",
    "status": "queued",
    "created": "2020-07-27T17:32:28Z",
    "pin": {"cid": CID_TEXT, "name": "PreciousData.pdf", "origins": [], "meta": {}},
    "delegates": ["/ip4/203.0.113.1/tcp/4001/p2p/QmServicePeerId"],
    "info": {"status_details": "Queue position: 7 of 9"},
}
"""The specification's own example."""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.sampled_from(["queued", "pinned", "failed", CID_TEXT, ".", "..", "a/b", "x" * 600]),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [*GOOD, "cid", "name", "error", "reason", "Message", "Root", "Cid", "/"]
            ),
            below,
            max_size=6,
        )
    ),
    max_leaves=15,
)


@st.composite
def almost(draw: st.DrawFn) -> Any:
    """The example with something else in one place."""
    made = json.loads(json.dumps(GOOD))
    at = made if draw(st.booleans()) else made["pin"]
    at[draw(st.sampled_from(sorted(at)))] = draw(VALUES)
    return made


@given(VALUES | almost())
@example(GOOD)
def test_any_status_is_understood_or_refused(untrusted: Any) -> None:
    try:
        status = _status(untrusted)
    except TryFailed:
        return
    assert 0 < len(status.request_id) <= 512
    assert len(status.detail) <= 200
    assert status.detail.isprintable()


@given(st.integers(300, 599), VALUES.map(msgspec.json.encode) | st.binary(max_size=200))
def test_any_refusal_is_told_on_one_short_line_without_the_secret(
    status: int, untrusted: bytes
) -> None:
    told = _refusal(status, untrusted, "Bearer s3cr3t-t0ken")
    assert told.isprintable()
    assert len(told) < 700


def test_a_secret_that_comes_back_is_not_told() -> None:
    body = b'{"error":{"reason":"BAD","details":"Bearer s3cr3t-t0ken is not known"}}'
    assert "s3cr3t" not in _refusal(401, body, "Bearer s3cr3t-t0ken")


@given(st.lists(VALUES.map(msgspec.json.encode) | st.binary(max_size=60), max_size=4))
@example([b"[" * 100_000])
async def test_any_answer_of_kubo_is_success_or_a_failed_try(lines: list[bytes]) -> None:
    class Caller:
        async def call(self, method: str, path: str, **_: Any) -> Answer:
            return Answer(200, b"\n".join(lines))

    async def get(cid: CID) -> bytes | None:
        return None

    def origin() -> Origin:
        return Origin(get, lambda: (), lambda *_: None)

    pin = RemotePin(
        to="kubo", room="r", title="t", cid=CID_TEXT, size=1, manifest=CID_TEXT, since_ms=1
    )
    with suppress(TryFailed):
        await KuboNode("kubo", Caller(), origin()).pin(pin, lambda: None)  # type: ignore[arg-type]


@given(st.binary(max_size=300) | VALUES.map(msgspec.json.encode))
def test_any_file_is_a_table_or_a_fault(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "remote-pins.json").write_bytes(raw)
    try:
        found = PinTable(home).load()
    except ValueError:
        return
    assert msgspec.json.decode(encode(found))
