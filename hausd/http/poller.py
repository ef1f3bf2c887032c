"""Which of many idle sockets have something to read, without a task for each.

The operating system's set of watched sockets is itself a descriptor that trio can wait for. So
thousands of idle connections cost a table entry each, and a busy one no task switch.
"""

from __future__ import annotations

import select
import selectors
import sys
from typing import Protocol


class Poller(Protocol):
    """A set of watched sockets, level-triggered."""

    def fileno(self) -> int:
        """Readable where ``ready`` would give something."""

    def add(self, fd: int) -> None:
        """Watches for bytes to read, or the end."""

    def remove(self, fd: int) -> None:
        """Stops watching."""

    def add_hangup(self, fd: int) -> bool:
        """Watches for the end alone; False where this system can't tell it from bytes."""

    def ready(self, most: int) -> list[tuple[int, int]]:
        """(descriptor, events) of up to ``most`` sockets, at once."""

    def close(self) -> None: ...


if sys.platform == "linux":

    class EpollPoller:
        """Linux."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.fileno = self._epoll.fileno
            self.remove = self._epoll.unregister
            self.close = self._epoll.close

        def add(self, fd: int) -> None:
            self._epoll.register(fd, select.EPOLLIN)

        def add_hangup(self, fd: int) -> bool:
            self._epoll.register(fd, select.EPOLLRDHUP)
            return True

        def ready(self, most: int) -> list[tuple[int, int]]:
            return self._epoll.poll(0, most)


class SelectorPoller:
    """Elsewhere (kqueue)."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        fileno: int = self._selector.fileno()
        return fileno

    def add(self, fd: int) -> None:
        self._selector.register(fd, selectors.EVENT_READ)

    def remove(self, fd: int) -> None:
        self._selector.unregister(fd)

    def add_hangup(self, fd: int) -> bool:
        return False

    def ready(self, most: int) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._selector.select(0)[:most]]

    def close(self) -> None:
        self._selector.close()


def open_poller() -> Poller:
    """The best one of this system."""
    if sys.platform == "linux":
        return EpollPoller()
    return SelectorPoller()
