"""All workers in one view: whoever a viewer asks tells it what the others have, too.

Each worker answers on a Unix socket of its own in a directory that only its user can look into, and asks the others on
theirs while somebody looks. Nothing is shared, and nothing asked, while nobody does. One that dies leaves a socket that
refuses: it is taken away, and the page forgets that worker.
"""

import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import msgspec
import trio

from gateway.config.loading import Config
from gateway.endpoints.ui.telling import Send, saying, tell_news, tell_stream
from gateway.exchange.service import Service
from gateway.telemetry.live import LiveView
from streams import sse
from streams.surrogates import NOT_JSON

log = logging.getLogger("trigate")

LOOK: Final = 1.0
"""Seconds between two looks for workers that have come."""

ASKING: Final = 5.0
"""Seconds for a question to come in whole."""

LONGEST: Final = 4096
"""Bytes of a question."""

CHUNK: Final = 64 * 1024

_NAME: Final = "{}.view"
_CREDENTIALS: Final = struct.Struct("3i")  # of Linux: process, user, group


@attrs.frozen
class Question:
    """A question of one worker to another: for the news, or a stream by its number, as ``client`` may see them."""

    client: str | None
    number: int | None = None


@attrs.frozen
class OtherWorkers:
    """The other workers of a supervisor, which all have their sockets in ``folder``."""

    folder: Path

    # Asking

    async def tell_news(self, client: str | None, send: Send) -> None:
        """Send what every other worker has to tell, until cancelled; one that has gone is said to be ``gone``."""
        asked: set[str] = set()

        async def follow(worker: str) -> None:
            await self._ask(worker, Question(client), send)
            await send(sse.event("gone", {"process": int(worker)}))
            asked.discard(worker)

        async with trio.open_nursery() as nursery:
            while True:
                for worker in self._names() - asked - {str(os.getpid())}:
                    asked.add(worker)
                    nursery.start_soon(follow, worker)
                await trio.sleep(LOOK)

    async def tell_stream(self, worker: str, number: int, client: str | None, send: Send) -> None:
        """Send what ``worker`` tells of a stream; nothing if there is no such stream, or no such worker."""
        if worker in self._names():
            await self._ask(worker, Question(client, number), send)

    def _names(self) -> set[str]:
        """The process ids of workers that answer."""
        return {path.stem for path in self.folder.glob(_NAME.format("*")) if path.stem.isdecimal()}

    async def _ask(self, worker: str, question: Question, send: Send) -> None:
        """Pass the answer on, event by event, as long as there is that worker."""
        path, splitter = self.folder / _NAME.format(worker), sse.Splitter()
        try:
            stream = await trio.open_unix_socket(path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                path.unlink(missing_ok=True)
            return
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(msgspec.json.encode(question) + b"\n")
            while data := await _received(stream):
                for event in splitter.feed(data):
                    await send(event)

    # Answering

    async def answer(self, current: Callable[[], tuple[Config, Service]]) -> None:
        """Tell the others what they ask, by the configuration that is ``current``; until cancelled."""
        path = self.folder / _NAME.format(os.getpid())
        new = path.with_suffix(".new")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.bind(str(new))
                sock.listen()
                new.rename(path)  # whoever finds one that refuses takes it away
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
                await trio.serve_listeners(partial(_answer, current), [listener])
        except OSError as error:  # a path that is too long for a socket, for one
            log.warning("the other workers' live views do not show this one: %s", error)
        finally:
            path.unlink(missing_ok=True)


async def _answer(current: Callable[[], tuple[Config, Service]], stream: trio.SocketStream) -> None:
    """Until the one who asks leaves, or nothing is left to be told. Raises nothing but for cancellation."""
    try:
        async with stream, trio.open_nursery() as nursery:
            question = await _question(stream) if _is_ours(stream) else None
            if question is not None:
                nursery.start_soon(_wait_for_end, stream, nursery.cancel_scope)
                await _tell(question, *current(), stream.send_all)
            nursery.cancel_scope.cancel()
    except* trio.BrokenResourceError:  # it has left
        pass
    except* Exception:  # the border: our own mistake must not end the process
        log.exception("another worker's question was not answered")


async def _tell(question: Question, config: Config, service: Service, send: Send) -> None:
    live_view = service.live_view
    if not isinstance(live_view, LiveView):
        return
    say = saying(config, service.ledger.mask)
    if question.number is None:
        await tell_news(service, live_view, say, question.client, send)
        return
    found = live_view.tap(question.number, question.client)
    if found is not None:
        tap, off = found
        try:
            await tell_stream(tap, say, send)
        finally:
            off()


def _is_ours(stream: trio.SocketStream) -> bool:
    """True if a process of the same user asks. The directory lets nobody else in; this is for one that is not as it
    was made."""
    if not hasattr(socket, "SO_PEERCRED"):  # not on Linux
        return True
    found = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(found)
    return bool(user == os.getuid())


async def _question(stream: trio.SocketStream) -> Question | None:
    line = b""
    with trio.move_on_after(ASKING):
        while not line.endswith(b"\n") and len(line) < LONGEST:
            if not (data := await _received(stream)):
                return None
            line += data
    try:
        return msgspec.json.decode(line, type=Question)
    except NOT_JSON:
        return None


async def _wait_for_end(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    while await _received(stream):
        pass
    scope.cancel()


async def _received(stream: trio.SocketStream) -> bytes:
    """The bytes that come next; none at the end, also where the connection broke off."""
    try:
        return bytes(await stream.receive_some(CHUNK))
    except trio.BrokenResourceError:
        return b""
