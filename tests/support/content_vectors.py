"""Test vectors of every signed and stored form, made from inputs that the vectors name.

``python tests/support/content_vectors.py`` writes tests/vectors/*.json anew; a test compares them
with what the code makes, so that a form can't change unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace as changed

if __name__ == "__main__":  # run by itself, it stands in for conftest.py
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support import exchange_vectors
from support.authority import Authority
from support.content import AUDIO, KEY, NOW_MS, ROOM, SESSION, VIDEO, content, epoch, record

from hausd.core import dagcbor, unixfs
from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import Value
from hausd.core.freeing import Freed, FreeKey, encode_freed, in_order
from hausd.core.gating import WHOLE, EpochFrom, EpochKey, ObjectSeal, SegmentSeal
from hausd.core.live import RoomState
from hausd.core.manifest import Manifest, encode_record
from hausd.core.media import LEAF_BYTES, leaves
from hausd.core.pictures import FULL, Picture, Pictures, Sheet, encode_pictures, encode_sheets
from hausd.core.unixfs import Block
from hausd.wire import announce, car
from hausd.wire.announce import Signed
from hausd.wire.leafseal import (
    LeafCipher,
    ObjectCipher,
    ObjectClass,
    Stream,
    object_use,
    rendition_use,
    use_key,
)
from hausd.wire.seals import TrackSeal
from hausd.wire.statements import Statement, TickGap, TickGop, TickPart

FOLDER = Path(__file__).parents[1] / "vectors"

Vectors = dict[str, Any]


def all_vectors() -> dict[str, Vectors]:
    """What each file under tests/vectors holds."""
    return {
        "dagcbor": _dagcbor(),
        "unixfs": _unixfs(),
        "manifest": _manifest(),
        "announce": _announce(),
        "car": _car(),
        "cards": exchange_vectors.cards(),
        "blocks": exchange_vectors.blocks(),
        "room": exchange_vectors.room(),
        "keys": exchange_vectors.keys(),
        "pictures": _pictures(),
        "free": _free(),
        "leafseal": _leafseal(),
    }


def text_of(vectors: Vectors) -> str:
    """A file's text."""
    return json.dumps(vectors, indent=1, ensure_ascii=False) + "\n"


def _dagcbor() -> Vectors:
    said: dict[str, Value] = {
        "nothing": None,
        "small": 23,
        "largest": 2**64 - 1,
        "least": -(2**64),
        "keys": {"bb": 1, "c": [True, False], "a": "ä"},
        "link": CID.of(b"hello"),
    }
    refused = {
        "integer longer than needed": "1817",
        "keys out of order": "a2626262006161 00".replace(" ", ""),
        "indefinite length": "9fff",
        "float": "fb3ff8000000000000",
        "another tag": "c100",
        "key that is no text": "a10000",
        "more follows": "0000",
    }
    return {
        "about": "canonical DAG-CBOR; what is refused must not be read",
        "encoded": {name: dagcbor.encode(value).hex() for name, value in said.items()},
        "refused": refused,
    }


def _unixfs() -> Vectors:
    sizes = [0, 5, LEAF_BYTES, LEAF_BYTES + 1, 1_000_000]
    files = []
    for size in sizes:
        child, blocks = unixfs.file_of(content(0, size))
        node = blocks[-1][1].hex() if child.cid.codec is Codec.DAG_PB else None
        files.append({"size": size, "cid": str(child.cid), "tsize": child.tsize, "node": node})
    parts = [content(1, 200_000), content(2, 90_000), content(3, 5)]
    segment = _segment(parts)
    tree = {name: unixfs.file_of(content(0, size))[0] for name, size in _TREE.items()}
    directory = unixfs.directory(tree)
    return {
        "about": "content(n, size): byte i is (n + i) mod 251. Files are content(0, size)",
        "files": files,
        "segment": {
            "about": "one GOP of content(1, 200000) and content(2, 90000), one of content(3, 5)",
            **segment,
        },
        "directory": {
            "about": "files of content(0, size) by name",
            "entries": _TREE,
            "cid": str(directory.cid),
            "node": directory.blocks[0][1].hex(),
        },
    }


_TREE = {"b": 5, "A": LEAF_BYTES + 1, "é": 0}


def _segment(parts: list[bytes]) -> Vectors:
    cut = [[unixfs.raw_child(CID.of(leaf), len(leaf)) for leaf in leaves(part)] for part in parts]
    gops = [unixfs.file_over([*cut[0], *cut[1]]), unixfs.file_over(cut[2])]
    whole = unixfs.file_over([gop.child for gop in gops])
    return {
        "parts": [str(unixfs.file_over(part).cid) for part in cut],
        "leaves": [[str(leaf.cid) for leaf in part] for part in cut],
        "gops": [str(gop.cid) for gop in gops],
        "cid": str(whole.cid),
        "size": whole.child.size,
        "tsize": whole.child.tsize,
        "node": whole.blocks[0][1].hex(),
    }


def _manifest() -> Vectors:
    manifest = Manifest(ROOM)
    found = [_blocks("empty", [manifest.root])]
    video = [record(n) for n in range(40)]
    audio = [record(n, AUDIO) for n in range(3)]
    found.append(
        _blocks("segments 0 to 2 of 720p and of audio", manifest.append(*video[:3], *audio))
    )
    found.append(_blocks("segments 3 to 39 of 720p", manifest.append(*video[3:])))
    found.append(_blocks("ended", manifest.append(state=RoomState.ENDED)))
    listed = CID.of(encode_freed(Freed(ROOM, free_keys(1), all=True)), Codec.DAG_CBOR)
    found.append(_blocks("made free", manifest.append(state=RoomState.CLOSED, free=listed)))
    sealed = SegmentSeal(epoch(2), ObjectSeal(epoch(1), 3))
    return {
        "about": (
            "Each step appends to the one before; its blocks are those that are new, the root "
            "last. Segment n: session [n / 20, n / 20 + 5], run n / 7, time 1800000000000 + "
            "10000 n, duration 9976 + n mod 3, size 3750000 + n, cid the dag-pb CID of the text "
            "'segment n', init the raw CID of 'init r' for run r. What is free: 'all' of free.json"
        ),
        "room": ROOM,
        "record": encode_record(record(0)).hex(),
        "sealed": {
            "about": "segment 0 sealed in epoch 2, its init as number 3 of epoch 1; epoch n: id "
            "content(n, 16), key content(n + 1, 32)",
            "record": encode_record(record(0, seal=sealed)).hex(),
            "blocks": _blocks("alone", Manifest(ROOM).append(record(0, seal=sealed)))["blocks"],
        },
        "steps": found,
    }


def _blocks(step: str, blocks: list[Block]) -> Vectors:
    return {"step": step, "blocks": {str(cid): block.hex() for cid, block in blocks}}


def _sheet(number: int) -> Sheet:
    jpeg = content(number, 1000 + number)
    picture = Picture(CID.of(jpeg), len(jpeg))
    return Sheet(picture, number * 125_000, 5000, 5, 25, 160, 90)


def _pictures_root() -> tuple[CID, bytes]:
    full = encode_sheets([_sheet(n) for n in range(FULL)])
    poster = Picture(CID.of(content(99, LEAF_BYTES)), LEAF_BYTES)
    root = encode_pictures(
        Pictures(ROOM, poster, (_sheet(32), _sheet(33)), (CID.of(full, Codec.DAG_CBOR),))
    )
    return CID.of(root, Codec.DAG_CBOR), root


def _pictures() -> Vectors:
    cid, root = _pictures_root()
    return {
        "about": "sheet n is content(n, 1000 + n), the poster content(99, 131072): see unixfs.json",
        "cid": str(cid),
        "root": root.hex(),
        "full": encode_sheets([_sheet(n) for n in range(FULL)]).hex(),
        "empty": encode_pictures(Pictures(ROOM, None, ())).hex(),
        "sealed": encode_pictures(_sealed_pictures()).hex(),
    }


def _sealed_pictures() -> Pictures:
    """A poster as number 0 of epoch 1, a sheet as number 2: see manifest.json."""
    poster = Picture(CID.of(content(98, 1016)), 1016, ObjectSeal(epoch(1), 0))
    sheet = _sheet(0)
    picture = replace(sheet.picture, seal=ObjectSeal(epoch(1), 2))
    return Pictures(ROOM, poster, (replace(sheet, picture=picture),))


def _free() -> Vectors:
    return {
        "about": (
            "Epochs as in manifest.json. Of epoch 1 the key itself, content(2, 32); of epoch 2, "
            "whose key is content(3, 32), those of 720p and of inits: see unixfs.json"
        ),
        "part": encode_freed(Freed(ROOM, free_keys(2))).hex(),
        "all": encode_freed(Freed(ROOM, free_keys(1), all=True)).hex(),
        "nothing": encode_freed(Freed(ROOM, ())).hex(),
    }


def free_keys(*epochs: int) -> tuple[FreeKey, ...]:
    """What of these is for everybody."""
    found = []
    for n in epochs:
        id_, key = epoch(n).id, EpochKey(content(n + 1, 32))
        uses = [WHOLE] if n == 1 else [object_use(ObjectClass.INIT), rendition_use("720p")]
        for use in uses:
            raw = use_key(key, ROOM, id_, use).raw if use else key.raw
            found.append(FreeKey(id_, use, raw))
    return tuple(in_order(found))


def _leafseal() -> Vectors:
    """What is sealed, in full."""
    key, id_ = EpochKey(content(2, 32)), epoch(1).id
    leaves_ = LeafCipher(key, Stream(ROOM, SESSION, "720p", id_))
    init = ObjectCipher(key, ROOM, id_, ObjectClass.INIT)
    clear = content(0, LEAF_BYTES)
    return {
        "about": "AES-256-GCM as hausd/wire/leafseal.py says. content(n, size): see unixfs.json",
        "room": ROOM,
        "session": str(SESSION),
        "epoch": id_.hex(),
        "key": key.raw.hex(),
        "commitment": epoch(1).commitment.hex(),
        "leaves": [
            {
                "about": "a part of 720p of content(5, 100): leaf 7 of segment 200",
                "sealed": leaves_.seal(200, 7, content(5, 100)).hex(),
            },
            {
                "about": "a part of 720p of content(0, 131072): leaves 8 and 9 of segment 200",
                "sha256": hashlib.sha256(leaves_.seal(200, 8, clear)).hexdigest(),
                "size": len(leaves_.seal(200, 8, clear)),
            },
        ],
        "init": {
            "about": "number 3 of the inits: content(9, 60)",
            "sealed": init.seal(3, content(9, 60)).hex(),
        },
    }


def _announce() -> Vectors:
    authority = Authority(ROOM, SESSION, KEY)
    init = CID.of(content(9, 900))
    track = authority.track(
        VIDEO,
        run=2,
        init=init,
        init_size=900,
        target_s=2,
        part_target_ms=434,
        window_ms=60_000,
        peak_bps=3_100_000,
        average_bps=2_900_000,
    )
    first = authority.tick(
        NOW_MS + 450,
        [
            TickGop(
                1000, 2, 200, (_part("720p", 1, 200_000, NOW_MS), _part("audio", 4, 6400, NOW_MS))
            )
        ],
    )
    second = authority.tick(
        NOW_MS + 850,
        [
            TickGop(1000, 2, 200, (_part("audio", 5, 6400, NOW_MS + 400, index=1, ends=True),)),
            TickGop(1001, 2, 200, (_part("720p", 6, 99, NOW_MS + 400),)),
        ],
        [TickGap("480p", 1000, 2, NOW_MS, 36_000)],
        ends_run=True,
    )
    end = authority.end(NOW_MS + 900, RoomState.ENDED)
    head = authority.head(Manifest(ROOM).cid, RoomState.ENDED, NOW_MS + 901)
    sealed = Authority(ROOM, SESSION, KEY)
    gated_track = partial(
        sealed.track,
        VIDEO,
        run=2,
        init=init,
        init_size=900,
        target_s=2,
        part_target_ms=434,
        window_ms=60_000,
        peak_bps=3_100_000,
        average_bps=2_900_000,
    )
    made: dict[str, Signed[Statement]] = {
        "track": track,
        "tick 0": first,
        "tick 1": second,
        "end": end,
        "head": head,
        "head with pictures": authority.head(
            Manifest(ROOM).cid, RoomState.ENDED, NOW_MS + 902, _pictures_root()[0]
        ),
        "track of a gated room": gated_track(
            seal=TrackSeal(
                ObjectSeal(epoch(1), 3), (EpochFrom(200, epoch(1)), EpochFrom(260, epoch(2)))
            ),
        ),
        "track of a gated room with a preview": gated_track(
            seal=TrackSeal(
                ObjectSeal(epoch(1), 3),
                (EpochFrom(200, epoch(1)), EpochFrom(260, epoch(2))),
                free_keys(1, 2),
            ),
        ),
        "tick of a gated room": sealed.tick(
            NOW_MS + 450,
            [
                TickGop(
                    1000,
                    2,
                    200,
                    (
                        changed(_part("720p", 1, 200_000, NOW_MS), leaf=7),
                        changed(_part("audio", 4, 6400, NOW_MS), leaf=0),
                    ),
                    epoch(1).id,
                )
            ],
        ),
    }
    return {
        "about": (
            "Leaves of the parts are those of content(n, size) as in unixfs.json: 720p n = 1 "
            "and 6, audio n = 4 and 5"
        ),
        "seed": bytes(range(32)).hex(),
        "public": KEY.public.raw.hex(),
        "room": ROOM,
        "statements": {
            name: {
                "signed": signed.encoded.hex(),
                "body": _body(signed).hex(),
                "digest": signed.digest.hex(),
            }
            for name, signed in made.items()
        },
        "messages": {
            "tick 1": announce.pack(second, [first]).hex(),
            "end": authority.message(end).hex(),
            "head": announce.pack(head).hex(),
        },
    }


def _part(
    name: str, number: int, size: int, time_ms: int, index: int = 0, *, ends: bool = False
) -> TickPart:
    cut = tuple(CID.of(leaf) for leaf in leaves(content(number, size)))
    return TickPart(name, index, time_ms, 36_000, size, cut, independent=not index, ends_gop=ends)


def _body(signed: Signed[Statement]) -> bytes:
    match dagcbor.decode(signed.encoded):
        case [str(), bytes(said), bytes()]:
            return said
    raise AssertionError("a signed statement is a list of three")


def _car() -> Vectors:
    tree = {"b": unixfs.file_of(b"b"), "a": unixfs.file_of(b"a")}
    root = unixfs.directory({name: child for name, (child, _) in tree.items()})
    blocks = [*root.blocks, *tree["a"][1], *tree["b"][1]]
    pieces = [car.encode_header(root.cid)]
    for cid, block in blocks:
        pieces.extend(car.encode_block(cid, block))
    return {
        "about": "a directory of two files, a and b, each of one byte, its name",
        "root": str(root.cid),
        "car": b"".join(pieces).hex(),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for vector_name, vectors in all_vectors().items():
        (FOLDER / f"{vector_name}.json").write_text(text_of(vectors))
