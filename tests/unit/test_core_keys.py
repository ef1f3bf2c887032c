"""Ed25519 identities."""

from __future__ import annotations

import pytest
from support.content import KEY, OTHER_KEY

from hausd.core.ids import RoomId
from hausd.core.keys import PublicKey, SigningKey, open_room_authority


def test_keys_and_signatures_are_those_of_rfc_8032() -> None:
    # Section 7.1, test 2
    key = SigningKey(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
    assert key.public.raw.hex() == (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    )
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_only_the_holder_of_the_key_signs() -> None:
    signature = KEY.sign(b"message")
    assert KEY.public.verifies(signature, b"message")
    assert not KEY.public.verifies(signature, b"messagE")
    assert not OTHER_KEY.public.verifies(signature, b"message")
    assert not KEY.public.verifies(b"", b"message")
    assert not PublicKey(bytes(32)).verifies(bytes(64), b"message")


def test_an_open_room_names_its_authority() -> None:
    assert open_room_authority(KEY.public.open_room) == KEY.public
    assert open_room_authority(RoomId("4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM")) is None
    assert open_room_authority(RoomId("k51" + "z" * 59)) is None
    assert open_room_authority(RoomId("k51" + "0" * 59)) is None


def test_a_secret_is_not_shown() -> None:
    assert bytes(range(32)).hex() not in repr(KEY)
    assert not hasattr(KEY, "__dict__")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_have_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(bytes(size))
    with pytest.raises(ValueError, match="32 bytes"):
        PublicKey(bytes(size))
