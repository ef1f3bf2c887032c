"""What of a gated room its artist gives to everybody: the terms, as its card says them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hausd.core.dagcbor import Value
from hausd.core.forms import Fields

MAX_FIRST_S = 24 * 3600
LOWEST = "lowest"
"""In the place of a rendition's name: the smallest picture there is when a session begins."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


@dataclass(frozen=True, slots=True)
class FreeTerms:
    """``first_s``: so many seconds from the beginning of the first session. ``rendition``: this one
    (with the sound that belongs to a picture) all the time; a name, or LOWEST. At most one of the
    two is given. ``finalized``: the recording is free once the event is finalized on chain.

    Raises ValueError.
    """

    first_s: int = 0
    rendition: str = ""
    finalized: bool = False

    def __post_init__(self) -> None:
        if self.first_s and self.rendition:
            raise ValueError("either the beginning or a rendition is free, not both")
        if not 0 <= self.first_s <= MAX_FIRST_S:
            raise ValueError("a preview has 1 second to 24 hours")
        if self.rendition and not _NAME.fullmatch(self.rendition):
            raise ValueError(f"{self.rendition[:40]!r} is no rendition's name")

    def __bool__(self) -> bool:
        return self != STAYS_GATED

    def changed(
        self, first_s: int | None, rendition: str | None, finalized: bool | None
    ) -> FreeTerms:
        """With what is not None in the place of what was said before; of the beginning and a
        rendition the one that is chosen now. Raises ValueError."""
        made_first = self.first_s if first_s is None else first_s
        made_rendition = self.rendition if rendition is None else rendition
        if first_s and rendition is None:
            made_rendition = ""
        if rendition and first_s is None:
            made_first = 0
        kept = self.finalized if finalized is None else finalized
        return FreeTerms(made_first, made_rendition, kept)


STAYS_GATED = FreeTerms()
"""Nothing is free."""


def free_terms_form(terms: FreeTerms) -> dict[str, object]:
    """As a card says them: what says nothing is left out."""
    said: dict[str, object] = {
        "first": terms.first_s,
        "rendition": terms.rendition,
        "finalized": terms.finalized,
    }
    return {name: value for name, value in said.items() if value}


def read_free_terms(untrusted: Value, what: str) -> FreeTerms:
    """Reads them; raises FormError."""
    fields = Fields(untrusted, what)
    first_s = fields.uint("first", 1, MAX_FIRST_S) if fields.has("first") else 0
    rendition = fields.text("rendition", _NAME) if fields.has("rendition") else ""
    finalized = fields.has("finalized")
    if finalized and not fields.flag("finalized"):
        raise fields.fault("finalized", "true, or left out")
    fields.done()
    if not (first_s or rendition or finalized):
        raise fields.fault("finalized", "there, where nothing else is free")
    if first_s and rendition:
        raise fields.fault("rendition", "left out where the beginning is free")
    return FreeTerms(first_s, rendition, finalized)
