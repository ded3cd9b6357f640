"""All workers in one view: the worker that a viewer reaches also sends the events of the others.

Each worker listens on a Unix socket in a directory of its user, and queries the others while a viewer is connected;
otherwise nothing is exchanged. A dead worker leaves a socket that refuses connections: it is deleted, and the page
forgets that worker."""

import contextlib
import errno
import logging
import os
import socket
import struct
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import msgspec
import trio

from gateway.features.live_view.live import FoundExchange, LiveView
from gateway.features.live_view.pages.viewer_events import Send, event_maker, send_news, send_stream
from streams import sse
from streams.surrogates import NOT_JSON

log = logging.getLogger("trigate")

SEARCH_SECONDS: Final = 1.0
"""Seconds between searches for new workers."""

QUESTION_SECONDS: Final = 5.0
"""Seconds for a whole question to arrive."""

LONGEST: Final = 4096
"""The longest question in bytes."""

CHUNK: Final = 64 * 1024

_NAME: Final = "{}.view"
_CREDENTIALS: Final = struct.Struct("3i")  # process, user and group on Linux


@attrs.frozen(eq=False, repr=False)
class Question:
    """A question to another worker: for news or an exchange by number, limited to what ``client`` may see.

    With ``opens`` it asks for the events of the exchange's stream."""

    client: str | None
    number: int | None = None
    opens: bool = False


@attrs.frozen(eq=False, repr=False)
class OtherWorkers:
    """The other workers of a supervisor, whose sockets are in ``folder``."""

    folder: Path

    # Questions

    async def send_news(self, client: str | None, send: Send) -> None:
        """Send the news of every other worker until cancelled; one that ends is reported as ``gone``."""
        followed: set[str] = set()

        async def follow(worker: str) -> None:
            await self._query(worker, Question(client), send)
            await send(sse.event("gone", {"process": int(worker)}))
            followed.discard(worker)

        async with trio.open_nursery() as nursery:
            while True:
                for worker in self._names() - followed - {str(os.getpid())}:
                    followed.add(worker)
                    nursery.start_soon(follow, worker)
                await trio.sleep(SEARCH_SECONDS)

    async def find(self, worker: str, number: int, client: str | None) -> FoundExchange | None:
        """Return an exchange of ``worker``, ``None`` if the exchange or worker is unknown."""
        reply = bytearray()

        async def collect(data: bytes) -> None:
            reply.extend(data)

        if worker in self._names():
            with trio.move_on_after(QUESTION_SECONDS):
                await self._query(worker, Question(client, number), collect)
        try:
            return msgspec.json.decode(reply, type=FoundExchange)
        except NOT_JSON:
            return None

    async def send_stream(self, worker: str, number: int, send: Send) -> None:
        """Send a stream's events of ``worker``; nothing if the stream or worker is unknown."""
        if worker in self._names():
            await self._query(worker, Question(None, number, opens=True), send)

    def _names(self) -> set[str]:
        """Return the process ids of listening workers."""
        return {path.stem for path in self.folder.glob(_NAME.format("*")) if path.stem.isdecimal()}

    async def _query(self, worker: str, question: Question, send: Send) -> None:
        """Pass on the reply, event by event, while the worker lives."""
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
            while data := await _receive(stream):
                for event in splitter.feed(data):
                    await send(event)

    # Replies

    async def answer(self, live_view: LiveView) -> None:
        """Answer other workers' questions about ``live_view``, until cancelled."""
        path = self.folder / _NAME.format(os.getpid())
        new = path.with_suffix(".new")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.bind(str(new))
                sock.listen()
                new.rename(path)  # a refusing socket is deleted by any process that finds it
                listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
                await trio.serve_listeners(partial(_answer, live_view), [listener])
        except OSError as error:  # such as a path too long for a socket
            log.warning("the live views of other workers do not show this worker: %s", error)
        finally:
            path.unlink(missing_ok=True)


async def _answer(live_view: LiveView, stream: trio.SocketStream) -> None:
    """Answer until the questioner leaves, or nothing is left to send. Raises nothing but cancellation."""
    try:
        async with stream, trio.open_nursery() as nursery:
            question = await _read_question(stream) if _is_ours(stream) else None
            if question is not None:
                nursery.start_soon(_wait_for_end, stream, nursery.cancel_scope)
                await _reply(question, live_view, stream.send_all)
            nursery.cancel_scope.cancel()
    except* trio.BrokenResourceError:  # the questioner left
        pass
    except* Exception:  # a bug must not end the process
        log.exception("could not answer another worker's query")


async def _reply(question: Question, live_view: LiveView, send: Send) -> None:
    make_event = event_maker(live_view.ports.ledger.mask)
    if question.number is None:
        await send_news(live_view, make_event, question.client, send)
        return
    if not question.opens:
        await send(msgspec.json.encode(live_view.find(question.number, question.client)) + b"\n\n")
        return
    found = live_view.subscribe(question.number, question.client)
    if found is not None:
        subscription, unsubscribe = found
        try:
            await send_stream(subscription, make_event, send)
        finally:
            unsubscribe()


def _is_ours(stream: trio.SocketStream) -> bool:
    """Return whether the questioner has the same user, in case the directory's permissions were changed."""
    if not hasattr(socket, "SO_PEERCRED"):  # not on Linux
        return True
    found = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(found)
    return bool(user == os.getuid())


async def _read_question(stream: trio.SocketStream) -> Question | None:
    line = b""
    with trio.move_on_after(QUESTION_SECONDS):
        while not line.endswith(b"\n") and len(line) < LONGEST:
            if not (data := await _receive(stream)):
                return None
            line += data
    try:
        return msgspec.json.decode(line, type=Question)
    except NOT_JSON:
        return None


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
