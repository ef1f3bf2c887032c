"""Poster and storyboard: there at once, a few a minute, bounded, right in their tiles."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from fractions import Fraction

import av
import pytest
from av.video.frame import VideoFrame

from hausd.media import images
from hausd.media.images import COLUMNS, MAX_IMAGE_BYTES, ROWS, TILE_EVERY_MS, Images
from hausd.media.units import SourceVideo
from hausd.wire.worker import ImageMade


class Album:
    """Takes images, and checks each: a JPEG of the stated size, within bounds."""

    def __init__(self) -> None:
        self.made: list[tuple[ImageMade, VideoFrame]] = []

    def __call__(self, made: ImageMade, jpeg: bytes) -> None:
        assert jpeg.startswith(b"\xff\xd8")
        assert jpeg.endswith(b"\xff\xd9")
        assert len(jpeg) <= MAX_IMAGE_BYTES
        with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as file:
            picture = next(file.decode(video=0))
        assert picture.width == made.columns * made.tile_width
        assert picture.height == made.rows * made.tile_height
        self.made.append((made, picture))

    def of(self, use: str) -> list[ImageMade]:
        return [made for made, _ in self.made if made.use == use]


def plain(level: int, width: int = 320, height: int = 180, pixels: str = "yuv420p") -> VideoFrame:
    frame = VideoFrame(width, height, "gray")
    frame.planes[0].update(bytes((level,)) * frame.planes[0].buffer_size)
    return frame.reformat(format=pixels)


def offered(pictures: list[tuple[int, VideoFrame]]) -> Album:
    """What comes of pictures at these times, each drawn before the next is offered."""
    album = Album()
    drawn = Images(4, album)
    for run_ms, picture in pictures:
        drawn.offer_frame(picture, run_ms)
        drawn.wait_idle()
    drawn.close()
    assert drawn.failures == 0
    return album


def keyframe(
    level: int, codec: str = "libx264", size: tuple[int, int] = (320, 180)
) -> tuple[SourceVideo, bytes]:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = *size, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "x264-params": "annexb=0"}
    encoder.flags |= av.codec.context.Flags.global_header
    frame = plain(level, *size)
    frame.pts, frame.time_base = 0, Fraction(1, 30)
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    return SourceVideo("h264", encoder.extradata, *size), b"".join(map(bytes, packets))


def luma(picture: VideoFrame, tile: int, made: ImageMade) -> int:
    plane = picture.planes[0]
    x = tile % made.columns * made.tile_width + made.tile_width // 2
    y = tile // made.columns * made.tile_height + made.tile_height // 2
    return memoryview(plane)[y * plane.line_size + x]


def test_the_first_picture_gives_a_poster_and_a_storyboard_at_once() -> None:
    album = Album()
    drawn = Images(4, album)
    drawn.offer_frame(plain(120), 40)
    drawn.wait_idle()
    assert [made.use for made, _ in album.made] == ["poster", "storyboard"]
    poster, sheet = (made for made, _ in album.made)
    assert (poster.run, poster.run_ms, poster.tiles, poster.columns) == (4, 40, 1, 1)
    assert (sheet.run, sheet.run_ms, sheet.tiles) == (4, 0, 1)
    drawn.close()
    assert len(album.made) == 2


def test_a_few_images_a_minute() -> None:
    album = offered([(ms, plain(100)) for ms in range(0, 60_000, 200)])
    assert [made.run_ms for made in album.of("poster")] == [
        0,
        10_000,
        20_000,
        30_000,
        40_000,
        50_000,
    ]
    assert [made.tiles for made in album.of("storyboard")] == [1, 5, 10, 12]


def test_tiles_show_what_was_there_at_their_time() -> None:
    count = COLUMNS * ROWS + 3
    album = offered([(n * TILE_EVERY_MS + 100, plain(40 + n * 7)) for n in range(count)])
    sheets = [(made, picture) for made, picture in album.made if made.use == "storyboard"]
    full = [entry for entry in sheets if entry[0].tiles == COLUMNS * ROWS][-1]
    last = sheets[-1]
    assert (full[0].run_ms, last[0].run_ms) == (0, COLUMNS * ROWS * TILE_EVERY_MS)
    assert last[0].tiles == 3
    for made, picture in (full, last):
        first = made.run_ms // TILE_EVERY_MS
        for tile in range(made.tiles):
            assert luma(picture, tile, made) == pytest.approx(40 + (first + tile) * 7, abs=4)


def test_a_hole_is_filled_so_that_tiles_keep_their_times() -> None:
    album = offered([(0, plain(50)), (20_000, plain(200))])
    sheet = album.of("storyboard")[-1]
    assert (sheet.run_ms, sheet.tiles) == (0, 5)


def test_keyframes_are_decoded_only_while_nothing_else_is() -> None:
    album = Album()
    drawn = Images(0, album)
    source, data = keyframe(150)
    for ms in range(0, 20_000, 2000):
        drawn.offer_keyframe(source, data, ms)
        drawn.wait_idle()
    assert len(album.of("poster")) == 2
    before = len(album.made)
    for ms in range(20_000, 30_000, 1000):
        drawn.offer_frame(plain(16), ms)
        drawn.wait_idle()
        drawn.offer_keyframe(source, b"would fail", ms)
        drawn.wait_idle()
    drawn.close()
    assert drawn.failures == 0
    assert len(album.made) > before


def test_another_source_needs_another_decoder() -> None:
    album = Album()
    drawn = Images(0, album)
    for place, size in enumerate(((320, 180), (180, 320), (640, 360))):
        drawn.offer_keyframe(*keyframe(90, size=size), place * 10_000)
        drawn.wait_idle()
    drawn.close()
    posters = album.of("poster")
    assert [(made.tile_width, made.tile_height) for made in posters] == [
        (320, 180),
        (180, 320),
        (640, 360),
    ]
    sizes = {(made.tile_width, made.tile_height) for made in album.of("storyboard")}
    assert sizes == {(160, 90), (160, 284)}


def test_a_keyframe_that_can_not_be_decoded_is_counted_and_the_next_one_is_taken() -> None:
    album = Album()
    drawn = Images(0, album)
    source, data = keyframe(90)
    for ms, body in ((0, b""), (5000, b"\0\0\0\x04rubb"), (10_000, data)):
        drawn.offer_keyframe(source, body, ms)
        drawn.wait_idle()
    drawn.offer_keyframe(replace(source, record=b""), data[:9], 15_000)
    drawn.close()
    assert drawn.failures == 3
    assert len(album.of("poster")) == 1


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv420p10le", "yuv444p"])
@pytest.mark.parametrize("size", [(320, 180), (1920, 1080), (2, 2), (64, 1000), (3840, 64)])
def test_every_kind_of_picture(pixels: str, size: tuple[int, int]) -> None:
    album = offered([(0, plain(128, *size, pixels))])
    assert [made.use for made, _ in album.made] == ["poster", "storyboard"]


def test_offering_never_waits_for_drawing() -> None:
    held = threading.Event()
    drawn = Images(0, lambda made, jpeg: held.wait() and None)
    for ms in range(0, 60_000, 100):
        drawn.offer_frame(plain(100, 64, 64), ms)
    held.set()
    drawn.close()


def test_what_is_too_large_at_any_quality_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", 300)
    assert not offered([(0, plain(100))]).made
