"""Questions between the workers of a supervisor.

Each worker listens on a Unix socket in a directory of its user; without a question, nothing is exchanged. A dead worker
leaves a socket that refuses connections: the next questioner deletes it."""

import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import attrs
import trio

log = logging.getLogger("trigate")

QUESTION_SECONDS: Final = 5.0
"""Seconds for a whole question to arrive."""

LONGEST: Final = 4096
"""The longest question in bytes."""

CHUNK: Final = 64 * 1024

_CREDENTIALS: Final = struct.Struct("3i")  # process, user and group on Linux

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
Reply: TypeAlias = Callable[[bytes, Send], Awaitable[None]]
"""Sends the reply to a question; nothing to a question that it does not understand."""


@attrs.frozen(eq=False, repr=False)
class OtherWorkers:
    """The other workers of a supervisor, whose sockets are in ``folder`` and end with ``.kind``."""

    folder: Path
    kind: str

    def names(self) -> set[str]:
        """Return the process ids of the other listening workers."""
        found = {path.stem for path in self.folder.glob(f"*.{self.kind}") if path.stem.isdecimal()}
        return found - {str(os.getpid())}

    async def ask(self, worker: str, question: bytes, send: Send) -> None:
        """Pass on the reply as it arrives, while the worker lives. ``question`` is a line."""
        path = self._path(worker)
        try:
            stream = await trio.open_unix_socket(path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                path.unlink(missing_ok=True)
            return
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(question + b"\n")
            while data := await _receive(stream):
                await send(data)

    async def collect(self, worker: str, question: bytes) -> bytes:
        """Return the whole reply, or its part after ``QUESTION_SECONDS``."""
        reply = bytearray()

        async def add(data: bytes) -> None:
            reply.extend(data)

        with trio.move_on_after(QUESTION_SECONDS):
            await self.ask(worker, question, add)
        return bytes(reply)

    async def answer(self, reply: Reply) -> None:
        """Answer other workers' questions with ``reply``, until cancelled."""
        path = self._path(str(os.getpid()))
        new = path.with_suffix(f".new-{self.kind}")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.bind(str(new))
                sock.listen()
                new.rename(path)  # a refusing socket is deleted by any process that finds it
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
                await trio.serve_listeners(partial(_answer, reply), [listener])
        except OSError as error:  # such as a path too long for a socket
            log.warning("other workers show nothing of this worker: %s", error)
        finally:
            path.unlink(missing_ok=True)

    def _path(self, worker: str) -> Path:
        return self.folder / f"{worker}.{self.kind}"


async def _answer(reply: Reply, stream: trio.SocketStream) -> None:
    """Answer until the questioner leaves, or nothing is left to send. Raises nothing but cancellation."""
    try:
        async with stream, trio.open_nursery() as nursery:
            question = await _read_question(stream) if _is_ours(stream) else None
            if question is not None:
                nursery.start_soon(_wait_for_end, stream, nursery.cancel_scope)
                await reply(question, stream.send_all)
            nursery.cancel_scope.cancel()
    except* trio.BrokenResourceError:  # the questioner left
        pass
    except* Exception:  # a bug must not end the process
        log.exception("could not answer another worker's query")


def _is_ours(stream: trio.SocketStream) -> bool:
    """Return whether the questioner has the same user, in case the directory's permissions were changed."""
    if not hasattr(socket, "SO_PEERCRED"):  # not on Linux
        return True
    found = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(found)
    return bool(user == os.getuid())


async def _read_question(stream: trio.SocketStream) -> bytes | None:
    line = b""
    with trio.move_on_after(QUESTION_SECONDS):
        while not line.endswith(b"\n") and len(line) < LONGEST:
            if not (data := await _receive(stream)):
                return None
            line += data
    return line


async def _wait_for_end(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    while await _receive(stream):
        pass
    scope.cancel()


async def _receive(stream: trio.SocketStream) -> bytes:
    """Return the next bytes; none at the end, also after a broken connection."""
    try:
        return bytes(await stream.receive_some(CHUNK))
    except trio.BrokenResourceError:
        return b""
