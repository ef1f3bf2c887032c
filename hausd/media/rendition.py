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

    def ready(self, key: bool, recipe_for: Callable[[Rung], Recipe]) -> bool:
        """Whether this picture is encoded; starts the encoder at a key."""
        if self.lane.failed is not None:
            self.active = self.running = False
            return False
        if key and (self.renew or not self.running):
            recipe = recipe_for(self.rung)
            self._size = (recipe.rung.width, recipe.rung.height)
            self.lane.start(recipe)
            self.running, self.renew = True, False
        return self.running

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
    """Ways to encode the source, each cheaper than the one before."""
    presets = cheaper_presets(preset)
    forms: list[Callable[[Recipe], Recipe]] = [_with_preset(each) for each in presets]
    last = presets[-1] if presets else preset
    return [*forms, lambda recipe: _smaller(replace(recipe, preset=last))]


def _with_preset(preset: str) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, preset=preset)


def _smaller(recipe: Recipe) -> Recipe:
    """The same rendition at two thirds of its size and half its rate."""
    rung = recipe.rung
    return replace(
        recipe,
        rung=replace(
            rung,
            width=max(rung.width * 2 // 3 & ~1, 2),
            height=max(rung.height * 2 // 3 & ~1, 2),
            bandwidth_bps=rung.bandwidth_bps // 2,
        ),
    )
