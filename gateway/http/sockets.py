"""Reading and writing a socket in one system call, for the way that every event of every stream takes.

trio tries to read before it waits, which a stream has nothing for, and gives the other tasks a turn after every call
that did not wait. Here a read always waits first, which is that turn, and a write that the kernel takes has none.
"""

import os
from typing import TypeAlias

import trio

Data: TypeAlias = bytes | memoryview


async def receive(socket: trio.socket.SocketType, size: int) -> bytes:
    """Up to ``size`` bytes as soon as there are any, ``b""`` at the end. Raises ``OSError`` where the connection broke,
    ``trio.ClosedResourceError`` where it was closed on our side. Cancelled, it has taken nothing."""
    while (fd := socket.fileno()) >= 0:
        await trio.lowlevel.wait_readable(fd)
        if socket.fileno() != fd:  # closed by another task since it was readable: the number may be another socket's
            break
        try:
            return os.read(fd, size)
        except BlockingIOError:
            continue
    raise trio.ClosedResourceError("this socket was already closed")


def send(socket: trio.socket.SocketType, data: Data, head: bytes = b"") -> Data:
    """Give the kernel what it takes at once of ``head`` and ``data``, mostly all; what is left, which is everything
    where it fails: who then sends it in trio's way meets the error again."""
    try:
        taken = os.writev(socket.fileno(), (head, data)) if head else os.write(socket.fileno(), data)
    except OSError:
        taken = 0
    if taken == len(head) + len(data):
        return b""
    return memoryview(b"".join((head, data)) if head else data)[taken:]
