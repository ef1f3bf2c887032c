"""How a gated room's track is sealed, as its statement says it.

Epochs change where archive segments do, at the same number in every rendition. One is announced a
segment before its first, so that who may watch has its key in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hausd.core.dagcbor import Value
from hausd.core.forms import Fields
from hausd.core.freeing import FreeKey, free_key_form, read_free_keys
from hausd.core.gating import EpochFrom, ObjectSeal
from hausd.core.gating_forms import (
    epoch_from_form,
    object_seal_form,
    read_epoch_from,
    read_object_seal,
)

MAX_EPOCHS = 4
"""Of one statement: the one in force, those before it of slow renditions, and the next."""
MAX_FREE = 2 * (MAX_EPOCHS + 1)
"""Keys of one statement: of each epoch, and of the init's, its own, or two made of it."""


@dataclass(frozen=True, slots=True)
class TrackSeal:
    """The init's seal, and the epochs of the segments, ascending by where they begin. ``free``: of
    these, the keys that are for everybody."""

    init: ObjectSeal
    epochs: tuple[EpochFrom, ...]
    free: tuple[FreeKey, ...] = ()


def track_seal_form(seal: TrackSeal) -> dict[str, object]:
    """As a Track says it."""
    epochs = [epoch_from_form(begun) for begun in seal.epochs]
    form: dict[str, object] = {"init": object_seal_form(seal.init), "epochs": epochs}
    return form | ({"free": [free_key_form(key) for key in seal.free]} if seal.free else {})


def read_track_seal(untrusted: Value) -> TrackSeal:
    """Reads it; raises FormError."""
    fields = Fields(untrusted, "track.seal")
    init = read_object_seal(fields.take("init"), "track.seal.init")
    epochs = tuple(
        read_epoch_from(one, "track.seal.epochs") for one in fields.items("epochs", MAX_EPOCHS, 1)
    )
    free: tuple[FreeKey, ...] = ()
    if fields.has("free"):
        free = read_free_keys(fields.items("free", MAX_FREE, 1), "track.seal.free")
    fields.done()
    if {key.epoch for key in free} - {init.epoch.id, *(begun.epoch.id for begun in epochs)}:
        raise fields.fault("free", "a list of keys of these epochs")
    if any(a.segment >= b.segment for a, b in pairwise(epochs)):
        raise fields.fault("epochs", "in the order of their segments")
    return TrackSeal(init, epochs, free)
