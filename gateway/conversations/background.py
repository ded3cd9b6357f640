"""Turns that run without their client: ``background: true`` of the Responses API.

Such a turn is stored when it begins, lives in a nursery of the process and is stored again when it ends, so that its
client may come back for it, to any worker. A worker that runs one leaves a mark in the store every few seconds: a turn
without a fresh mark has lost its worker, and counts as failed.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import msgspec
import trio

from gateway.conversations.bodies import StoredHead, StoredTurn, head_body, head_id, read_head, read_turn, turn_body
from gateway.conversations.deadline import store_deadline
from gateway.conversations.recorder import DetachableTurn
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response, ResponseBody
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Record
from gateway.request.public_errors import MISTAKE
from gateway.stores.store import Changed, Node, Store, Unavailable
from providers.responses.output import ResponseTemplate
from providers.responses.replay import after, replay
from streams import sse
from streams.errors import GatewayError, invalid

log = logging.getLogger("trigate")

MARK_INTERVAL = 2.0
"""Seconds between two marks; as long it may take until a turn hears that it is cancelled by another worker."""

STALE = 15.0
"""Seconds after which a turn without a new mark has lost its worker."""

RUNNING = ("queued", "in_progress")

_LAST = tuple(b"event: response.%b\n" % word for word in (b"completed", b"failed", b"incomplete"))
_LOST = {"code": "server_error", "message": "the gateway stopped before the answer was complete"}


@attrs.frozen
class BackgroundTurn:
    """A turn that is to run without its client, whose request has ``scope``. ``answer`` begins its exchange in a scope
    of its own; ``head`` is that of its response."""

    owner: str
    scope: RequestScope
    turn: DetachableTurn
    head: ResponseTemplate
    record: Record
    answer: Callable[[RequestScope], Awaitable[Response]]

    def response(self, status: str, error: dict[str, Any] | None = None) -> Mapping[str, Any]:
        """The response without an answer: there is none yet, or there never will be."""
        return self.head.response(status, error=error)


class RunningTurn:
    """A turn of the background that this process runs. ``events`` are those of its stream so far, in memory until it
    ends. ``give_back`` is called then: it gives back the place that its request took."""

    def __init__(self, give_back: Callable[[], object]) -> None:
        self.give_back = give_back
        self.scope = trio.CancelScope()
        self.events: list[bytes] = []
        self.over = False
        self._splitter = sse.Splitter(limit=sys.maxsize)  # what goes out has been limited already
        self._changed = trio.Event()

    def add(self, data: bytes) -> None:
        """Add a write of the stream, which may end in the midst of an event. Keep-alives are left out."""
        self.events += [raw for raw in self._splitter.feed(data) if not raw.startswith(b":")]
        self._wake()

    @property
    def ended(self) -> bool:
        """The stream has come to its last event."""
        return bool(self.events) and self.events[-1].startswith(_LAST)

    def end(self) -> None:
        self.over = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self) -> None:
        """Wait until there is more, or the end."""
        await self._changed.wait()


class Follower(ResponseBody):
    """The response body that repeats the stream of a running turn: each write is all that there is by then. The turn
    goes on whether or not anybody reads it."""

    def __init__(self, turn: RunningTurn, starting_after: int, keep_alive: float) -> None:
        self._turn = turn
        self._starting_after = starting_after
        self._keep_alive = keep_alive
        self._written = 0  # events

    async def __anext__(self) -> bytes:
        with trio.move_on_after(self._keep_alive):
            while not (data := self._more()):
                if self._turn.over:
                    raise StopAsyncIteration
                await self._turn.changed()
            return data
        return sse.COMMENT_PING

    def _more(self) -> bytes:
        data = b"".join(self._turn.events[self._written :])
        self._written = len(self._turn.events)
        if self._starting_after >= 0 and (data := after(data, self._starting_after)):
            self._starting_after = -1  # from there on everything
        return data


class Background:
    """The turns that run in this process. ``nursery`` must be set before one is started, and be cancelled only after
    ``finish``."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._live: dict[tuple[str, str], RunningTurn] = {}
        self._idle = trio.Event()
        self._idle.set()
        self.nursery: trio.Nursery | None = None

    @property
    def running(self) -> int:
        """The number of turns that run here."""
        return len(self._live)

    async def start(self, run: BackgroundTurn) -> bytes:
        """Begin a turn, to go on without its request: its response as it is now. Raises ``GatewayError`` (503) if the
        turn cannot be stored: nobody could come back for it."""
        assert self.nursery is not None
        with store_deadline("store the response"):
            nodes, _ = await run.turn.nodes(run.response("in_progress"), b"")
            await self._store.put([*nodes, _mark(run)])
        live = self._live[run.owner, run.turn.id] = RunningTurn(run.scope.detach())
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self.nursery.start_soon(self._run, run, live)
        return msgspec.json.encode(run.response("queued"))

    async def finish(self) -> None:
        """Wait until every turn has ended: by itself, or cut off with its pump at the end of the drain."""
        await self._idle.wait()

    # One turn

    async def _run(self, run: BackgroundTurn, live: RunningTurn) -> None:
        """Run one turn to its end. Never raises: its nursery holds every other turn as well."""
        try:
            with live.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._mark_alive, run, live)
                    await self._read(live, await run.answer(RequestScope(nursery, run.record.id)))
                    nursery.cancel_scope.cancel()
        except Exception:  # the border: a mistake of ours ends this turn alone
            log.exception("response %s failed in the background", run.turn.id)
            run.record.failed = MISTAKE
        finally:
            with trio.CancelScope(shield=True):
                await self._end(run, live)

    async def _read(self, live: RunningTurn, response: Response) -> None:
        """Read the answer in the client's place."""
        if not isinstance(response.body, bytes):
            async with response.body as body:
                async for data in body:
                    live.add(data)

    async def _mark_alive(self, run: BackgroundTurn, live: RunningTurn) -> None:
        while True:
            await trio.sleep(MARK_INTERVAL)
            try:
                await self._store.put([_mark(run)])
                if await self._store.get(run.owner, _cancel_id(run.turn.id)) is not None:
                    live.scope.cancel()
            except Unavailable as error:
                log.warning("response %s: no sign of life in the store: %s", run.turn.id, error)

    async def _end(self, run: BackgroundTurn, live: RunningTurn) -> None:
        if not run.turn.persisted:
            await self._put(run, _broken_off(run, live))
        if not live.ended:
            live.add(await self._missing_end(run, len(live.events)))
        live.end()
        del self._live[run.owner, run.turn.id]
        live.give_back()
        self._ledger.settle(run.record, disconnected=live.scope.cancelled_caught)
        if not self._live:
            self._idle.set()

    async def _missing_end(self, run: BackgroundTurn, count: int) -> bytes:
        """The stored stream behind its first ``count`` events, which its followers have not seen: all of a turn that
        was not asked for as a stream, the end of one that was cancelled."""
        owner, id = run.owner, run.turn.id
        try:
            with store_deadline("read the response's end"):
                node, head = await self._store.get(owner, id), await self._store.get(owner, head_id(id))
                if node is None or head is None:  # deleted
                    return b""
                return after(event_log(read_turn(node.body), read_head(head.body)), count - 1)
        except (GatewayError, ValueError) as error:
            log.warning("response %s: its followers are not told its end: %s", id, error)
            return b""

    async def _put(self, run: BackgroundTurn, response: Mapping[str, Any]) -> None:
        try:
            with store_deadline("store the response"):
                nodes, _ = await run.turn.nodes(response, b"")
                await self._store.put(nodes)
        except GatewayError as error:
            log.error("%s is not stored: %s", run.turn.id, error.failed.loggable_message)

    # For clients that come back

    def follow(self, owner: str, id: str, starting_after: int, keep_alive: float) -> Follower | None:
        """The stream of a turn that runs here, from the event behind number ``starting_after`` (-1: all) to its end;
        ``None`` if there is none."""
        live = self._live.get((owner, id))
        return None if live is None else Follower(live, starting_after, keep_alive)

    async def cancel(self, owner: str, id: str) -> None:
        """Cancel a running turn, here or on another worker, and wait until it has ended, ``STALE`` seconds at most."""
        if (live := self._live.get((owner, id))) is not None:
            live.scope.cancel()
            while not live.over:
                await live.changed()
            return
        await self._store.put([Node(_cancel_id(id), owner, "mark", b"", id)])
        with trio.move_on_after(STALE):
            while await self._runs(owner, id):  # noqa: ASYNC110  # on another worker
                await trio.sleep(MARK_INTERVAL / 4)

    async def _runs(self, owner: str, id: str) -> bool:
        node = await self._store.get(owner, id)
        return node is not None and read_turn(node.body).status in RUNNING

    async def fail_if_lost(self, owner: str, id: str) -> None:
        """Store a turn as failed that is stored as running and has lost its worker."""
        if (owner, id) in self._live:
            return
        mark = await self._store.get(owner, _mark_id(id))
        if mark is not None and time.time() - float(mark.body) < STALE:
            return
        node, head = await self._store.get(owner, id), await self._store.get(owner, head_id(id))
        if node is None or head is None or (turn := read_turn(node.body)).status not in RUNNING:
            return
        response = {**read_head(head.body).response, "status": "failed", "error": _LOST}
        body = turn_body("failed", turn.input, turn.output)
        with contextlib.suppress(Changed):  # it has come to its own end
            failed = [attrs.evolve(node, body=body), attrs.evolve(head, body=head_body(response, b""))]
            await self._store.put(failed, expect=node)


class NoBackground:
    """The ``Background`` of a gateway that keeps no state: no turn runs in it."""

    running = 0
    nursery: trio.Nursery | None = None

    async def start(self, run: BackgroundTurn) -> bytes:
        raise not_kept()

    async def finish(self) -> None:
        return

    def follow(self, owner: str, id: str, starting_after: int, keep_alive: float) -> Follower | None:
        return None

    async def cancel(self, owner: str, id: str) -> None:
        return

    async def fail_if_lost(self, owner: str, id: str) -> None:
        return


def not_kept() -> GatewayError:
    """The error for a turn that is to run in the background where its client could not come back for it."""
    return invalid("background cannot be honoured: this gateway keeps no state", "background")


def event_log(turn: StoredTurn, head: StoredHead) -> bytes:
    """The events of a stored response, as they were or as they would have been. Raises ``ValueError`` for one that is
    still being made."""
    return head.log or replay({**head.response, "status": turn.status, "output": turn.output})


def _mark_id(id: str) -> str:
    return f"{id}/alive"


def _cancel_id(id: str) -> str:
    return f"{id}/cancel"


def _mark(run: BackgroundTurn) -> Node:
    return Node(_mark_id(run.turn.id), run.owner, "mark", str(time.time()).encode(), run.turn.id)


def _broken_off(run: BackgroundTurn, live: RunningTurn) -> Mapping[str, Any]:
    if live.scope.cancelled_caught and run.record.failed is None:
        return run.response("cancelled")
    failed = run.record.failed or MISTAKE
    return run.response("failed", {"code": failed.code or "server_error", "message": failed.message})
