"""Bounded frames on a socket: eight bytes of length, then that many bytes, all before a deadline."""

from __future__ import annotations

import select
import socket
import time

MAX_FRAME = 257 * 2**20


class Broken(Exception):
    """The other side has gone, is late, or does not keep to the form."""


def write(channel: socket.socket, message: bytes, deadline: float | None = None) -> None:
    """Send one frame before `deadline` on the monotonic clock."""
    view = memoryview(len(message).to_bytes(8, "big") + message)
    try:
        while view:
            channel.settimeout(_left(deadline))
            view = view[channel.send(view) :]
    except OSError as error:
        raise Broken("it ran out of time" if isinstance(error, TimeoutError) else "its process has ended") from None


def read(channel: socket.socket, deadline: float | None = None, most: int = MAX_FRAME) -> bytes:
    """Receive one frame of at most `most` bytes before `deadline`."""
    length = int.from_bytes(_exactly(channel, 8, deadline), "big")
    if length > most:
        raise Broken(f"it announced {length >> 20} MiB; at most {most >> 20} MiB may cross")
    return _exactly(channel, length, deadline)


def waiting(channel: socket.socket) -> bool:
    """Whether bytes lie unread, or the other side has gone."""
    return bool(select.select([channel], [], [], 0)[0])


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    parts = bytearray()
    try:
        while len(parts) < count:
            channel.settimeout(_left(deadline))
            part = channel.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise Broken("its process has ended")
            parts += part
    except OSError as error:
        raise Broken("it ran out of time" if isinstance(error, TimeoutError) else "its process has ended") from None
    return bytes(parts)
