"""A program: remuxes a file to FLV by PyAV, twice: to a URL and to a file. Nothing is encoded.

Arguments: file to read, URL, FLV file to write, seconds to add to all times.
"""

from __future__ import annotations

import sys

import av


def remux(source: str, target: str, shift_s: float) -> None:
    with av.open(source) as given, av.open(target, "w", format="flv") as made:
        streams = {s.index: made.add_stream_from_template(s, opaque=True) for s in given.streams}
        for packet in given.demux():
            if packet.dts is None:
                continue
            shift = round(shift_s / packet.time_base)
            packet.dts += shift
            packet.pts += shift
            packet.stream = streams[packet.stream_index]
            made.mux(packet)


if __name__ == "__main__":
    read, url, written, shift = sys.argv[1:]
    remux(read, url, float(shift))
    remux(read, written, float(shift))
