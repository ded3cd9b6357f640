"""Reads and writes of a socket with a single system call, for the events of streams.

trio tries to read before it waits, which rarely succeeds for a stream, and runs the other tasks after each call that
did not wait. Here a read always waits first, which runs the other tasks, and a write that the kernel accepts does
not."""

import os
import threading
from typing import Final, TypeAlias

import trio

Data: TypeAlias = bytes | memoryview

READ: Final = 64 * 1024  # bytes of one read, unless the size of a body is known
TLS_RECORD: Final = 16 * 1024  # bytes; a read of TLS returns at most one record, and room for more costs time


class _Buffer(threading.local):
    """A buffer for the reads of a thread, which copy what arrived.

    ``os.read`` would allocate the whole size and then shrink the object in place. A piece that outlives the next read
    would leave a hole that is too small for it, and the heap would grow with each hour."""

    def __init__(self) -> None:
        self.room = memoryview(bytearray(READ))
        self.whole = (self.room,)


def _read(fd: int, size: int) -> bytes:
    if size != READ:
        return os.read(fd, size)
    buffer = _buffer
    return buffer.room[: os.readv(fd, buffer.whole)].tobytes()


_buffer: Final = _Buffer()


async def receive(socket: trio.socket.SocketType, size: int) -> bytes:
    """Return up to ``size`` bytes as soon as there are any, ``b""`` at the end.

    Raises ``OSError`` if the connection broke, ``trio.ClosedResourceError`` if it was closed here. Cancellation loses
    no bytes."""
    while (fd := socket.fileno()) >= 0:
        await trio.lowlevel.wait_readable(fd)
        if socket.fileno() != fd:  # another task closed it; the number may belong to another socket
            break
        try:
            return _read(fd, size)
        except BlockingIOError:
            continue
    raise trio.ClosedResourceError("this socket was already closed")


def receive_now(socket: trio.socket.SocketType, size: int) -> bytes:
    """Return up to ``size`` bytes that have already arrived, ``b""`` without any. ``receive`` reports the end and
    errors."""
    try:
        return _read(socket.fileno(), size)
    except OSError:
        return b""


def send(socket: trio.socket.SocketType, data: Data, head: bytes = b"") -> tuple[Data, ...]:
    """Send what the kernel accepts immediately of ``head`` and ``data``, and return the rest in parts, without a copy.

    After an error it returns everything; the caller then sends it with trio and gets the error again."""
    try:
        taken = os.writev(socket.fileno(), (head, data)) if head else os.write(socket.fileno(), data)
    except OSError:
        taken = 0
    if taken == len(head) + len(data):
        return ()
    if taken >= len(head):
        return (memoryview(data)[taken - len(head) :],)
    return memoryview(head)[taken:], data
