"""A refusal while the provider works ends the exchange in every state: it closes all connections, and nothing is sent
any more."""

import http.client
import itertools
import json
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature, rows_of
from tests.support.harness import PATIENCE, Gateway, Wire, eventually, exchanges, provider
from tests.support.step_gateway import bearer, client_keys, own_steps, post_as, step_gateway
from tests.support.step_providers import BASES, VENDORS
from tests.support.upstreams import Script, render
from tests.support.wire_clients import ALL, body_of, path_of, text_of, usage_of

CODE: Final = """
from pathlib import Path
import trio
from trigate.steps import Finding

FOLDER = Path(__file__).parent

async def waiting(check):
    text = check.passages[0].text
    (FOLDER / f"{text}.called").touch()
    while not (FOLDER / text).exists():
        await trio.sleep(0.005)
    return [Finding("word", check.passages[0], 0, len(text))]

def save(records):
    with (FOLDER / "records").open("a") as file:
        file.writelines(f"{one.request_id} {one.request}\\n" for one in records)
"""
STEPS: Final[dict[str, dict[str, Any]]] = {
    "refuse": {},
    "stop": {"refusal": {"as": "stop", "message": "Not here."}},
    "report": {"action": "report"},
}
DURING: Final = {"use": "./steps.py:waiting", "at": ["during"], "deadline": "60s"}
ALIASES: Final[dict[str, dict[str, Any]]] = {
    "single": {"retries": {"attempts": 1}},
    "waits": {"retries": {"attempts": 3, "wait": "60s"}},
    "fallback": {"retries": {"wait": "1ms"}},
    "hedge": {"hedge": {"after": "10ms", "at_most": "100%"}},
    **members_of("answer_cache", cached={"cache": {"ttl": "1h"}}),
}
PLACES: Final = {"single": "a", "waits": "c", **dict(rows_of("answer_cache", ("cached", "a")))}
"""The target of each alias with only one. No other alias uses the target that is busy for 30 seconds, or its model."""
FAILURE: Final = (
    b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n%b\r\n{}"
)
BEGUN: Final = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: 9999\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(by_hand, folder):
    entries = [
        provider(
            f"{vendor}/{'busy' if place == 'c' else api}",
            by_hand.url + BASES.get(api, "/v1"),
            [api],
            name=f"{place}-{api}",
        )
        for api, vendor in VENDORS.items()
        for place in "abc"
    ]
    aliases = {
        f"{name}-{api}": {"targets": [f"{place}-{api}" for place in PLACES.get(name, "ab")], **settings}
        for name, settings in ALIASES.items()
        for api in VENDORS
    }
    steps = own_steps({name: {**DURING, **more} for name, more in STEPS.items()})
    steps.append({"use": "./steps.py:save", "at": ["finished"], "with": {"content": True}})
    more = {"client_keys": client_keys(STEPS), "steps": steps, "model_aliases": aliases, "retries": {"budget": "100%"}}
    with step_gateway(folder, entries, CODE, circuit={"failures": 10**6, "error_rate": "100%"}, **more) as served:
        yield served


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture(scope="module")
def pending_checks(gateway, folder) -> Iterator[dict[str, Path]]:
    """Collect refused requests with their verdicts, and check their records after all tests: each takes a second."""
    verdicts: dict[str, Path] = {}
    yield verdicts
    for request_id, verdict in verdicts.items():
        check_record(folder, request_id, verdict)


_numbers: Final = itertools.count()


@attrs.frozen
class Call:
    """A request whose step waits for ``refuse``."""

    reply: Future[Any]
    called: Path
    verdict: Path

    def refuse(self) -> tuple[int, Any, bytes]:
        """Let the step return a finding after its call, and return the client's response."""
        eventually(self.called.exists, what="the call of the step")
        self.verdict.touch()
        return self.reply.result()  # type: ignore[no-any-return]


def begin(
    gateway: Gateway, pool: ThreadPoolExecutor, folder: Path, client: str, path: str, make: Callable[[str], Any]
) -> Call:
    """Send a request that ``make(prompt)`` returns."""
    prompt = f"prompt-{next(_numbers)}"
    reply = pool.submit(post_as, gateway, client, path, make(prompt))
    return Call(reply, folder / f"{prompt}.called", folder / prompt)


def record_of(folder: Path, request_id: str) -> str:
    """Wait for the record of a request, and return its line."""
    file = folder / "records"

    def lines() -> list[str]:
        return [one for one in file.read_text().splitlines() if one.startswith(request_id)] if file.exists() else []

    return eventually(lines, what="the record")[0]


def check_record(folder: Path, request_id: str, verdict: Path) -> None:
    """Check that the record of a refused request has a mask in place of its prompt."""
    line = record_of(folder, request_id)
    assert "[WORD_" in line
    assert verdict.name not in line


def request(api: str, model: str, *, stream: bool = False) -> Callable[[str], Any]:
    more = {"store": False} if api in ("responses", "interactions") else {}
    return lambda prompt: {**body_of(api, model, prompt, stream=stream), **more}


def is_silent(wire: Wire, stream: bool) -> None:
    """Send nothing."""


def begins(wire: Wire, stream: bool) -> None:
    wire.send(BEGUN % (b"text/event-stream" if stream else b"application/json") + (b": ping\n\n" if stream else b"{"))


def fails(wire: Wire, stream: bool) -> None:
    fail(wire, b"")


def is_busy(wire: Wire, stream: bool) -> None:
    fail(wire, b"retry-after: 30\r\n")


def fail(wire: Wire, headers: bytes) -> None:
    """Send a failure, and wait until the gateway has read it: a refusal that is first would leave no failure."""
    wire.send(FAILURE % headers)
    wire.closed_after(0)


STATES: Final[dict[str, tuple[str, tuple[Callable[[Wire, bool], None], ...]]]] = {
    "before headers": ("single", (is_silent,)),
    "after headers": ("single", (begins,)),
    "waiting for a retry": ("waits", (is_busy,)),
    "after a fallback": ("fallback", (fails, is_silent)),
    "hedged": ("hedge", (is_silent, is_silent)),
    **members_of("answer_cache", **{"before a cached response": ("cached", (is_silent,))}),
    "failed": ("single", (fails,)),
}
"""By state: the alias, and what each connection does before the verdict."""


FORMS: Final = tuple(itertools.product(("refuse", "stop"), (False, True)))


def refusals() -> Iterator[tuple[str, str, bool, str, str]]:
    """Yield each form of a refusal with each state, with each API and, by turns, in both lanes."""
    for (turn, state), (place, form) in itertools.product(enumerate(STATES), enumerate(FORMS)):
        yield state, *form, ALL[(turn + place) % len(ALL)], ("byte", "hub")[(turn + place // 2) % 2]


@pytest.mark.parametrize(("state", "client", "stream", "api", "lane"), list(refusals()))
def test_a_refusal_ends_the_exchange_in_every_state(
    gateway, by_hand, pool, folder, pending_checks, client, state, api, lane, stream
):
    alias, acts = STATES[state]
    model = f"{alias}-{api if lane == 'byte' else 'messages' if api == 'chat' else 'chat'}"
    call = begin(gateway, pool, folder, client, path_of(api, model, stream=stream), request(api, model, stream=stream))
    wires = []
    for act in acts:
        wires.append(wire := by_hand.accept())
        wire.read_request()
        act(wire, stream)
    status, headers, body = call.refuse()
    for act, wire in zip(acts, wires, strict=True):
        if act in (is_silent, begins):
            wire.closed_after(0)
        wire.close()
    assert headers["x-trigate-refused-by"] == client, body
    assert headers["x-trigate-attempts"] == str(len(acts))
    if client == "stop":
        assert (status, text_of(api, body, stream=stream)) == (200, "Not here."), body
    else:
        assert (status, headers["x-should-retry"]) == (400, "false"), body
        assert b"content_filter" in body
    (line,) = eventually(lambda: exchanges(gateway.log, headers["x-request-id"]), what="the log line")
    assert line["ended"] == "refused"
    failed = sum(act in (fails, is_busy) for act in acts)
    pending_checks[headers["x-request-id"]] = call.verdict
    assert [one["reason"] for one in line["tried"]] == ["overloaded"] * failed + ["refused"] * (len(acts) - failed)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ALL)
def test_a_stop_after_the_providers_response_has_its_usage(gateway, by_hand, pool, folder, pending_checks, api, stream):
    """https://github.com/BerriAI/litellm/issues/36880"""
    sent, model = request(api, "single-chat", stream=stream), "single-chat"
    call = begin(gateway, pool, folder, "stop", path_of(api, model, stream=stream), sent)
    with by_hand.accept() as wire:
        wire.read_request()
        answer = render(Script(text="it is 7"), "chat", {"model": "m", "stream": stream})
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n\r\n"
        wire.send(head % (b"text/event-stream" if stream else b"application/json") + b"".join(answer.pieces))
        wire.sock.shutdown(socket.SHUT_WR)
        if not stream:
            wire.closed_after(0)
        status, headers, body = call.refuse()
    assert (status, text_of(api, body, stream=stream)) == (200, "Not here."), body
    if not stream:  # the response has been read to its end
        assert usage_of(api, body, stream=False) == (11, 7)
    pending_checks[headers.get("x-request-id") or headers["request-id"]] = call.verdict


RELAYED: Final[dict[str, Callable[[str], Any]]] = {
    "/v1/embeddings": lambda prompt: {"model": "a-chat", "input": prompt},
    "/v1/audio/speech": lambda prompt: {"model": "a-chat", "input": prompt, "voice": "alloy"},
    "/v1/completions": lambda prompt: {"model": "a-chat", "prompt": prompt, "stream": True},
    "/v1/responses/compact": lambda prompt: {"model": "a-responses", "input": prompt},
    "/v1/messages/count_tokens": lambda prompt: {
        "model": "a-messages", "messages": [{"role": "user", "content": prompt}]
    },
}  # fmt: skip


@needs_feature("other_endpoints")
@each_row("path", RELAYED)
def test_a_refusal_ends_a_request_to_another_endpoint(gateway, by_hand, pool, folder, path):
    for client in ("refuse", "stop"):  # there, a stop is an error, too
        call = begin(gateway, pool, folder, client, path, RELAYED[path])
        with by_hand.accept() as wire:
            wire.read_request()
            status, headers, body = call.refuse()
            wire.closed_after(0)
        assert (status, headers["x-trigate-refused-by"]) == (400, client), body
        assert b"content_filter" in body


def test_a_client_that_leaves_before_the_verdict_is_no_refusal(gateway, by_hand, folder):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    body = json.dumps(body_of("chat", "single-chat", "prompt-left", stream=True))
    connection.request("POST", "/v1/chat/completions", body, {**bearer("refuse"), "content-type": "application/json"})
    with by_hand.accept() as wire:
        wire.read_request()
        eventually((folder / "prompt-left.called").exists, what="the call of the step")
        connection.close()
        wire.closed_after(0)
    (line,) = eventually(
        lambda: [one for one in exchanges(gateway.log) if one["ended"] == "client_disconnected"], what="the log line"
    )
    assert [one["reason"] for one in line["tried"]] == ["client_left"]
    assert record_of(folder, line["request_id"]).endswith(" None")  # no step has checked it


def test_a_report_during_the_providers_work_delays_nothing(gateway, by_hand, pool, folder):
    call = begin(gateway, pool, folder, "report", path_of("chat", "a-chat", stream=False), request("chat", "a-chat"))
    with by_hand.accept() as wire:
        wire.read_request()
        (body,) = render(Script(text="fine"), "chat", {"model": "m"}).pieces
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n" + body)
        wire.sock.shutdown(socket.SHUT_WR)
        status, headers, body = call.reply.result(PATIENCE)
    assert (status, text_of("chat", body, stream=False)) == (200, "fine")
    call.refuse()
    (line,) = eventually(lambda: exchanges(gateway.log, headers["x-request-id"]), what="the log line")
    assert [(step["at"], step["outcome"]) for step in line["steps"]] == [("during", "reported")]


def test_a_response_that_waits_for_the_verdict_is_in_memory_once(gateway, by_hand, pool, folder):
    """Only that size counts in ``limits.bodies``."""
    size = 8 * 2**20
    body = size * b" " + b"".join(render(Script(text="fine"), "chat", {"model": "m"}).pieces)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    path = path_of("chat", "single-chat", stream=False)
    call = begin(gateway, pool, folder, "refuse", path, request("chat", "single-chat"))
    with by_hand.accept() as wire:
        wire.read_request()
        tracemalloc.start()
        try:
            wire.send(head + body)
            eventually(lambda: tracemalloc.get_traced_memory()[1] > 1.9 * size, what="the pieces and the whole body")
            eventually(lambda: tracemalloc.get_traced_memory()[0] < 1.5 * size, what="the whole body alone")
        finally:
            tracemalloc.stop()
        assert call.refuse()[0] == 400
