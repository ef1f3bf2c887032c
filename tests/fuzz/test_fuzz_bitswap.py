"""What strangers send as Bitswap: messages within bounds, or one error."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.mangle import mangled, seeds
from support.peers import pieces

from hausd.wire import bitswap
from hausd.wire.bitswap import MAX_BLOCK_BYTES, MAX_CID_BYTES, MAX_ENTRIES, BitswapFault

SEEDS = seeds("bitswap")


@given(st.binary(max_size=300) | mangled(SEEDS), st.integers(1, 5000))
@example(SEEDS[0], 1)
def test_any_bytes_are_messages_within_bounds_or_an_error(untrusted: bytes, size: int) -> None:
    reader = bitswap.MessageReader()
    try:
        for piece in pieces(untrusted, size):
            for message in reader.feed(piece):
                assert len(message.entries) <= MAX_ENTRIES
                assert len(message.presences) <= MAX_ENTRIES
                assert all(0 < len(each.name) <= MAX_CID_BYTES for each in message.entries)
                assert all(len(each.data) <= MAX_BLOCK_BYTES for each in message.payload)
                for block in message.payload:
                    cid = block.cid()
                    assert cid is None or cid.matches(block.data)
                again = b"".join(bitswap.encode(message))
                assert list(bitswap.MessageReader().feed(again)) == [message]
    except BitswapFault:
        return


def test_the_seeds_are_messages() -> None:
    for seed in SEEDS:
        reader = bitswap.MessageReader()
        assert list(reader.feed(seed))
        reader.finish()
