"""Epochs and seals as signed and stored forms say them (``hausd/wire/schema.cddl``)."""

from __future__ import annotations

from hausd.core.dagcbor import Value
from hausd.core.forms import MAX_SEGMENT, FormError, is_uint
from hausd.core.gating import (
    COMMITMENT_BYTES,
    EPOCH_ID_BYTES,
    Epoch,
    EpochFrom,
    EpochId,
    ObjectSeal,
)


def epoch_form(epoch: Epoch) -> list[object]:
    """``[id, commitment]``."""
    return [epoch.id, epoch.commitment]


def read_epoch(untrusted: Value, what: str) -> Epoch:
    """Reads an epoch; raises FormError."""
    match untrusted:
        case [bytes(id_), bytes(commitment)] if (
            len(id_) == EPOCH_ID_BYTES and len(commitment) == COMMITMENT_BYTES
        ):
            return Epoch(EpochId(id_), commitment)
    raise FormError(f"{what} is not an epoch, [id of 16 bytes, commitment of 32]")


def epoch_from_form(begun: EpochFrom) -> list[object]:
    """``[segment, id, commitment]``."""
    return [begun.segment, *epoch_form(begun.epoch)]


def read_epoch_from(untrusted: Value, what: str) -> EpochFrom:
    """Reads an epoch and where it begins; raises FormError."""
    match untrusted:
        case [int(segment), *epoch] if is_uint(segment, most=MAX_SEGMENT):
            return EpochFrom(segment, read_epoch(epoch, what))
    raise FormError(f"{what} is not [segment, epoch's id, commitment]")


def object_seal_form(seal: ObjectSeal) -> list[object]:
    """``[id, commitment, n]``."""
    return [*epoch_form(seal.epoch), seal.n]


def read_object_seal(untrusted: Value, what: str) -> ObjectSeal:
    """Reads an object's seal; raises FormError."""
    match untrusted:
        case [id_, commitment, int(n)] if is_uint(n):
            return ObjectSeal(read_epoch([id_, commitment], what), n)
    raise FormError(f"{what} is not a seal, [epoch's id, commitment, number]")
