"""Keys at rest: wrapped, whole after any crash, readable to their owner alone."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import keyring
import pytest
import trio
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked
from solders.keypair import Keypair
from support.chain import HandClock
from support.delegations import DELEGATION, EVENT, WALLET, delegation_of, signed

from hausd.core.delegation import verify
from hausd.core.errors import Problem
from hausd.core.gating import Epoch, EpochId, EpochKey, commitment, new_epoch
from hausd.core.ids import RoomId
from hausd.keys import ring as ring_of
from hausd.keys.ring import KeyRing, open_ring
from hausd.keys.store import FILE, KeyStore, Source
from hausd.keys.wrapping import WrapFault, Wrapper, WrapTerms, open_wrapper

KEY = EpochKey(bytes(range(32)))
EPOCH = EpochId(bytes(range(16)))


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def _id(number: int) -> EpochId:
    return EpochId(bytes([number]) * 16)


def in_file(folder: Path) -> Wrapper:
    return open_wrapper(WrapTerms("file", folder, "node"))


async def kept(folder: Path) -> None:
    async with open_ring(folder, in_file(folder), HandClock()) as ring:
        await ring.keep_unproven(EVENT, {EPOCH: KEY})


async def test_a_key_is_there_again_after_a_restart(tmp_path: Path) -> None:
    await kept(tmp_path)
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        assert ring.get(EVENT, EPOCH) == KEY
        assert ring.counts() == {EVENT: 1}


async def test_no_file_holds_a_key_in_clear_nor_may_others_read_one(tmp_path: Path) -> None:
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        await ring.keep_unproven(EVENT, {EPOCH: KEY})
        files = list(tmp_path.iterdir())
        assert {"wrap.key", FILE, f"{FILE}-wal"} <= {path.name for path in files}
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert KEY.raw not in path.read_bytes()
            assert KEY.raw.hex().encode() not in path.read_bytes()


async def test_another_wrapping_key_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    await kept(tmp_path)
    (tmp_path / "wrap.key").rename(tmp_path / "wrap.saved")
    with pytest.raises(WrapFault, match="another key") as caught:
        KeyStore(tmp_path, in_file(tmp_path))
    assert "backup" in caught.value.hint
    (tmp_path / "wrap.saved").rename(tmp_path / "wrap.key")
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        assert ring.get(EVENT, EPOCH) == KEY


def test_a_wrapping_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    in_file(tmp_path)
    (tmp_path / "wrap.key").chmod(0o644)
    with pytest.raises(WrapFault, match="other users") as caught:
        in_file(tmp_path)
    assert caught.value.hint.startswith("chmod 600")


async def test_a_damaged_key_is_told_to_be_missing_so_that_it_is_asked_for(tmp_path: Path) -> None:
    await kept(tmp_path)
    store = KeyStore(tmp_path, in_file(tmp_path))
    store._db.execute("UPDATE keys SET wrapped = zeroblob(60)")
    store.close()
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        assert ring.get(EVENT, EPOCH) is None
        assert not ring.has_of(EVENT)
        assert await ring.keep_unproven(EVENT, {EPOCH: KEY}) == 1
        assert ring.get(EVENT, EPOCH) == KEY
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        assert ring.get(EVENT, EPOCH) == KEY


async def test_a_wrapped_key_moved_to_another_room_opens_nothing(tmp_path: Path) -> None:
    await kept(tmp_path)
    store = KeyStore(tmp_path, in_file(tmp_path))
    store._db.execute("UPDATE keys SET room = ?", (WALLET,))
    store.close()
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        assert ring.get(EVENT, EPOCH) is None
        assert ring.get(WALLET, EPOCH) is None  # type: ignore[arg-type] # no room


async def test_only_the_key_that_was_committed_to_is_kept(tmp_path: Path) -> None:
    epoch, key = new_epoch(EVENT, os.urandom)
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        with pytest.raises(ValueError, match="commitment"):
            await ring.keep(EVENT, epoch, KEY)
        assert ring.get(EVENT, epoch.id) is None
        await ring.keep(EVENT, epoch, key)
        assert ring.get(EVENT, epoch.id) == key


async def test_a_key_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        await ring.keep(EVENT, Epoch(EPOCH, commitment(EVENT, EPOCH, KEY)), KEY)
        assert await ring.keep_unproven(EVENT, {EPOCH: EpochKey(bytes(32))}) == 0
        assert ring.get(EVENT, EPOCH) == KEY


async def test_a_wrong_key_that_was_imported_makes_way_for_the_right_one(tmp_path: Path) -> None:
    epoch, key = new_epoch(EVENT, os.urandom)
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:

        async def ask(room: RoomId, of: Epoch) -> EpochKey:
            await ring.take(room, of, key, Source.ASKED)
            return key

        ring.ask_others = ask
        await ring.keep_unproven(EVENT, {epoch.id: KEY})
        assert ring.get(EVENT, epoch.id) == KEY, "whose it is, is not known yet"
        assert ring.held(EVENT, epoch) is None
        assert await ring.ask(EVENT, epoch) == key
        for found in (ring.get(EVENT, epoch.id), ring.held(EVENT, epoch)):
            assert found == key
        assert await ring.keep_unproven(EVENT, {epoch.id: KEY}) == 0
        assert ring.held(EVENT, epoch) == key
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        assert ring.held(EVENT, epoch) == key


async def test_what_the_artist_exports_anew_takes_the_place_of_what_was_imported(
    tmp_path: Path,
) -> None:
    epoch, key = new_epoch(EVENT, os.urandom)
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        for imported in (KEY, key):
            await ring.keep_unproven(EVENT, {epoch.id: imported})
            assert ring.get(EVENT, epoch.id) == imported
        assert ring.held(EVENT, epoch) == key


async def test_what_others_send_makes_way_and_keys_of_own_rooms_never_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_of, "MAX_TAKEN_OF_ROOM", 3)
    monkeypatch.setattr(ring_of, "MAX_TAKEN", 4)
    theirs, calm = (RoomId(str(Keypair.from_seed(bytes([n]) * 32).pubkey())) for n in (1, 2))
    epochs = {room: [new_epoch(room, os.urandom) for _ in range(8)] for room in (theirs, calm)}
    own = [new_epoch(EVENT, os.urandom) for _ in range(8)]
    clock = HandClock()
    async with open_ring(tmp_path, in_file(tmp_path), clock) as ring:
        for n, made in enumerate(own):
            clock.pass_s(1)
            await ring.take(theirs, *epochs[theirs][n], Source.ASKED)
            await ring.keep(EVENT, *made)
        assert ring.counts() == {EVENT: 8, theirs: 3}
        await ring.keep_unproven(theirs, dict.fromkeys(map(_id, range(8)), KEY))
        for n in range(2):
            await ring.take(calm, *epochs[calm][n], Source.HANDED)
        assert ring.counts() == {EVENT: 8, theirs: 2 + 8, calm: 2}, "the fullest room makes way"
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        assert ring.counts() == {EVENT: 8, theirs: 2 + 8, calm: 2}
        assert [ring.get(theirs, epoch.id) for epoch, _ in epochs[theirs]] == (
            [None] * 6 + [key for _, key in epochs[theirs][6:]]
        )
        assert all(ring.get(EVENT, epoch.id) == key for epoch, key in own)


async def test_more_keys_than_may_be_imported_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_of, "MAX_IMPORTED", 3)
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        await ring.keep_unproven(EVENT, {_id(n): KEY for n in range(2)})
        with pytest.raises(Problem, match="2 keys were imported already"):
            await ring.keep_unproven(EVENT, {_id(n): KEY for n in range(2, 4)})


async def test_a_disk_that_fails_is_told_in_words(tmp_path: Path) -> None:
    epoch, key = new_epoch(EVENT, os.urandom)
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        ring._store._db.execute("PRAGMA query_only=1")
        with pytest.raises(OSError) as caught:
            await ring.keep(EVENT, epoch, key)
        assert "readonly" in caught.value.strerror
        assert ring.get(EVENT, epoch.id) is None, "nothing is sealed with what is not on disk"


_VERSION_1 = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE keys (
    room TEXT, epoch BLOB, wrapped BLOB, since_ms INTEGER, PRIMARY KEY (room, epoch)) WITHOUT ROWID;
CREATE TABLE delegations (
    text TEXT PRIMARY KEY, signature BLOB, room TEXT, until_s INTEGER) WITHOUT ROWID;
CREATE TABLE bans (room TEXT, wallet TEXT, PRIMARY KEY (room, wallet)) WITHOUT ROWID;
PRAGMA user_version=1;
"""


async def test_a_file_of_version_1_is_taken_over_and_nothing_is_given_on_unasked(
    tmp_path: Path,
) -> None:
    wrapper = in_file(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as db, db:
        db.executescript(_VERSION_1)
        proof = wrapper.wrap(b"hausd keys", b"hausd/1/wrapped-by")
        db.execute("INSERT INTO facts VALUES ('proof', ?)", (proof,))
        about = b"hausd/1/kept-key\0" + EVENT.encode() + b"\0" + EPOCH
        db.execute(
            "INSERT INTO keys VALUES (?, ?, ?, 5)", (EVENT, EPOCH, wrapper.wrap(KEY.raw, about))
        )
    for _ in range(2):
        async with open_ring(tmp_path, wrapper, HandClock()) as ring:
            assert ring.get(EVENT, EPOCH) == KEY
            assert not ring.may_give(EVENT, EPOCH)
    async with open_ring(tmp_path, wrapper, HandClock()) as ring:
        other = EpochKey(bytes(32))
        assert await ring.keep_unproven(EVENT, {EPOCH: other}) == 0
        assert not ring.may_give(EVENT, EPOCH), "it is another key"
        assert await ring.keep_unproven(EVENT, {EPOCH: KEY}) == 0
    async with open_ring(tmp_path, wrapper, HandClock()) as ring:
        assert ring.get(EVENT, EPOCH) == KEY
        assert ring.may_give(EVENT, EPOCH), "the artist gave it"


def test_what_was_kept_is_there_after_kill_9(tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        from pathlib import Path
        from hausd.core.gating import EpochId, EpochKey
        from hausd.keys.store import KeyStore, Source
        from hausd.keys.wrapping import WrapTerms, open_wrapper
        folder = Path(sys.argv[1])
        store = KeyStore(folder, open_wrapper(WrapTerms("file", folder, "node")))
        store.add("room", [(EpochId(bytes(16)), EpochKey(bytes(32)))], Source.OWN, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(tmp_path)])
    assert done.returncode == -9
    store = KeyStore(tmp_path, in_file(tmp_path))
    (found,) = store.all_keys()
    assert store.unwrapped(found) == EpochKey(bytes(32))
    store.close()


TOKEN = f"""#!{sys.executable}
# a token that turns bits around, and writes down what it is asked
import sys
what, given = sys.argv[1], sys.stdin.buffer.read()
open(sys.argv[0] + ".asked", "a").write(what + " ")
turned = bytes(255 - byte for byte in given.removeprefix(b"T"))
sys.stdout.buffer.write(b"T" * (what == "wrap") + turned)
"""


def command(tmp_path: Path, text: str = TOKEN) -> WrapTerms:
    token = tmp_path / "token"
    token.write_text(text)
    token.chmod(0o700)
    home = tmp_path / "keys"
    home.mkdir(exist_ok=True)
    return WrapTerms("command", home, "node", str(token))


async def test_a_command_may_hold_what_unwraps(tmp_path: Path) -> None:
    terms = command(tmp_path)
    async with open_ring(terms.folder, open_wrapper(terms), HandClock()) as ring:
        await ring.keep_unproven(EVENT, {EPOCH: KEY})
    async with open_ring(terms.folder, open_wrapper(terms), HandClock()) as ring:
        assert ring.get(EVENT, EPOCH) == KEY
    assert (tmp_path / "token.asked").read_text().split() == ["wrap", "unwrap", "unwrap"]
    assert not (terms.folder / "wrap.key").exists()


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("#!/bin/sh\ncat\n", "does not wrap"),
        ("#!/bin/sh\necho wrapped\n", "does not unwrap"),
        ("#!/bin/sh\nexit 7\n", "exit status 7"),
        ("no program", "can't be run"),
    ],
)
def test_a_command_that_fails_is_told(tmp_path: Path, program: str, says: str) -> None:
    with pytest.raises(WrapFault, match=says):
        open_wrapper(command(tmp_path, program))
    assert not list((tmp_path / "keys").iterdir())


def test_a_command_with_an_open_quote_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrapFault, match="can't be read") as caught:
        open_wrapper(WrapTerms("command", tmp_path, "node", "token 'half"))
    assert "docs/keys.md" in caught.value.hint


async def test_a_delegation_replaces_an_older_one_of_the_wallet(tmp_path: Path) -> None:
    clock = HandClock(DELEGATION.not_before_s * 1000)
    first, later = (
        verify(*signed(DELEGATION)),
        verify(
            *delegation_of(bytes([7]) * 32, bytes([8]) * 32, not_after_s=DELEGATION.not_after_s + 9)
        ),
    )
    other = verify(*delegation_of(bytes([6]) * 32, bytes([8]) * 32))
    async with open_ring(tmp_path, in_file(tmp_path), clock) as ring:
        told: list[int] = []
        ring.told = lambda: told.append(1)
        for each in (first, other, later, later):
            await ring.add_delegation(each)
        assert ring.delegations_for(EVENT) == [later, other]
        assert len(told) == 4
    async with open_ring(tmp_path, in_file(tmp_path), clock) as ring:
        assert ring.delegations_for(EVENT) == [later, other]
        assert not ring.delegations_for(WALLET)  # type: ignore[arg-type] # no room


async def test_two_delegations_at_once_may_replace_the_same_one(tmp_path: Path) -> None:
    clock = HandClock(DELEGATION.not_before_s * 1000)
    at = DELEGATION.not_after_s
    old, *new = (
        verify(*delegation_of(bytes([7]) * 32, bytes([8]) * 32, not_after_s=at + more))
        for more in (0, 1, 2)
    )
    async with open_ring(tmp_path, in_file(tmp_path), clock) as ring:
        await ring.add_delegation(old)
        async with trio.open_nursery() as nursery:
            for each in new:
                nursery.start_soon(ring.add_delegation, each)
        assert old not in ring.delegations_for(EVENT)
        assert new[1] in ring.delegations_for(EVENT)


async def test_a_ban_holds_over_a_restart_until_it_is_taken_back(tmp_path: Path) -> None:
    async def opened(ring: KeyRing) -> bool:
        return ring.banned(EVENT, WALLET)

    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        await ring.ban(EVENT, WALLET, banned=True)
        assert await opened(ring)
    async with open_ring(tmp_path, in_file(tmp_path), HandClock()) as ring:
        assert await opened(ring)
        await ring.ban(EVENT, WALLET, banned=False)
        assert not await opened(ring)


def test_a_wrapper_shows_nothing() -> None:
    assert repr(Wrapper(bytes(32))) == "Wrapper()"
    assert Wrapper(bytes(32)).wrap(b"", b"") != Wrapper(bytes(32)).wrap(b"", b"")


class Wallet(KeyringBackend):
    """A keyring of the system's, in memory; locked, it fails as they do."""

    priority = 1.0
    locked = False

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("secret words")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


@pytest.fixture
def system_keyring() -> Iterator[Wallet]:
    before, made = keyring.get_keyring(), Wallet()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


async def test_the_systems_keyring_may_hold_what_unwraps(
    tmp_path: Path, system_keyring: Wallet
) -> None:
    terms = WrapTerms("keyring", tmp_path, "12D3KooWnode")
    async with open_ring(tmp_path, open_wrapper(terms), HandClock()) as ring:
        await ring.keep_unproven(EVENT, {EPOCH: KEY})
    async with open_ring(tmp_path, open_wrapper(terms), HandClock()) as ring:
        assert ring.get(EVENT, EPOCH) == KEY
    assert list(system_keyring.entries) == [("hausd", "12D3KooWnode")]
    assert not (tmp_path / "wrap.key").exists()
    system_keyring.locked = True
    with pytest.raises(WrapFault, match="KeyringLocked") as caught:
        open_wrapper(terms)
    assert "secret words" not in str(caught.value)
    system_keyring.locked = False
    system_keyring.entries["hausd", "12D3KooWnode"] = "changed"
    with pytest.raises(WrapFault, match=r"no key of hausd's"):
        open_wrapper(terms)
