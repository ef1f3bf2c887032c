"""What must outlive the process about each room: one small file per room, mode 0600.

A file is replaced whole and atomically, so that a crash leaves the old one or the new one. The one
before it is kept beside it (``.room.old``): a file that the disk damaged costs no room its keys. It
holds the room's secrets (stream key, signing seed); nothing of it is logged.
"""

from __future__ import annotations

import contextlib
import os
from enum import StrEnum
from pathlib import Path

import msgspec

from hausd.core.errors import Problem
from hausd.core.events import RoomEvent
from hausd.core.ids import RoomId, parse_room_id
from hausd.core.keys import PublicKey, SigningKey, open_room_authority
from hausd.core.live import RoomState
from hausd.core.preview import FreeTerms

_SUFFIX = ".room.json"
_OLD = ".old"
VERSION = 3
"""1 knew no followed rooms; its files are read as those of an origin. 2 knew none that are joined
only for a while."""
_MAX_FILE_BYTES = 1 << 20


class _Version(msgspec.Struct):
    version: int


class Role(StrEnum):
    """What a node is in a room."""

    ORIGIN = "origin"
    FOLLOWER = "follower"


class RoomRecord(msgspec.Struct, kw_only=True):
    """One room, as it is kept. ``seed`` is the stream authority's Ed25519 seed (32 bytes).

    ``sessions`` counts the sessions begun; it is on disk before a session's first signature.
    ``next_msn``, ``next_run`` and ``next_segment`` are where a new session goes on counting,
    written with room to spare (see ``Room``). ``manifest`` is the newest manifest's CID.
    Numbers of cards up to ``cards`` may have been used. ``begun`` has for each rendition of the
    run that goes on a segment record (``core.manifest``) of no length whose time is that of the
    run's media time 0: what a crash cuts short is told by it. ``live_target_s`` is the next
    session's, where the source needs a longer one than is configured; else 0.

    A follower has neither seed nor stream key. ``head`` is the newest Head as its authority signed
    it, ``read_head`` the newest whose manifest is here, ``listed`` the newest segment of each
    rendition in the archive, up to which nothing is missing that could be had; ``passed`` the
    ranges of numbers up to there that could not, or were not wanted then. ``evidence`` has the
    first pairs of statements that no honest authority signs both. ``followed``: taken part in until
    it is unfollowed; the file of another one only tells whose the recordings in the store are.
    ``last_ms``: of the recording, only its newest so much is fetched; 0 for all. ``auto``: it was
    relayed unasked, and nothing of it stays.

    ``pictures`` is the node of the poster and storyboard that the store has.

    ``authority`` (32 bytes) signs an event's stream, as its chain said when it was last asked, at
    ``authority_slot``; an open room's is in its id. ``chain`` is the genesis hash of that chain.

    ``gated``: what is streamed is sealed. None for an event's room whose chain did not say yet.
    ``sealed``: something that was streamed is, whatever the next session will be.
    ``epochs`` are those of the session that goes on: first archive segment, id, commitment.

    ``free_first_s``, ``free_rendition``, ``free_finalized``: what of it is free (``FreeTerms``).
    ``freed`` is the block that lists the keys that are.

    ``directory`` is the root of the finished room as it was when its manifest was
    ``directory_of``; ``name`` the newest IPNS record, which holds its sequence.
    """

    version: int = VERSION
    id: str
    title: str
    created_ms: int
    role: Role = Role.ORIGIN
    seed: bytes = b""
    stream_key: str = ""
    state: RoomState = RoomState.CREATED
    started_ms: int = 0
    sessions: int = 0
    next_msn: int = 0
    next_run: int = 0
    next_segment: int = 0
    manifest: str = ""
    cards: int = 0
    live_target_s: int = 0
    begun: dict[str, bytes] = msgspec.field(default_factory=dict)
    head: bytes = b""
    read_head: bytes = b""
    listed: dict[str, int] = msgspec.field(default_factory=dict)
    passed: dict[str, list[tuple[int, int]]] = msgspec.field(default_factory=dict)
    evidence: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)
    followed: bool = True
    last_ms: int = 0
    auto: bool = False
    pictures: str = ""
    authority: bytes = b""
    authority_slot: int = 0
    chain: bytes = b""
    gated: bool | None = None
    sealed: bool = False
    epochs: list[tuple[int, bytes, bytes]] = msgspec.field(default_factory=list)
    free_first_s: int = 0
    free_rendition: str = ""
    free_finalized: bool = False
    freed: str = ""
    directory: str = ""
    directory_of: str = ""
    name: bytes = b""


def encode(record: RoomRecord) -> bytes:
    """A record as its file holds it."""
    return msgspec.json.encode(record)


def free_terms(record: RoomRecord) -> FreeTerms:
    """What of a room is for everybody, as its artist chose."""
    return FreeTerms(record.free_first_s, record.free_rendition, record.free_finalized)


def take_free_terms(record: RoomRecord, terms: FreeTerms) -> None:
    """Keeps them."""
    record.free_first_s, record.free_rendition = terms.first_s, terms.rendition
    record.free_finalized = terms.finalized


def authority_of(record: RoomRecord) -> PublicKey:
    """The key that signs a followed room's stream. Raises Problem where it is not known here."""
    authority = open_room_authority(RoomId(record.id))
    if authority is None and record.authority:
        authority = PublicKey(record.authority)
    if authority is None:
        raise Problem(
            "unknown-authority",
            "who signs this event's stream is not known: its chain was not asked yet",
            status=422,
        )
    return authority


def names_other(record: RoomRecord, event: RoomEvent) -> bool:
    """Whether an event names another key than is known here, and later."""
    return event.authority_slot >= record.authority_slot and event.authority.raw != record.authority


def take_authority(record: RoomRecord, event: RoomEvent) -> None:
    """Keeps who signs for an event's room, unless something newer is known."""
    if event.authority_slot >= record.authority_slot:
        record.authority, record.authority_slot = event.authority.raw, event.authority_slot
        record.chain = event.chain


class RecordError(Exception):
    """A room's file can't be read; ``args[0]`` says which and why."""


class RecordIsNewer(Exception):
    """A room's file was written by a newer hausd; ``args[0]`` says which."""


class RoomRecords:
    """The folder of room files. Calls block on the disk: not for the event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> tuple[list[RoomRecord], list[str]]:
        """All rooms, and in plain words what could not be read. Raises RecordIsNewer."""
        found: list[RoomRecord] = []
        faults: list[str] = []
        kept = (*self._folder.glob(f"[!.]*{_SUFFIX}"), *self._folder.glob(f"[!.]*.room{_OLD}"))
        names = {path.with_suffix(".json").name for path in kept}
        for path in sorted(self._folder / name for name in names):
            try:
                found.append(self._read(path))
            except RecordError as fault:
                try:
                    found.append(self._read(path.with_suffix(_OLD)))
                except RecordError:
                    faults.append(f"{fault}. Put it back from a backup, or move it away")
                else:
                    faults.append(f"{fault}; the copy before it was taken up")
        return found, faults

    def save(self, record: RoomRecord) -> None:
        """Replaces a room's file; durable against power loss when it returns."""
        self.write(RoomId(record.id), encode(record))

    def write(self, room: RoomId, encoded: bytes) -> None:
        """The same with what ``encode`` gave, for a thread that must not see the record change.

        Raises OSError; then the file is as it was.
        """
        path = self._folder / f"{parse_room_id(room)}{_SUFFIX}"
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                path.replace(path.with_suffix(_OLD))
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self._sync_folder()

    def delete(self, room: RoomId) -> None:
        """Forgets a room."""
        path = self._folder / f"{room}{_SUFFIX}"
        for each in (path.with_suffix(_OLD), path):
            each.unlink(missing_ok=True)
        self._sync_folder()

    def _read(self, path: Path) -> RoomRecord:
        try:
            if path.stat().st_size > _MAX_FILE_BYTES:
                raise RecordError(f"{path.name} is larger than a room's file can be")
            content = path.read_bytes()
            version = msgspec.json.decode(content, type=_Version).version
            if version > VERSION:
                raise RecordIsNewer(f"{path} was written by a newer hausd (version {version})")
            record = msgspec.json.decode(content, type=RoomRecord)
            signs = record.role is Role.ORIGIN
            if signs and not (record.seed and record.stream_key):
                raise RecordError(f"the room's file {path} is damaged: it lacks the room's keys")
            authority = open_room_authority(parse_room_id(record.id))
            if record.authority:
                PublicKey(record.authority)
            if signs and authority not in (None, SigningKey(record.seed).public):
                raise RecordError(f"{path.name} holds a key that is not the room's")
        except OSError as fault:
            raise RecordError(f"the room's file {path} can't be read ({fault.strerror})") from fault
        except (msgspec.DecodeError, ValueError) as fault:
            raise RecordError(f"the room's file {path} is damaged ({fault})") from fault
        if path.stem.partition(".")[0] != record.id:
            raise RecordError(f"{path} holds another room than its name says ({record.id})")
        record.version = VERSION
        return record

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
