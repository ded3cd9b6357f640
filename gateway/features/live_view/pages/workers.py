"""All workers in one view: the worker that a viewer reaches also sends the events of the others.

It queries the others while a viewer is connected. The page forgets a worker that ends."""

from functools import partial
from pathlib import Path
from typing import Final

import attrs
import msgspec
import trio

from gateway.features.live_view.live import FoundExchange, LiveView
from gateway.features.live_view.pages.viewer_events import Send, event_maker, send_news, send_stream
from gateway.processes.other_workers import OtherWorkers
from streams import sse
from streams.surrogates import NOT_JSON, decode_or

SEARCH_SECONDS: Final = 1.0
"""Seconds between searches for new workers."""


@attrs.frozen(eq=False, repr=False)
class Question:
    """A question to another worker: for news or an exchange by number, limited to what ``client`` may see.

    With ``opens`` it asks for the events of the exchange's stream."""

    client: str | None
    number: int | None = None
    opens: bool = False


class OtherViews:
    """The live views of the other workers of a supervisor, whose sockets are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._workers = OtherWorkers(folder, "view")

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
                for worker in self._workers.names() - followed:
                    followed.add(worker)
                    nursery.start_soon(follow, worker)
                await trio.sleep(SEARCH_SECONDS)

    async def find(self, worker: str, number: int, client: str | None) -> FoundExchange | None:
        """Return an exchange of ``worker``, ``None`` if the exchange or worker is unknown."""
        if worker not in self._workers.names():
            return None
        reply = await self._workers.collect(worker, msgspec.json.encode(Question(client, number)))
        return decode_or(partial(msgspec.json.decode, type=FoundExchange), reply, None)

    async def send_stream(self, worker: str, number: int, send: Send) -> None:
        """Send a stream's events of ``worker``; nothing if the stream or worker is unknown."""
        if worker in self._workers.names():
            await self._query(worker, Question(None, number, opens=True), send)

    async def _query(self, worker: str, question: Question, send: Send) -> None:
        """Pass on the reply, event by event, while the worker lives."""
        splitter = sse.Splitter()

        async def send_events(data: bytes) -> None:
            for event in splitter.feed(data):
                await send(event)

        await self._workers.ask(worker, msgspec.json.encode(question), send_events)

    # Replies

    async def answer(self, live_view: LiveView) -> None:
        """Answer other workers' questions about ``live_view``, until cancelled."""
        await self._workers.answer(partial(_reply, live_view))


async def _reply(live_view: LiveView, line: bytes, send: Send) -> None:
    try:
        question = msgspec.json.decode(line, type=Question)
    except NOT_JSON:
        return
    make_event = event_maker(live_view.ports.ledger.mask)
    if question.number is None:
        await send_news(live_view, make_event, question.client, send)
        return
    if not question.opens:
        await send(msgspec.json.encode(live_view.find(question.number, question.client)))
        return
    found = live_view.subscribe(question.number, question.client)
    if found is not None:
        subscription, unsubscribe = found
        try:
            await send_stream(subscription, make_event, send)
        finally:
            unsubscribe()
