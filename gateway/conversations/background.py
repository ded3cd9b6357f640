"""Turns that run without their client: ``background: true`` of a request.

Such a turn is stored when it starts and when it ends, and runs in a nursery of the process, so that its client can come
back to any worker. Every few seconds its worker writes a mark to the store: a turn without a recent mark has lost its
worker and counts as failed."""

import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import trio

from gateway.conversations.bodies import head_body, head_id, read_head, read_turn, turn_body
from gateway.conversations.deadline import store_deadline
from gateway.conversations.recorder import DetachableTurn
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response, ResponseBody
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Record
from gateway.request.public_errors import MISTAKE
from gateway.stores.errors import Changed, Unavailable
from gateway.stores.store import Node, Store
from streams import sse
from streams.errors import GatewayError, invalid
from streams.event_log import Resumption, skip_events
from streams.events import ErrorInfo

if TYPE_CHECKING:
    from gateway.conversations.stored_api import StoredApi

log = logging.getLogger("trigate")

MARK_INTERVAL = 2.0
"""Seconds between marks; also the longest time until a turn notices a cancellation by another worker."""

STALE = 15.0
"""Seconds without a mark after which a turn has lost its worker."""

RUNNING = ("queued", "in_progress")

_LOST = ("server_error", "the gateway stopped before the response was complete")


@attrs.frozen(eq=False, repr=False)
class BackgroundTurn:
    """A turn to run without its client, whose request has ``scope``.

    ``response`` returns its response object with a status and without output: not available yet, or never. ``answer``
    starts its exchange in another scope."""

    owner: str
    scope: RequestScope
    turn: DetachableTurn
    response: Callable[[str], Mapping[str, Any]]
    record: Record
    answer: Callable[[RequestScope], Awaitable[Response]]

    @property
    def api(self) -> "StoredApi":
        return self.turn.api


class RunningTurn:
    """A background turn in this process.

    ``events`` are those of its stream so far, in memory until it ends. ``release`` is called at its end, so that the
    request no longer counts."""

    def __init__(self, api: "StoredApi", release: Callable[[], object]) -> None:
        self.api = api
        self.release = release
        self.scope = trio.CancelScope()
        self.events: list[bytes] = []
        self.over = False
        self.response: Response | None = None
        self.mistake: ErrorInfo | None = None
        """The error of a bug."""
        self._splitter = sse.Splitter(sys.maxsize, is_own=True)  # the output was limited before
        self._changed = trio.Event()

    def add(self, data: bytes) -> None:
        """Add a write of the stream, which may end within an event. Keep-alives are dropped."""
        self.events += [raw for raw in self._splitter.feed(data) if not raw.startswith(b":")]
        self._notify_followers()

    @property
    def error(self) -> ErrorInfo | None:
        """The error of the turn so far."""
        return self.mistake if self.mistake is not None or self.response is None else self.response.failure

    @property
    def has_ended(self) -> bool:
        """Whether the stream has reached its last event."""
        return bool(self.events) and self.api.is_end(self.events[-1])

    def end(self) -> None:
        self.over = True
        self._notify_followers()

    def _notify_followers(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for_change(self) -> None:
        """Wait for more events or the end."""
        await self._changed.wait()


class Follower(ResponseBody):
    """A response body that repeats the stream of a running turn. Each write has all new events.

    The turn continues whether or not anyone reads it."""

    def __init__(self, turn: RunningTurn, rest: Resumption, keep_alive: float) -> None:
        self._turn = turn
        self._rest = rest
        self._keep_alive = keep_alive
        self._written = 0  # number of events

    @property
    def has_start(self) -> bool:
        """Whether the turn has sent the event before the rest."""
        return self._rest.can_start(self._turn.events)

    async def __anext__(self) -> bytes:
        with trio.move_on_after(self._keep_alive):
            while not (data := self._take_new_bytes()):
                if self._turn.over:
                    raise StopAsyncIteration
                await self._turn.wait_for_change()
            return data
        return sse.COMMENT_PING

    def _take_new_bytes(self) -> bytes:
        data = b"".join(self._turn.events[self._written :])
        self._written = len(self._turn.events)
        return self._rest.feed(data)


class Background:
    """The background turns of this process. Set ``nursery`` before the first starts, and cancel it only after
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
        """The number of turns running here."""
        return len(self._live)

    async def start(self, run: BackgroundTurn) -> bytes:
        """Start a turn that outlives its request, and return its response so far.

        Raises ``GatewayError`` (503) if the turn cannot be stored: its client could not come back for it."""
        assert self.nursery is not None
        with store_deadline("store the response"):
            nodes, _ = await run.turn.nodes(run.response("in_progress"), b"")
            await self._store.put([*nodes, _alive_mark(run)])
        live = self._live[run.owner, run.turn.id] = RunningTurn(run.api, run.scope.detach())
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self.nursery.start_soon(self._run, run, live)
        return msgspec.json.encode(run.response("queued"))

    async def finish(self) -> None:
        """Wait until every turn has ended, normally or because the drain ended its pump."""
        await self._idle.wait()

    # One turn

    async def _run(self, run: BackgroundTurn, live: RunningTurn) -> None:
        """Run one turn to its end. Never raises, because all turns share the nursery."""
        try:
            with live.scope:
                async with run.scope.part(run.scope.id) as part:
                    part.nursery.start_soon(self._mark_alive, run, live)
                    live.response = await run.answer(part)
                    if not isinstance(live.response.body, bytes):
                        async with live.response.body as body:
                            async for data in body:
                                live.add(data)
        except Exception:  # a bug must end only this turn
            log.exception("%s failed in the background", run.turn.id)
            run.record.error = live.mistake = MISTAKE
        finally:
            with trio.CancelScope(shield=True):
                await self._end(run, live)

    async def _mark_alive(self, run: BackgroundTurn, live: RunningTurn) -> None:
        while True:
            await trio.sleep(MARK_INTERVAL)
            try:
                await self._store.put([_alive_mark(run)])
                if await self._store.get(run.owner, _cancel_id(run.turn.id)) is not None:
                    live.scope.cancel()
            except Unavailable as error:
                log.warning("%s: could not renew its heartbeat in the store: %s", run.turn.id, error)

    async def _end(self, run: BackgroundTurn, live: RunningTurn) -> None:
        if not run.turn.is_persisted:
            await self._store_response(run, _interrupted_response(run, live))
        if not live.has_ended:
            live.add(await self._missing_end(run, len(live.events)))
        live.end()
        del self._live[run.owner, run.turn.id]
        live.release()
        self._ledger.settle(run.record, disconnected=live.scope.cancelled_caught)
        if not self._live:
            self._idle.set()

    async def _missing_end(self, run: BackgroundTurn, count: int) -> bytes:
        """Return the stored stream after its first ``count`` events, which its followers have not seen.

        That is everything for a turn not requested as a stream, the end for a cancelled one."""
        owner, id = run.owner, run.turn.id
        try:
            with store_deadline("read the end of the response"):
                node, head = await self._store.get(owner, id), await self._store.get(owner, head_id(id))
                if node is None or head is None:  # deleted
                    return b""
                size = 10 * (len(node.body) + len(head.body))  # after decompression
                return await offload(size, _events_after, run.api, node, head, count)
        except (GatewayError, ValueError) as error:
            log.warning("%s: could not send its last events to clients that read its stream: %s", id, error)
            return b""

    async def _store_response(self, run: BackgroundTurn, response: Mapping[str, Any]) -> None:
        try:
            with store_deadline("store the response"):
                nodes, _ = await run.turn.nodes(response, b"")
                await self._store.put(nodes)
        except GatewayError as error:
            log.error("could not store %s: %s", run.turn.id, error.info.loggable_message)

    # For clients that come back

    def follow(self, owner: str, id: str, rest: Resumption, keep_alive: float) -> Follower | None:
        """Return the ``rest`` of the stream of a turn running here; ``None`` if it does not run here."""
        live = self._live.get((owner, id))
        return None if live is None else Follower(live, rest, keep_alive)

    async def cancel(self, owner: str, id: str) -> None:
        """Cancel a turn on any worker, and wait until it has ended, ``STALE`` seconds at most."""
        if (live := self._live.get((owner, id))) is not None:
            live.scope.cancel()
            while not live.over:
                await live.wait_for_change()
            return
        await self._store.put([Node(_cancel_id(id), owner, "mark", b"", id)])
        with trio.move_on_after(STALE):
            while await self._is_running(owner, id):  # noqa: ASYNC110  # on another worker
                await trio.sleep(MARK_INTERVAL / 4)

    async def _is_running(self, owner: str, id: str) -> bool:
        node = await self._store.get(owner, id)
        return node is not None and read_turn(node.body).status in RUNNING

    async def fail_if_lost(self, api: "StoredApi", owner: str, id: str) -> None:
        """Store a turn as failed if it is stored as running but has lost its worker."""
        if (owner, id) in self._live:
            return
        mark = await self._store.get(owner, _mark_id(id))
        if mark is not None and time.time() - float(mark.body) < STALE:
            return
        node, head = await self._store.get(owner, id), await self._store.get(owner, head_id(id))
        if node is None or head is None or (turn := read_turn(node.body)).status not in RUNNING:
            return
        response = api.with_error(read_head(head.body).response, *_LOST)
        body = turn_body("failed", turn.input, turn.output)
        with contextlib.suppress(Changed):  # it ended normally
            nodes = [attrs.evolve(node, body=body), attrs.evolve(head, body=head_body(response, b"", api.output))]
            await self._store.put(nodes, expect=node)


class NoBackground:
    """The ``Background`` of a gateway without state storage: it runs no turns."""

    running = 0
    nursery: trio.Nursery | None = None

    async def start(self, run: BackgroundTurn) -> bytes:
        raise no_state_error()

    async def finish(self) -> None:
        return

    def follow(self, owner: str, id: str, rest: Resumption, keep_alive: float) -> Follower | None:
        return None

    async def cancel(self, owner: str, id: str) -> None:
        return

    async def fail_if_lost(self, api: "StoredApi", owner: str, id: str) -> None:
        return


def no_state_error() -> GatewayError:
    """Return the error for a background turn that no client could come back for."""
    return invalid("background is not supported: this gateway stores no state", "background")


def _mark_id(id: str) -> str:
    return f"{id}/alive"


def _cancel_id(id: str) -> str:
    return f"{id}/cancel"


def _alive_mark(run: BackgroundTurn) -> Node:
    return Node(_mark_id(run.turn.id), run.owner, "mark", str(time.time()).encode(), run.turn.id)


def _events_after(api: "StoredApi", node: Node, head: Node, count: int) -> bytes:
    """Return the stream of a stored turn after its first ``count`` events. Raises ``ValueError``, ``GatewayError``."""
    return skip_events(count).of_log(api.event_log(read_turn(node.body), read_head(head.body)))


def _interrupted_response(run: BackgroundTurn, live: RunningTurn) -> Mapping[str, Any]:
    if live.scope.cancelled_caught and live.error is None:
        return run.response("cancelled")
    error = live.error or MISTAKE
    return run.api.with_error(run.response("failed"), error.code or "server_error", error.message)
