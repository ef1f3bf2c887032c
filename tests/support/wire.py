"""A program: network namespaces joined by wires with delay, loss and a rate. Linux, root.

``python wire.py COUNT SECONDS`` makes COUNT namespaces, each with a TUN device that has the address
``11.77.0.N`` (N from 1), and prints one line, ``{"pids": [...]}``: a process that lives in each.
Every device is an uplink: what is sent waits behind what was sent before it, at a rate, in a queue
that drops what is beyond its bound; then it is lost by chance, or comes after a delay. Lines on
standard input change how: ``{"delay_s", "loss", "rate_bps", "queue_s", "cut"}``, where ``cut``
lists the pairs between which nothing passes.

It ends with its input, or after SECONDS; nothing of it stays behind: the namespaces live only as
long as the processes in them. The kernel of many machines has no netem, which would do the same.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

PREFIX = "11.77.0."
_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MTU = 1500
_AT_ONCE = 64
"""Packets of one device that are read before another has its turn."""


@dataclass
class How:
    """What all wires are like; a round trip is twice ``delay_s``."""

    delay_s: float = 0.0
    loss: float = 0.0
    rate_bps: float = 1e9
    queue_s: float = 0.25
    cut: set[tuple[int, int]] = field(default_factory=set)

    def change(self, line: bytes) -> None:
        said = json.loads(line)
        for name in ("delay_s", "loss", "rate_bps", "queue_s"):
            setattr(self, name, float(said.get(name, getattr(self, name))))
        if "cut" in said:
            self.cut = {(a, b) for a, b in said["cut"]} | {(b, a) for a, b in said["cut"]}


def main() -> None:
    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    places = [_place(number) for number in range(count)]
    devices = [device for device, _, _ in places]
    print(json.dumps({"pids": [pid for _, pid, _ in places]}), flush=True)
    _run(devices, time.monotonic() + seconds)


def _run(devices: list[int], end_s: float) -> None:
    how, random_ = How(), random.Random(1)  # the same losses each time
    free_s = [0.0] * len(devices)
    """When each uplink has sent all it was given."""
    coming: list[tuple[float, int, int, bytes]] = []
    number, said = 0, b""
    poll = select.epoll()
    for device in (0, *devices):
        os.set_blocking(device, False)
        poll.register(device, select.EPOLLIN)
    while (now := time.monotonic()) < end_s:
        until_s = min(coming[0][0] if coming else end_s, end_s)
        for ready, _ in poll.poll(max(0.0, until_s - now)):
            if ready == 0:
                read = os.read(0, 65536)
                if not read:
                    return
                *lines, said = (said + read).split(b"\n")
                for line in lines:
                    how.change(line)
                continue
            source = devices.index(ready)
            now = time.monotonic()
            for packet in _packets(ready):
                target = packet[19] - 1
                if packet[0] >> 4 != 4 or packet[16:19] != bytes((11, 77, 0)):
                    continue
                if not 0 <= target < len(devices) or (source, target) in how.cut:
                    continue
                if free_s[source] - now > how.queue_s:
                    continue
                free_s[source] = max(free_s[source], now) + 8 * len(packet) / how.rate_bps
                if random_.random() >= how.loss:
                    number += 1
                    due_s = free_s[source] + how.delay_s
                    heapq.heappush(coming, (due_s, number, target, packet))
        now = time.monotonic()
        while coming and coming[0][0] <= now:
            _, _, target, packet = heapq.heappop(coming)
            with contextlib.suppress(OSError):  # its queue is full: lost, as on a wire
                os.write(devices[target], packet)


def _packets(device: int) -> list[bytes]:
    found: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while len(found) < _AT_ONCE:
            found.append(os.read(device, _MTU + 64))
    return [packet for packet in found if len(packet) >= 20]


def _place(number: int) -> tuple[int, int, socket.socket]:
    """A namespace: its device, a process in it, and what keeps that process."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            _live_there(number, theirs)
        finally:
            os._exit(1)
    theirs.close()
    _, files, _, _ = socket.recv_fds(ours, 1, 1)
    if not files:
        raise SystemExit("no network namespace, or no TUN device, may be made here")
    return files[0], pid, ours


def _live_there(number: int, ours: socket.socket) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    device = os.open("/dev/net/tun", os.O_RDWR)
    wanted = struct.pack("16sH22x", b"haus0", _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(device, _TUNSETIFF, array.array("B", wanted))
    for command in (
        "link set lo up",
        f"link set haus0 mtu {_MTU} txqueuelen 1000",
        f"addr add {PREFIX}{number + 1}/24 dev haus0",
        "link set haus0 up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    socket.send_fds(ours, [b"1"], [device])
    os.close(device)
    ours.recv(1)  # until the other end is gone
    os._exit(0)


if __name__ == "__main__":
    main()
