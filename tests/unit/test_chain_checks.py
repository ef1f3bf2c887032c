"""An endpoint's answer about one transaction is not taken for one about another."""

from __future__ import annotations

import base64

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.transaction import Transaction

from hausd.chain.answers import TransactionRecord
from hausd.chain.calls import TryAnother
from hausd.chain.checks import is_of

WALLET = Keypair.from_seed(b"\x07" * 32)
SENT = Transaction([WALLET], Message([], WALLET.pubkey()), Hash.default())
NAME = str(SENT.signatures[0])


def _record(data: bytes | str) -> TransactionRecord:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return TransactionRecord(1, (text, "base64"))


def test_a_transaction_is_known_by_its_first_signature() -> None:
    record = _record(bytes(SENT))
    assert is_of(NAME, record) is record
    assert is_of(NAME, None) is None


@pytest.mark.parametrize(
    "data",
    [
        bytes(Transaction([WALLET], Message([], WALLET.pubkey()), Hash(b"\1" * 32))),
        bytes(SENT)[:64],
        b"",
        "\xfc!",
    ],
)
def test_another_transaction_or_none_is_refused(data: bytes | str) -> None:
    with pytest.raises(TryAnother, match="another transaction"):
        is_of(NAME, _record(data))
