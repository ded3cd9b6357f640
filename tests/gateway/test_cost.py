"""The cost of one event and of one request: numbers of function calls and of turns of trio's loop.

Times in seconds are meaningless on a shared machine. These numbers are the same on every machine, and only versions of
Python and libraries change them. A test fails if a change adds steps to the path of every event. If the steps have a
reason, raise the number; if you remove steps, lower it.
"""

import contextlib
import gc
import json
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import pytest
import trio

from gateway.app import create_app
from gateway.config_files.loading import from_mapping
from gateway.processes.binding import bind
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from tests.support.asgi_app import eventually
from tests.support.features import rows_of
from tests.support.harness import Listening, Wire, post
from tests.support.raw_call import END, SSE, chunks
from tests.support.signed_tokens import mint, signing_key

EVENTS = 240
"""The events of a stream. The tests count the last half of them, in rounds of ``ROUND``."""

ROUND = 20

SPARE = 1.1
"""The factor by which the calls may exceed their budget."""

Steps: TypeAlias = Sequence[Mapping[str, Any]]
ON_REQUESTS: Steps = ({"use": "pii"}, {"use": "secrets"})
ON_RESPONSES: Steps = (
    {"use": "pii", "at": ["response"], "action": "refuse"},
    {"use": "secrets", "at": ["response"]},
    {"use": "regex", "with": {"patterns": {"project": "project-[a-z]+"}}},
    {"use": "tools", "with": {"deny": ["rm"]}},
)

ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip


def delta(**members: Any) -> bytes:
    choice = {"index": 0, "delta": members, "finish_reason": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return chunks(b"data: " + json.dumps(head).encode() + b"\n\n")


class Count(trio.abc.Instrument):
    """The number of function calls, in Python and C, in the thread that creates it, and of turns of its loop. Resuming
    a coroutine counts as a call of each function on its stack."""

    def __init__(self) -> None:
        self.rounds: list[tuple[int, int]] = []
        self.calls = self.turns = 0

    def start(self) -> None:
        self.calls = self.turns = 0
        if not self.rounds:
            gc.collect()
        gc.disable()  # garbage of other tests in this process is not part of the request
        trio.lowlevel.add_instrument(self)
        sys.setprofile(self._profile)

    def stop(self) -> None:
        sys.setprofile(None)
        trio.lowlevel.remove_instrument(self)
        gc.enable()
        self.rounds.append((self.calls, self.turns))

    def before_io_wait(self, timeout: float) -> None:
        self.turns += 1

    def _profile(self, frame: object, what: str, argument: object) -> None:
        if what in ("call", "c_call"):
            self.calls += 1


@attrs.frozen
class Cost:
    calls: float
    turns: float


class Provider:
    """A chat provider that sends each event on demand, so that the gateway never reads two together."""

    def __init__(self) -> None:
        self.listening = Listening()
        self.go_on = threading.Semaphore(0)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError, AssertionError), self.listening.accept() as wire:  # until the test has ended
            while True:
                if json.loads(wire.read_request()).get("stream"):
                    self._stream(wire)
                else:
                    body = json.dumps(ANSWER).encode()
                    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    wire.send(head % len(body) + body)

    def _stream(self, wire: Wire) -> None:
        wire.send(SSE + delta(role="assistant", content=""))
        for _ in range(EVENTS):
            wire.send(delta(content="word "))
            self.go_on.acquire()
        wire.send(
            chunks(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n') + END
        )


class Client(Wire):
    """A connection to the gateway that takes what it has read."""

    def post(self, path: str, body: dict[str, Any], key: str = "") -> None:
        self.send(post(path, body, {"authorization": f"Bearer {key}"} if key else {}))

    def until(self, mark: bytes) -> bytes:
        """Take all bytes up to and including ``mark``."""
        taken, _, self.received = self.read_until(mark).partition(mark)
        return taken + mark


def body(path: str, stream: bool) -> dict[str, Any]:
    asked: dict[str, Any] = {"model": "mistral/m", "stream": stream}
    if path == "/v1/responses":
        return {**asked, "input": "Hi", "store": False}
    return {**asked, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.listening.sock.close()


@contextlib.asynccontextmanager
async def run_gateway(provider: Provider, steps: Steps = (), **more: Any) -> AsyncIterator[tuple[int, Lifecycle]]:
    """Run a gateway in this process with ``provider``, ``steps`` and ``more`` root keys. Yield its port and its
    lifecycle."""
    entry = {"model": "mistral/m", "access_key": "k", "base_url": provider.listening.url}
    settings: dict[str, Any] = {
        "version": "v0.3.0",
        "model_providers": [entry],
        "state_storage": {"type": "none"},
        **({"steps": [*steps]} if steps else {}),
        **more,
    }
    state, listener = Lifecycle(), bind("127.0.0.1", 0)
    app = create_app(from_mapping(settings), state)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(app, [listener], state=state, signals=False))
        yield listener.getsockname()[1], state
        state.stop()


async def measure(provider: Provider, talk: Any, steps: Steps = (), **more: Any) -> Cost:
    """Return the cost of ``talk(port, start, stop)``, which runs on a thread, between its calls of the last two.

    This is the cheapest of several rounds: on a busy machine the same bytes may arrive in more turns of the loop, and
    each turn costs a few calls."""
    count = Count()

    def start() -> None:
        trio.from_thread.run_sync(count.start)

    def stop() -> None:
        trio.from_thread.run_sync(count.stop)

    async with run_gateway(provider, steps, **more) as (port, _):
        times = await trio.to_thread.run_sync(talk, port, start, stop)
    calls, turns = min(count.rounds)
    return Cost(calls / times, turns / times)


def within(cost: Cost, calls: float, turns: float) -> None:
    assert cost.calls <= calls * SPARE, f"{cost.calls:.0f} calls, and the budget is {calls}"
    assert cost.turns <= turns * 1.5, f"{cost.turns:.2f} turns of the loop, and the budget is {turns}"


CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "steps", "calls"),
    [
        (CHAT, (), 124),
        ("/v1/messages", (), 133),
        ("/v1/responses", (), 134),
        *rows_of(
            "steps",
            (CHAT, ON_REQUESTS, 124),
            (CHAT, ({"use": "pii", "at": ["response"], "action": "mask"},), 177),
            (CHAT, ({"use": "pii", "at": ["response"], "action": "refuse"},), 176),
            (CHAT, ({"use": "pii", "at": ["response"], "action": "report"},), 172),
            (CHAT, ON_RESPONSES, 176),
            ("/v1/messages", ON_RESPONSES, 179),
            ("/v1/responses", ON_RESPONSES, 184),
        ),
    ],
)
async def test_an_event_of_a_slow_stream(provider, path, steps, calls):
    def talk(port: int, start: Any, stop: Any) -> int:
        client = Client.connect(port)
        client.post(path, body(path, stream=True))
        for number in range(EVENTS):
            if number >= EVENTS // 2 and number % ROUND == 0:
                start()
            client.until(b"word ")
            provider.go_on.release()
            if number >= EVENTS // 2 and number % ROUND == ROUND - 1:
                stop()
        client.sock.close()
        return ROUND

    within(await measure(provider, talk, steps), calls, 1)


@pytest.mark.parametrize(
    ("more", "calls"),
    [
        ({}, 1165),
        ({"cors": ["https://app.example"]}, 1170),
        *rows_of(
            "steps",
            ({"steps": ON_REQUESTS}, 1375),
            ({"steps": [{"use": "pii", "at": ["response"], "action": "mask"}]}, 1360),
            ({"steps": [{"use": "pii", "at": ["response"], "action": "report"}]}, 1355),
        ),
    ],
)
async def test_a_small_request(provider, more, calls):
    within(await measure(provider, small_requests(), **more), calls, 3.1)


def small_requests(key: str = "") -> Any:
    """Return a talk of small requests: the first 20 warm up, and four rounds of 10 are counted."""

    def talk(port: int, start: Any, stop: Any) -> int:
        client = Client.connect(port)
        for number in range(60):
            if number >= 20 and number % 10 == 0:
                start()
            client.post(CHAT, body(CHAT, stream=False), key)
            client.until(b'"total_tokens": 5}}')
            if number >= 20 and number % 10 == 9:
                stop()
        client.sock.close()
        return 10

    return talk


KEY = "key-of-ann-0123456789"
LIMITS = {"ratelimits": {"requests": "100k/m", "concurrent": 9}, "limits": {"in_flight": 9}}


@pytest.mark.parametrize(("caller", "calls"), [("key", 1565), *rows_of("people", ("person", 1750))])
async def test_a_small_request_of_a_client_with_limits(provider, tmp_path, caller, calls):
    """The gateway verifies a person's token once. Later requests cost a digest, and a few lookups for its rights."""
    more: dict[str, Any] = {"client_keys": [{"name": "ann", "key": KEY, **LIMITS}]}
    if caller == "person":
        (tmp_path / "keys.json").write_text(json.dumps({"keys": [signing_key().jwk()]}))
        rule = {"when": {"sub": "ann"}, **LIMITS}
        place = {"issuer": "https://id.example", "jwks": {"file": str(tmp_path / "keys.json")}}
        issuer = {"name": "idp", "audience": ["trigate"], "admit": [rule], **place}
        more = {"issuers": [issuer]}
    key = KEY if caller == "key" else mint({"iss": "https://id.example", "aud": "trigate", "sub": "ann"})
    within(await measure(provider, small_requests(key), **more), calls, 3.1)


@pytest.mark.parametrize("stream", [True, False])
async def test_connections_leave_no_reference_cycles(provider, stream):
    """Otherwise, the garbage collector has to search all open objects for them, and every stream waits for it."""
    path = "/v1/chat/completions"
    provider.go_on.release(10**6)

    def talk(port: int) -> None:
        client = Client.connect(port)
        client.post(path, body(path, stream))
        client.until(b"[DONE]" if stream else b'"total_tokens": 5}}')
        client.sock.close()

    async with run_gateway(provider) as (port, state):
        gc.disable()
        try:
            for number in range(30):
                if number == 10:
                    gc.collect()
                await trio.to_thread.run_sync(talk, port)
                await eventually(lambda: not state.connections)
            assert gc.collect() < 20 * 3
        finally:
            gc.enable()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_a_stream_does_not_keep_its_request_in_memory(provider, path):
    """A conversation may have megabytes, and an answer takes minutes. The gateway does not need both at that time."""
    size = 2**20
    request = body(path, stream=True)
    turns = [{"role": role, "content": "x" * (size // 8)} for role in ("user", "assistant") * 4]
    request["input" if path == "/v1/responses" else "messages"] = [*turns, {"role": "user", "content": "Hi"}]

    def begin(port: int, request: dict[str, Any]) -> Client:
        client = Client.connect(port)
        client.post(path, request)
        client.until(b"word ")
        return client

    async with run_gateway(provider) as (port, state):
        provider.go_on.release(EVENTS)
        first = await trio.to_thread.run_sync(begin, port, request)  # this imports modules and fills caches
        await trio.to_thread.run_sync(first.until, b"\r\n0\r\n\r\n")
        first.sock.close()
        await eventually(lambda: not state.connections)
        tracemalloc.start()
        try:
            client = await trio.to_thread.run_sync(begin, port, request)
            await eventually(lambda: gc.collect() >= 0 and tracemalloc.get_traced_memory()[0] < size / 2)
        finally:
            tracemalloc.stop()
        client.sock.close()
        await eventually(lambda: not state.connections)
