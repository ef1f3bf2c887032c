"""Where live GOPs, archive segments and parts end: decisions, in milliseconds or ticks.

A live GOP is a segment of the live playlist, whose target duration never changes: rounded to
seconds, none may be longer. An archive segment is a run of whole GOPs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

SLACK_MS = 400
"""How far a GOP may outgrow its target: 2.4 s still rounds to 2."""
FIRST_MS = 1000
"""A session's first segment, where no keyframe ends it sooner: players take no playlist without
one. Not less, since many a source has a keyframe just then."""
_SEGMENT_SLACK_MS = 50
"""Five GOPs of 60 frames at 29.97 a second are 10.01 s, and meant to be one segment."""


def part_target_ms(part_ms: int, slowest_frame_ms: Fraction) -> int:
    """PART-TARGET: what is wished for, and one frame of the slowest track, in whole ms."""
    return part_ms - (-slowest_frame_ms.numerator // slowest_frame_ms.denominator)


@dataclass(frozen=True, slots=True)
class Cut:
    """From ``pts`` on (ticks of the cutter) everything belongs to this GOP and segment."""

    pts: int
    gop: int
    segment: int


class Grown(Enum):
    """What to do about a GOP that has outgrown its target without being cut."""

    NO = "no"
    KEYFRAMES_TOO_RARE = "keyframes-too-rare"
    """The source's own GOPs are longer than a live GOP may be."""
    MISJUDGED = "misjudged"
    """A keyframe was let pass since a next one was expected in time, which did not come."""


class Cutter:
    """Cuts one run into GOPs and segments. Times are presentation times, in ``timescale``.

    The first cut is where the run begins. GOPs never shorten once made: the decision is taken at
    each frame, in the order in which frames come. With ``first_ms`` the first one ends there,
    keyframe or not, so that a playlist has a segment early; the next keyframe ends the second.
    """

    def __init__(
        self, gop_target_ms: int, segment_ms: int, timescale: int, first_ms: int = 0
    ) -> None:
        self._target = gop_target_ms * timescale // 1000
        self._first = min(first_ms * timescale // 1000, self._target) or self._target
        self._slack = SLACK_MS * timescale // 1000
        self._segment = (segment_ms + _SEGMENT_SLACK_MS) * timescale // 1000
        self._cut: Cut | None = None
        self._segment_start = 0
        self._gop_start = 0
        """Where the GOP begins that counts: one that was split early is one here."""
        self._split = False
        self._keyframe: int | None = None
        self._longest = 0
        self._seen = 0

    @property
    def current(self) -> Cut | None:
        """The newest cut."""
        return self._cut

    def keyframe(self, pts: int, frame: int) -> Cut | None:
        """A keyframe of the source comes, each frame ``frame`` long: a cut where GOPs end."""
        if self._cut is None:
            self._keyframe = pts
            return self._make(pts)
        cuts = self.cuts_keyframe(pts, frame)
        gap = self._gap(pts)
        self._longest = max(self._longest, gap)
        self._seen += gap
        self._keyframe = pts
        return self._make(pts) if cuts else None

    def cuts_keyframe(self, pts: int, frame: int) -> bool:
        """Whether a keyframe at ``pts``, the next one of the source, is a cut."""
        if self._cut is None or self._split:
            return True
        elapsed = pts - self._cut.pts
        if 2 * elapsed >= 2 * self._target - frame:
            return True
        # An encoder's longest GOP is what it was set to; shorter ones come from scene cuts. Until
        # as much as a target has been seen, expect one of the target's length.
        gap = self._gap(pts)
        expected = max(self._longest, gap)
        if self._seen + gap < self._target:
            expected = max(expected, self._target)
        return elapsed + expected > self._target + self._slack

    def _gap(self, pts: int) -> int:
        """From the source's last keyframe to one at ``pts``."""
        if self._keyframe is None:
            return 0
        return min(max(pts - self._keyframe, 0), self._target + self._slack)

    def clock(self, pts: int, frame: int) -> Cut | None:
        """A frame comes that can begin a GOP whatever it is: audio, or video to be encoded."""
        return self._make(pts) if self.cuts_clock(pts, frame) else None

    def cuts_clock(self, pts: int, frame: int) -> bool:
        """Whether ``clock`` would cut there."""
        if self._cut is None:
            return True
        most = self._target if self._cut.gop else self._first
        return 2 * (pts - self._cut.pts) >= 2 * most - frame

    def early(self, pts: int, frame: int) -> Cut | None:
        """A frame comes that is no keyframe: a cut where the first GOP is split."""
        if self._cut is None or self._cut.gop or self._first == self._target:
            return None
        if not self.cuts_clock(pts, frame):
            return None
        self._split = True
        self._cut = Cut(pts, 1, self._cut.segment)
        return self._cut

    def force(self, pts: int) -> Cut:
        """Cuts here, keyframe or not."""
        return self._make(pts)

    def bridge(self, pts: int, frame: int, shown_until: int) -> Cut | None:
        """A cut in a hole of the video, from ``shown_until`` to ``pts``: other tracks go on in it.

        To be asked before anything else about the frame after the hole, until it is None.
        """
        most = self._target + self._slack + min(frame // 2, self._slack // 10)
        if self._cut is None or pts - self._cut.pts <= most:
            return None
        at = max(self._cut.pts + self._target, shown_until)
        return self._make(at) if at < pts else None

    def grown(self, pts: int, frame: int) -> Grown:
        """Whether the GOP outgrows its target with the frame at ``pts``, no keyframe."""
        if self._cut is None or pts + frame - self._gop_start <= self._target + self._slack:
            return Grown.NO
        if self._keyframe is None or self._keyframe <= self._cut.pts:
            return Grown.KEYFRAMES_TOO_RARE
        if pts + frame - self._keyframe > self._target + self._slack:
            return Grown.KEYFRAMES_TOO_RARE
        # Never wait for a keyframe again that may come as late as this one.
        self._longest = self._target
        return Grown.MISJUDGED

    def _make(self, pts: int) -> Cut:
        if self._cut is None:
            self._segment_start = self._gop_start = pts
            self._cut = Cut(pts, 0, 0)
            return self._cut
        last_gop = pts - self._gop_start
        self._gop_start = pts
        self._split = False
        segment = self._cut.segment
        if pts - self._segment_start + last_gop > self._segment:
            segment += 1
            self._segment_start = pts
        self._cut = Cut(pts, self._cut.gop + 1, segment)
        return self._cut


class RegularGops:
    """Tells when the last frame of a GOP has come, for sources whose GOPs all have one length.

    So the last part of a GOP need not wait for the keyframe after it. Once wrong, it is silent.
    """

    _WANTED = 3

    def __init__(self) -> None:
        self._length = 0
        self._same = 0
        self._frames = 0
        self._trusted = True

    def frame(self, keyframe: bool) -> bool:
        """Takes the next frame in decoding order; whether a keyframe is due right after it."""
        if keyframe:
            if self._frames and self._frames == self._length:
                self._same += 1
            else:
                self._trusted = self._trusted and self._same < self._WANTED
                self._same = 1 if self._frames else 0
                self._length = self._frames
            self._frames = 0
        self._frames += 1
        if self._same >= self._WANTED and self._frames > self._length:
            self._trusted = False
        return self.left == 0

    @property
    def left(self) -> int | None:
        """How many frames of the GOP are still to come; None where that can't be told."""
        if not self._trusted or self._same < self._WANTED:
            return None
        return self._length - self._frames

    @property
    def ahead(self) -> int | None:
        """The same, and where none is, how many are to come of the next GOP."""
        return self._length if self.left == 0 else self.left
