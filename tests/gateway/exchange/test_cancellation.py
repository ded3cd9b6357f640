"""The cancellation sweep: one exchange, cancelled at its first checkpoint, then at its second, and so on until it
completes before the blow. At no step may a task, a file descriptor or a connection in the pool leak, and the
ledger has exactly one line.

The app runs without a server, driven as an ASGI server drives it; the provider is a bare socket in the same event loop.
"""

import contextlib
import contextvars
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from gateway.app import whole_app
from gateway.config_files.loading import from_mapping
from gateway.counters.counter import Level
from gateway.open_service import open_service
from gateway.routing.plan import Outage
from gateway.serving.lifecycle import Lifecycle
from gateway.upstream.client import Upstream
from gateway.upstream.pool import PoolStats
from streams.events import ErrorInfo
from tests.support.features import members_of
from tests.support.harness import PATIENCE, config, provider
from tests.support.task_steps import living_tasks
from tests.support.upstreams import PATHS, Script, render

pytestmark = pytest.mark.slow

MARKED: contextvars.ContextVar[bool] = contextvars.ContextVar("marked")  # inherited by every task of an exchange
KEY = "tg-a-key-for-alice-of-more-than-enough-characters"
STEPS = 2000  # no exchange takes as many; a sweep that gets here does not end
SCRIPT = Script(text="one two three")
LONG = Script(text="one t" + 600_000 * "." + "wo thr" + 600_000 * "." + "ree")  # more than all queues hold

# The provider


def stream(
    api: str, *, keep: int | None = None, end: bytes = b"0\r\n\r\n", script: Script = SCRIPT
) -> tuple[bytes, ...]:
    pieces = render(script, api, {"stream": True, "model": "up"}).pieces[:keep]
    kind = b"application/vnd.amazon.eventstream" if api == "converse" else b"text/event-stream"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % kind
    return (head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), end)


def whole(body: bytes, status: bytes = b"200 OK") -> tuple[bytes, ...]:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    return (head, body[:20], body[20:])


def answer(api: str) -> bytes:
    return render(SCRIPT, api, {"model": "up"}).pieces[0]


WAIT = b""
"""Instead of a piece: send nothing more before the client has received something."""

HANG_UP = b"hang up"
"""Instead of a piece: close the connection."""


class Provider:
    """A provider that sends its ``answers`` in turn to any request, each piece in its own write."""

    def __init__(self) -> None:
        self.answers: list[tuple[bytes, ...]] = []
        self.spoken_to = trio.Event()
        self.connections = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            async with stream:
                while await self._request(stream) and await self._play(stream):
                    pass
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.connections -= 1

    async def _request(self, stream: trio.SocketStream) -> bool:
        data = b""
        while not whole_request(data):
            more = await stream.receive_some()
            if not more:
                return False
            data += more
        return True

    async def _play(self, stream: trio.SocketStream) -> bool:
        """Send the next answer, and return whether the connection can be used again."""
        good = False
        async with trio.open_nursery() as nursery:

            async def stop_when_left_alone() -> None:
                await stream.receive_some()
                nursery.cancel_scope.cancel()

            async def speak() -> None:
                nonlocal good
                for piece in self.answers.pop(0):
                    if piece == HANG_UP:
                        break
                    if piece == WAIT:
                        await self.spoken_to.wait()
                    for _ in range(4):  # let the gateway read each piece on its own
                        await trio.lowlevel.checkpoint()
                    await stream.send_all(piece)
                else:
                    good = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(stop_when_left_alone)
            nursery.start_soon(speak)
        return good


def whole_request(data: bytes) -> bool:
    head, blank, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    return bool(blank) and len(body) == next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))


# The client


class Client:
    """One request as an ASGI server hands it to the app, and what the app sends back."""

    def __init__(
        self, path: str, body: dict[str, Any], name: str, on_bytes: Callable[[], object], read_time: float
    ) -> None:
        self._path, self._body, self.name = path, json.dumps(body).encode(), name
        self._on_bytes, self._read_time = on_bytes, read_time
        self._asked = False
        self.status = 0
        self.answer = b""
        self.ended = False  # the answer has its end
        self.gone = trio.Event()

    async def run(self, app: Any) -> None:
        headers = [
            (b"content-type", b"application/json"), (b"x-request-id", self.name.encode()),
            (b"x-trigate-key", KEY.encode()), (b"x-trigate-run", b"one"),
        ]  # fmt: skip
        path, _, query = self._path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {}, "extensions": {},
        }  # fmt: skip
        await app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            await trio.lowlevel.checkpoint()
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await trio.sleep(self._read_time)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.answer += message["body"]
            self.ended = not message.get("more_body", False)
        if self.answer:
            self._on_bytes()
        if self.ended:
            self.gone.set()  # as Hypercorn does


# The blow


class Strike(trio.abc.Instrument):
    """An instrument that calls ``blow`` after the ``at``-th step of an exchange's tasks, which ends at a checkpoint."""

    def __init__(self, at: int, blow: Callable[[], object]) -> None:
        self._left = at
        self._blow = blow
        self.fell = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if MARKED in task.context and not self.fell:
            self._left -= 1
            if not self._left:
                self.fell = True
                self._blow()


def marked_tasks() -> list[trio.lowlevel.Task]:
    """Return the living tasks of exchanges."""
    return [task for task in living_tasks() if MARKED in task.context]


def open_files() -> set[str]:
    """Return the open files and sockets of this process, by what each descriptor refers to."""
    files = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor that lists the folder
            files.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return files


async def eventually(condition: Callable[[], bool], what: str) -> None:
    with trio.move_on_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  # no event reports that another task's socket is closed
            await trio.lowlevel.checkpoint()
    assert condition(), what


# The exchanges


@attrs.frozen
class Case:
    """``answers`` of the provider; with ``warm`` a first request has left its connection in the pool. The client takes
    ``read_time`` seconds for each write."""

    path: str
    model: str
    answers: tuple[tuple[bytes, ...], ...]
    stream: bool = True
    warm: bool = False
    keep_alive: float = 15.0
    read_time: float = 0.0
    stride: int = 27  # the gate tries only every ``stride``-th step
    finish: bool = False  # the gateway reads the provider's answer to its end even if the client leaves
    good: bool = True  # without a blow it ends well
    refusals: tuple[int, ...] = ()  # other statuses that the client may receive
    tries: bool = False  # the first target has failed before, and the request tests whether it has recovered


GEMINI = "/v1beta/models/{}:streamGenerateContent"
CONVERSE = "/model/{}/converse-stream"
DOWN = whole(b'{"error":{"message":"later"}}', b"503 Down")
CASES = {
    "byte_lane_streamed": Case(PATHS["chat"], "on-chat", (stream("chat"),)),
    "byte_lane_whole": Case(PATHS["messages"], "on-messages", (whole(answer("messages")),), stream=False),
    "hub_lane_streamed": Case(PATHS["messages"], "on-chat", (stream("chat"),)),
    "hub_lane_whole": Case(PATHS["responses"], "on-messages", (whole(answer("messages")),), stream=False),
    "kept_alive_before_the_head": Case(PATHS["chat"], "on-chat", ((WAIT, *stream("chat")),), keep_alive=0.003),
    "kept_alive_before_content": Case(
        PATHS["responses"], "on-chat", ((*stream("chat")[:2], WAIT, *stream("chat")[2:]),), keep_alive=0.003
    ),
    "stale_connection": Case(PATHS["messages"], "on-chat", ((HANG_UP,), stream("chat")), warm=True),
    "reused_connection": Case(PATHS["chat"], "on-chat", (stream("chat"),), warm=True),
    "streamed_whole": Case(PATHS["chat"], "on-chat", (whole(answer("chat")),)),
    "refused": Case(PATHS["chat"], "on-chat", (whole(b'{"error":{"message":"no"}}', b"429 No"),), good=False),
    "cut": Case(PATHS["messages"], "on-chat", (stream("chat", keep=2, end=HANG_UP),), good=False),
    "slow_client": Case(PATHS["chat"], "on-chat", (stream("chat", script=LONG),), read_time=0.001, stride=51),
    "slow_client_hub_lane": Case(
        PATHS["messages"], "on-chat", (stream("chat", script=LONG),), read_time=0.001, stride=51
    ),
    "finished": Case(PATHS["chat"], "on-chat", (stream("chat"),), finish=True),
    "finished_whole": Case(PATHS["messages"], "on-chat", (whole(answer("chat")),), stream=False, finish=True),
    "fallback": Case(PATHS["chat"], "two", (DOWN, stream("chat"))),
    "fallback_whole": Case(PATHS["responses"], "two", (DOWN, whole(answer("chat"))), stream=False),
    "fallback_behind_openings": Case(
        PATHS["messages"], "two", (stream("chat", keep=1, end=HANG_UP), stream("chat")), refusals=(502,)
    ),
    "fallback_finished": Case(PATHS["chat"], "two", (DOWN, stream("chat")), finish=True),
    "again": Case(PATHS["chat"], "again", (DOWN, stream("chat")), stride=51),
    "hedged": Case(PATHS["messages"], "hedged", ((WAIT, *stream("chat")), stream("chat"))),
    "hedged_finished": Case(PATHS["chat"], "hedged", ((WAIT, *stream("chat")), stream("chat")), finish=True),
    "hedged_whole": Case(PATHS["chat"], "hedged", ((WAIT,), whole(answer("chat"))), stream=False),
    "tried": Case(PATHS["chat"], "trial", (stream("chat"),), tries=True),
    "tried_in_vain": Case(PATHS["messages"], "trial", (DOWN, whole(answer("chat"))), stream=False, tries=True),
    "gemini_byte_lane": Case(GEMINI.format("on-gemini") + "?alt=sse", "", (stream("gemini"),), stride=39),
    "gemini_hub_lane": Case(GEMINI.format("on-chat") + "?alt=sse", "", (stream("chat"),), stride=51),
    "gemini_array": Case(GEMINI.format("on-gemini"), "", (stream("gemini"),), stride=39),
    "gemini_array_cut": Case(
        GEMINI.format("on-chat"), "", (stream("chat", keep=2, end=HANG_UP),), good=False, keep_alive=0.003, stride=51
    ),
    "converse_byte_lane": Case(CONVERSE.format("on-converse"), "", (stream("converse"),), stride=39),
    "converse_hub_lane": Case(CONVERSE.format("on-chat"), "", (stream("chat"),), stride=51),
    "converse_behind_messages": Case(PATHS["messages"], "on-converse", (stream("converse"),), stride=51),
    **members_of(
        "answer_cache",
        cached=Case(PATHS["messages"], "cached", (stream("chat"),), stride=66),
        cached_whole=Case(PATHS["chat"], "cached", (whole(answer("chat")),), stream=False, stride=51),
        cached_hedged=Case(PATHS["chat"], "hedged_cached", ((WAIT, *stream("chat")), stream("chat")), stride=93),
    ),
    "counted": Case(PATHS["messages"] + "/count_tokens", "on-messages", (whole(b'{"input_tokens":3}'),), stream=False),
}


MORE_ENTRIES: dict[str, dict[str, Any]] = {
    "other": {},
    "tried": {"circuit": {"failures": 1, "cooldown": "1ms", "longest": "1ms"}},
}
ROUTES: dict[str, dict[str, Any]] = {
    "two": {"targets": ["on-chat", "other"]},
    "again": {"targets": ["on-chat"], "retries": {"attempts": 2}},
    "hedged": {"targets": ["on-chat", "other"], "hedge": {"after": "1ms", "at_most": "100%"}},
    "trial": {"targets": ["tried", "other"]},
}
CACHED = members_of("answer_cache", cache={"ttl": "1h"})
ROUTES |= {"cached": {"targets": ["on-chat"], **CACHED}, "hedged_cached": {**ROUTES["hedged"], **CACHED}}


PRICE = {"input": 3, "cached": 0.3, "cache_write": 3.75, "output": 15}
MAY_USE = {
    "ratelimits": {"requests": "600/m", "tokens": "2M/m", "concurrent": 2},
    "budgets": ["20 usd/day", "9M tokens/30d"],
}
BEARS = {"ratelimits": {"input_tokens": "1M/m", "concurrent": 2}, "budgets": ["100 usd/month"]}


WITHOUT_PAGES = {
    **members_of("live_view", ui=False),
    **members_of("responses_websocket", websocket=False),
    **members_of("metrics", metrics=False),
}
"""The settings of an app without the parts that take long to make."""


class Sweep:
    """One case, run again and again with a fresh app on one provider."""

    def __init__(
        self, case: Case, stride: int, provider: Provider, port: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.case, self.stride, self.provider, self._caplog = case, stride, provider, caplog
        url = f"http://127.0.0.1:{port}"
        entries = [provider_entry(api, url, "finish" if case.finish else "cancel") for api in VENDORS]
        entries += [{**entries[0], "model": f"openai/{name}", **more} for name, more in MORE_ENTRIES.items()]
        entries = [{**entry, **BEARS, "price": PRICE} for entry in entries]
        groups = [{"name": "team", **MAY_USE}]
        keys = [{"name": "alice", "key": KEY, "group": "team", **MAY_USE}]
        content = config(entries, 12000, model_aliases=ROUTES, client_keys=keys, client_groups=groups)
        content |= {"version": "v0.4.0", **WITHOUT_PAGES}
        self._config = attrs.evolve(from_mapping(content), keep_alive=case.keep_alive)

    async def run(self, at: int, blow: Callable[["Sweep"], object]) -> bool:
        """Run one exchange with the blow at step ``at``, and return whether it fell before the exchange ended."""
        self.files = open_files()  # a file of an earlier test may be closed meanwhile, as garbage
        self._caplog.clear()
        self.lifecycle = Lifecycle()
        self.service = open_service(self._config, self.lifecycle, None, False)
        app = whole_app(self._config, self.service)
        (self.upstream,) = (call.__self__ for call in app.after_serving if is_of(call, Upstream))
        if self.case.warm:
            self.provider.answers = [whole(answer("chat"))]
            warming = self._client("warm")
            await warming.run(app)
            assert warming.status == 200
        if self.case.tries:
            await self._let_fail("tried")
        self.provider.answers = list(self.case.answers)
        self.provider.spoken_to = trio.Event()
        self.client = self._client(f"at-{at}")
        strike = Strike(at, lambda: blow(self))
        await self._exchange(app, strike)
        await self._assert_nothing_left()
        return strike.fell

    def _outage(self, name: str) -> Outage | None:
        return self.service.health.outage(self.service.router.resolve(name, "chat"), None)

    async def _let_fail(self, name: str) -> None:
        """Let the target fail, and wait until its outage is due, so that the next request tries it."""
        before = self.service.health.begin(self.service.router.resolve(name, "chat"), None, added=False)
        before.mark_failed(ErrorInfo("overloaded", "later", reason="overloaded"))
        before.close()
        await eventually(lambda: self._outage(name) is None, "it is not due")

    def _client(self, name: str) -> Client:
        case = self.case
        body = request_body(case, case.stream and name != "warm")
        return Client(case.path, body, name, lambda: self.provider.spoken_to.set(), case.read_time)

    async def _exchange(self, app: Any, strike: Strike) -> None:
        async def run_marked() -> None:
            MARKED.set(True)
            with self.cancel_scope:
                await self.client.run(app)

        self.cancel_scope = trio.CancelScope()
        trio.lowlevel.add_instrument(strike)
        try:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:  # noqa: ASYNC112  # a task has a context of its own
                    nursery.start_soon(run_marked)
        finally:
            trio.lowlevel.remove_instrument(strike)

    async def _assert_nothing_left(self) -> None:
        """Assert that nothing remains of the exchange except at most one connection that the next one can use."""
        assert marked_tasks() == []
        for name in ("on-chat", "other", "tried"):
            place = self.service.router.resolve(name, "chat").identity.place
            assert self.service.balancer.loads.counts.count(place) == 0, "an answer is still open"
            assert (outage := self._outage(name)) is None or not outage.tried, "nobody can try it any more"
        stats = self.upstream.stats()
        assert stats == PoolStats(connections=stats.idle, idle=stats.idle), stats
        await eventually(lambda: self.provider.connections == stats.idle, "the provider still has a connection")
        assert len(open_files() - self.files) == 2 * stats.idle  # both ends are in this process
        await self.upstream.aclose()
        await eventually(lambda: self.provider.connections == 0, "the provider still has a connection")
        assert open_files() <= self.files

    def levels(self) -> dict[str, Level]:
        """Return the used and the reserved amount of each allowance."""
        found = {}
        for one in self.service.allowances.list_all():
            counter = one.counter(time.time(), "one")
            assert counter is not None
            found[f"{one.holder} {one.measure} {one.text}"] = self.service.allowances.counters.level(counter)
        return found

    def check_settled(self, line: dict[str, Any] | None) -> None:
        """Assert that budgets equal the sums in the ledger, with no reservations (BerriAI/litellm#27639, #30460)."""
        levels = self.levels()
        assert {name: level.held for name, level in levels.items() if level.held} == {}
        nanos = 0 if line is None else round(line.get("cost_usd", 0) * 10**9)
        for name, level in levels.items():
            if " usd " in name and "model_providers" not in name:
                assert level.used == nanos, (name, line)
        entries = [level.used for name, level in levels.items() if " usd " in name and "model_providers" in name]
        assert sum(entries) == nanos, line

    def line(self) -> dict[str, Any] | None:
        """Return the exchange's line in the ledger: exactly one, unless the gateway never read the request."""
        records = [record.getMessage() for record in self._caplog.records if record.name.startswith("trigate")]
        lines = [json.loads(text) for text in records if text.startswith("{")]
        lines = [line for line in lines if line["request_id"] == self.client.name]
        looked_at = self.client.status or len(self.provider.answers) < len(self.case.answers)
        assert len(lines) == 1 or not (lines or looked_at), lines
        wrong = [record.getMessage() for record in self._caplog.records if record.levelno >= logging.ERROR]
        assert wrong == []
        line = lines[0] if lines else None
        if not self.case.warm:
            self.check_settled(line)
        return line


def request_body(case: Case, stream: bool) -> dict[str, Any]:
    """Return the body of the client's request in the API of ``case``."""
    if case.path.startswith("/model/"):
        return {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    if not case.model:  # the path has the model
        return {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    asked = {"input": "hi"} if case.path == PATHS["responses"] else {"messages": [{"role": "user", "content": "hi"}]}
    return {"model": case.model, **asked, "max_tokens": 9, **({"stream": True} if stream else {})}


VENDORS = {"chat": "openai", "messages": "anthropic", "gemini": "gemini", "converse": "amazon_bedrock"}


def provider_entry(api: str, url: str, on_disconnect: str) -> dict[str, Any]:
    return provider(f"{VENDORS[api]}/on-{api}", url, [api], on_disconnect=on_disconnect)


def is_of(call: Any, kind: type) -> bool:
    return isinstance(getattr(call, "__self__", None), kind)


@pytest.fixture(params=[*CASES, *(pytest.param(name, id=f"{name}-each", marks=pytest.mark.soak) for name in CASES)])
async def sweep(request, caplog) -> AsyncIterator[Sweep]:
    """Sweep a sample of the steps in the gate, and every step in the soak."""
    caplog.set_level(logging.INFO, "trigate")
    played = Provider()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, played.serve, 0, host="127.0.0.1"))
        case, port = CASES[request.param], listener.socket.getsockname()[1]
        stride = case.stride if request.node.get_closest_marker("soak") is None else 1
        yield Sweep(case, stride, played, port, caplog)
        nursery.cancel_scope.cancel()


async def steps(sweep: Sweep, first: int, blow: Callable[[Sweep], object]) -> AsyncIterator[int]:
    """Yield each step at which the blow has fallen, after it has. The gate begins with the step ``first``."""
    for at in range(min(first, sweep.stride), STEPS, sweep.stride):
        if not await sweep.run(at, blow):
            assert at > 10, "the exchange was over before anything was tried"
            return
        yield at
    raise AssertionError(f"the exchange goes on after {STEPS} steps")


async def test_an_undisturbed_exchange_ends_as_expected(sweep):
    assert not await sweep.run(STEPS, lambda _: None)
    assert sweep.client.ended
    line = sweep.line()
    assert (line["ended"] == "complete") == sweep.case.good, line


async def test_the_client_leaves_at_every_checkpoint_in_turn(sweep):
    async with contextlib.aclosing(steps(sweep, 1, lambda sweep: sweep.client.gone.set())) as struck:
        async for at in struck:
            line = sweep.line()
            if line is not None and not sweep.client.ended:
                expected = ("client_disconnected",) if sweep.case.good else ("client_disconnected", "upstream_error")
                whole = line["ended"] == "complete"  # the client left after the last event of the answer
                assert whole or line["ended"] in expected, (at, line)


async def test_the_request_is_cancelled_at_every_checkpoint_in_turn(sweep):
    async with contextlib.aclosing(steps(sweep, 10, lambda sweep: sweep.cancel_scope.cancel())) as struck:
        async for at in struck:
            line = sweep.line()
            assert line is None or line["duration_ms"] >= 0, at


# The endings of complete answers. A Chat answer is complete with its finish reason: `[DONE]` may be lost after it.
SUCCESS = (
    b"[DONE]",
    b'"finishReason":"STOP"',
    b'"finishReason": "STOP"',
    b"messageStop",
    b'"finish_reason": "stop"',
    b'"finish_reason":"stop"',
    b"message_stop",
    b'"response.completed"',
)
ERROR = (
    b'data: {"error"',
    b',\r\n{"error"',
    b'[{"error"',
    b":exception-type",
    b'event: error\ndata: {"type":"error","error"',
    b"event: response.failed\n",  # preceded by an `error` with a sequence number
)


async def test_the_drain_ends_it_at_every_checkpoint_in_turn(sweep):
    async with contextlib.aclosing(steps(sweep, 19, lambda sweep: sweep.lifecycle.cancel_pumps())) as struck:
        async for at in struck:
            line, client = sweep.line(), sweep.client
            assert client.ended, f"the client got no end at step {at}: {client.status} {client.answer!r}"
            complete = line["ended"] == "complete"
            if not sweep.case.stream:
                assert (json.loads(client.answer).get("error") is None) == complete == (client.status == 200), at
            elif client.status == 200:
                said = any(mark in client.answer for mark in SUCCESS)
                errors = sum(client.answer.count(mark) for mark in ERROR)
                assert (said, errors) == ((True, 0) if complete else (False, 1)), (at, line, client.answer)
                assert not complete or all(part in client.answer for part in (b"one t", b"wo th", b"ree")), at
            refusals = sweep.case.refusals if sweep.case.good else (429, 502)
            assert client.status in (200, 503, *refusals), (at, client.answer)
