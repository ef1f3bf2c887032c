"""One rung of a ladder: its scaler, and the ways its encoder can be made cheaper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from hausd.media.encoder import cheaper_presets
from hausd.media.lane import Lane, Recipe
from hausd.policy.ladder import Rung

# Averaging against Lanczos: as close as bicubic once cascaded, at 0.7 of its cost (measured:
# 3.3 ms against 4.7 ms for 1080 to 720, 480 and 360).
_SCALING: Final = Interpolation.AREA


class RungPipe:
    """A rung's scaler and lane. ``active``: not shed; ``running``: past its first key;
    ``renew``: to be encoded in another way from the next key on."""

    def __init__(self, rung: Rung, lane: Lane) -> None:
        self.rung = rung
        self.lane = lane
        self.active = True
        self.running = False
        self.renew = False
        self._scaler = VideoReformatter()
        self._size = (rung.width, rung.height)
        self._every = 1
        self._since_taken = 0

    def ready(self, key: bool, recipe_for: Callable[[Rung], Recipe]) -> bool:
        """Whether this picture is to be encoded; starts the encoder at a key."""
        if self.lane.failed is not None:
            self.active = self.running = False
            return False
        if key and (self.renew or not self.running):
            recipe = recipe_for(self.rung)
            self._every = recipe.every
            self.lane.start(recipe)
            self.running, self.renew = True, False
        if not self.running:
            return False
        self._since_taken += 1
        if not key and self._since_taken < self._every:
            return False
        self._since_taken = 0
        return True

    def lasts(self, duration: int) -> int:
        """How long a picture is shown that lasts so long in the source; a key may cut it short."""
        return duration * self._every

    def scale(self, picture: VideoFrame) -> VideoFrame:
        """The picture in this rung's size, as 4:2:0 in studio range; captions stay with it."""
        full_range = picture.color_range == ColorRange.JPEG or "yuvj" in picture.format.name
        same = (picture.width, picture.height) == self._size
        if same and picture.format.name == "yuv420p" and not full_range:
            return picture
        return self._scaler.reformat(
            picture,
            *self._size,
            format="yuv420p",
            interpolation=_SCALING,
            dst_color_range=ColorRange.MPEG if full_range else None,
            threads=1,
        )


def cheaper_forms(preset: str) -> list[Callable[[Recipe], Recipe]]:
    """Ways to encode the source, each cheaper than the one before.

    None changes the parameter sets: the rendition goes on under the init segment that it has.
    """
    presets = cheaper_presets(preset)
    forms: list[Callable[[Recipe], Recipe]] = [_with_preset(each) for each in presets]
    last = presets[-1] if presets else preset
    return [*forms, lambda recipe: replace(recipe, preset=last, every=2)]


def _with_preset(preset: str) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, preset=preset)
