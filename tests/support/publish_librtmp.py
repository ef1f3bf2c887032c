"""A program: publishes an FLV file's tags as they are, by librtmp. Arguments: URL, file."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def main(url: str, path: str) -> int:
    rtmp = ctypes.CDLL("librtmp.so.1")
    rtmp.RTMP_Alloc.restype = ctypes.c_void_p
    session = ctypes.c_void_p(rtmp.RTMP_Alloc())
    rtmp.RTMP_Init(session)
    kept = ctypes.create_string_buffer(url.encode())
    if not rtmp.RTMP_SetupURL(session, kept):
        return 2
    rtmp.RTMP_EnableWrite(session)
    if not rtmp.RTMP_Connect(session, None) or not rtmp.RTMP_ConnectStream(session, 0):
        return 1
    data = Path(path).read_bytes()
    at = 13
    while at + 11 <= len(data):
        end = at + 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
        if rtmp.RTMP_Write(session, data[at:end], end - at) <= 0:
            return 3
        at = end
    rtmp.RTMP_Close(session)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
