"""Two concurrent attempts on real sockets: the effects of the one that loses."""

import contextlib
import gc
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

from gateway.allowances.levels import read_levels
from gateway.request.parse import Incoming
from gateway.stores.memory import MemoryStore
from tests.support.asgi_app import eventually
from tests.support.bare_provider import listening, read_request
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.live_objects import live_objects
from tests.support.played_provider import entry, played_provider
from tests.support.settled import lines
from tests.support.upstreams import Script, render
from tests.support.wire_clients import ALL, body_of, path_of, text_of

APIS = ("chat", "messages", "responses")


class Puppet:
    """A provider that sends the data that the test passes to ``say``, on the connections that it has accepted."""

    def __init__(self) -> None:
        self.url = ""
        self.lines: list[trio.SocketStream] = []
        self.closed = 0
        self.hangs_up = False

    async def serve(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await read_request(stream):
                self.lines.append(stream)
                if self.hangs_up:
                    self.hangs_up = False
                    await stream.aclose()
        self.closed += 1

    def say(self, data: bytes) -> None:
        """Send ``data`` without a checkpoint, so that no other task runs meanwhile."""
        self.lines[-1].socket._sock.setblocking(False)  # type: ignore[attr-defined]
        assert self.lines[-1].socket._sock.send(data) == len(data)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def puppets() -> AsyncIterator[tuple[Puppet, Puppet]]:
    a, b = Puppet(), Puppet()
    async with listening(a.serve) as a.url, listening(b.serve) as b.url:
        yield a, b


def config(a: Puppet, b: Puppet, hedge_after: str = "10ms", **more: Any) -> dict[str, Any]:
    entries = [
        {
            "model": f"vllm/{name}",
            "name": name,
            "base_url": f"{one.url}/v1",
            "access_key": "k",
            "speaks": list(APIS),
            "state": "ours",
        }
        for name, one in (("a", a), ("b", b))
    ]
    route = {"targets": ["a", "b"], "hedge": {"after": hedge_after, "at_most": "100%"}}
    return {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": route}, **more}


def answer(api: str, name: str, *, stream: bool) -> bytes:
    raw = render(Script(text=f"This is {name}."), api, {"stream": stream, "model": name})
    kind = b"text/event-stream" if stream else b"application/json"
    body = b"".join(raw.pieces)
    head = b"HTTP/1.1 200 OK\r\nx-request-id: of-%b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (name.encode(), kind, len(body)) + body


def nothing_is_open(running: InProcess, names: str = "ab") -> bool:
    service = running.service
    targets = [service.router.resolve(name, "chat") for name in names]
    return not any(service.balancer.loads.counts.count(one.identity.place) for one in targets)


@contextlib.asynccontextmanager
async def racing(api: str, *, stream: bool, **more: Any) -> AsyncIterator[tuple[InProcess, Puppet, Puppet, list[Any]]]:
    """Send a request that reaches both providers, and yield them with the list of its responses."""
    async with (
        puppets() as (a, b),
        gateway(config(a, b), store=MemoryStore(60, 2**20)) as running,
        trio.open_nursery() as nursery,
    ):
        answers: list[httpx2.Response] = []

        async def ask() -> None:
            answers.append(await running.ask("r", api, stream=stream, **{"store": False} | more))

        nursery.start_soon(ask)
        await eventually(lambda: a.lines and b.lines)
        yield running, a, b, answers
        nursery.cancel_scope.cancel()


@each_row("stream", [False, True], ids=["whole", "streamed"])
@each_row("api", APIS)
async def test_only_one_of_two_simultaneous_answers_is_sent(api, stream):
    async with racing(api, stream=stream) as (running, a, b, answers):
        a.say(answer(api, "a", stream=stream))
        b.say(answer(api, "b", stream=stream))
        await eventually(lambda: answers)
        reply = answers[0]
        assert reply.status_code == 200, reply.text
        won = reply.headers["x-trigate-target"].partition("/")[2]
        assert f"of-{won}" == reply.headers["x-trigate-upstream-request-id"]
        assert sorted(reply.headers["x-trigate-tried"].split(", ")) == sorted(
            [f"{won}=ok", f"{'ab'.replace(won, '')}=hedge_lost"]
        )
        said = reply.text if stream else json.dumps(reply.json())
        assert f"{won}." in said
        assert f"{'ab'.replace(won, '')}." not in said
        await eventually(lambda: nothing_is_open(running))
        assert running.service.health.outage(running.service.router.resolve("a", "chat"), None) is None


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_losing_hedges_headers_do_not_reach_the_client(stream):
    async with racing("chat", stream=stream) as (_, a, b, answers):
        whole = answer("chat", "b", stream=stream)
        head, _, body = whole.partition(b"\r\n\r\n")
        b.say(head + b"\r\n\r\n")
        lost = answer("chat", "a", stream=stream).partition(b"\r\n\r\n")[0]
        await trio.sleep(0.02)
        a.say(lost + b"\r\n\r\n")
        await trio.sleep(0.02)
        b.say(body)
        await eventually(lambda: answers)
        assert answers[0].headers["x-trigate-tried"].startswith(("a=hedge_lost", "b=ok"))
        assert answers[0].headers["x-trigate-upstream-request-id"] == "of-b"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_sent_one_of_two_simultaneous_responses_is_stored(stream):
    async with racing("responses", stream=stream, store=True) as (running, a, b, answers):
        a.say(answer("responses", "a", stream=stream))
        b.say(answer("responses", "b", stream=stream))
        await eventually(lambda: answers)
        won = answers[0].headers["x-trigate-target"].partition("/")[2]
        lines = [line for line in answers[0].text.splitlines() if "response.completed" in line]
        given = json.loads(lines[-1].removeprefix("data: "))["response"] if stream else answers[0].json()
        kept = (await running.get(f"/v1/responses/{given['id']}")).json()
        assert kept["output"] == given["output"]
        assert kept["output"][0]["content"][0]["text"] == f"This is {won}."


# Memory


@pytest.mark.parametrize("model", ["r", "a"], ids=["raced", "alone"])
async def test_a_stream_that_never_begins_uses_no_memory(model):
    """Comments without an end are no answer; an upstream that sends nothing else costs no more than one that waits."""
    async with puppets() as (a, b):
        content = config(a, b)
        for entry in content["model_providers"]:
            entry["speaks"] = ["chat"]
        async with gateway(content) as running, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: running.ask(model, "messages", stream=True))
            await eventually(lambda: a.lines and (b.lines or model == "a"))
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
            await a.lines[-1].send_all(head + b": beginning\n\n")
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(64):
                    with contextlib.suppress(trio.BrokenResourceError):
                        await a.lines[-1].send_all(64 * (b": " + 1020 * b"." + b"\n\n"))
                held = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            nursery.cancel_scope.cancel()
        assert held < 2.5 * 2**20


async def begin(running: InProcess, started: list[int]) -> None:
    """Request a stream with a large body, and read the head of the response."""
    body = {"model": "r", "stream": True, "messages": [{"role": "user", "content": "Hi"}], "user": 300_000 * "x"}
    client = httpx2.AsyncClient(base_url=running.url, timeout=PATIENCE, verify=False, trust_env=False)
    async with client, client.stream("POST", "/v1/chat/completions", json=body) as reply:
        started.append(reply.status_code)
        await trio.sleep_forever()


@pytest.mark.parametrize("fails", [False, True], ids=["cancelled", "failed"])
async def test_the_request_of_the_losing_hedge_is_released(fails):
    """The winner may stream for an hour, and the request bodies for it and for the loser may be megabytes."""

    def held_bodies() -> int:
        gc.collect()
        return sum(len(one.body) > 100_000 for one in live_objects(Incoming))

    async with puppets() as (a, b), gateway(config(a, b)) as running, trio.open_nursery() as nursery:
        started: list[int] = []
        nursery.start_soon(begin, running, started)
        await eventually(lambda: a.lines and b.lines)
        assert held_bodies()
        if fails:
            a.say(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")
            await eventually(lambda: nothing_is_open(running, "a"))
        whole = answer("chat", "b", stream=True)
        b.say(whole[: whole.index(b"\n\n", whole.index(b'"This')) + 2])
        await eventually(lambda: a.closed or fails)
        await eventually(lambda: nothing_is_open(running, "a"))
        await eventually(lambda: started)
        await eventually(lambda: not held_bodies())  # its tasks may take a turn more to end
        nursery.cancel_scope.cancel()


async def test_a_failed_hedge_is_not_recorded_as_lost():
    async with racing("chat", stream=False) as (running, a, b, answers):
        a.say(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")
        await eventually(lambda: nothing_is_open(running, "a"))
        b.say(answer("chat", "b", stream=False))
        await eventually(lambda: answers)
        assert answers[0].headers["x-trigate-tried"] == "a=server_error, b=ok"


# The number of requests


@pytest.mark.parametrize("attempts", [2, 3])
async def test_a_hedge_is_one_of_the_attempts_and_so_is_a_second_try_on_a_new_connection(attempts):
    """Retries, hedges and a request that met a dead connection are counted together (envoyproxy/envoy#32580). The
    second try is not made if it would take the last attempt from the next target."""
    more = {"hedge_after": "200ms", "retries": {"attempts": attempts}}  # the hedge is after the second try
    async with puppets() as (a, b), gateway(config(a, b, **more)) as running, trio.open_nursery() as nursery:
        answers: list[httpx2.Response] = []

        async def ask(model: str) -> None:
            answers.append(await running.ask(model))

        nursery.start_soon(ask, "a")
        await eventually(lambda: a.lines)
        a.say(answer("chat", "a", stream=False))
        await eventually(lambda: answers)
        a.hangs_up = True
        nursery.start_soon(ask, "r")
        await eventually(lambda: len(a.lines) == attempts and b.lines)
        b.say(answer("chat", "b", stream=False))
        await eventually(lambda: len(answers) == 2)
        assert answers[1].headers["x-trigate-attempts"] == str(attempts)
        tried = {2: "a=connection, b=ok", 3: "a=connection, a=hedge_lost, b=ok"}
        assert answers[1].headers["x-trigate-tried"] == tried[attempts]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_request_of_a_loser_without_a_head_is_in_sums_and_budgets(stream):
    """A provider bills a call that it was working on when another answered (bircex/llmr#48)."""
    async with puppets() as (a, b):
        given = config(a, b, client_keys=[{"name": "alice", "key": "k" * 40, "budgets": ["9 usd/day"]}])
        for entry in given["model_providers"]:
            entry |= {"price": {"input": 1_000_000, "output": 0}, "budgets": ["90 usd/day", "9000 tokens/day"]}
        given["client_keys"][0]["budgets"] = ["9000 usd/day"]
        async with gateway(given) as running, trio.open_nursery() as nursery:
            headers = [("authorization", "Bearer " + "k" * 40)]
            nursery.start_soon(partial(running.ask, "r", "chat", stream=stream, headers=headers))
            await eventually(lambda: a.lines and b.lines)
            b.say(answer("chat", "b", stream=stream))
            await eventually(lambda: not running.service.ledger.open_records)
            found = {
                (one.holder.name, one.text): one.used
                for one in await read_levels(
                    running.service.allowances.list_all(), running.service.allowances.counters, time.time()
                )
            }
    lost = found["a", "9000 tokens/day"]
    assert lost > 5, "its request, by its length"
    assert found["a", "90 usd/day"] == lost * 10**9
    assert found["alice", "9000 usd/day"] == lost * 10**9 + found["b", "90 usd/day"]


@each_row("api", APIS)
@each_row("stream", [False, True], ids=["whole", "streamed"])
@each_row("begun", ["head", "part"])
async def test_a_loser_that_has_begun_is_in_sums_and_budgets_once(api, stream, begun):
    """A head or a part of an answer without text does not win, but its provider bills it (bircex/llmr#48)."""
    async with puppets() as (a, b):
        given = config(a, b, client_keys=[{"name": "alice", "key": "k" * 40, "budgets": ["9000 usd/day"]}])
        for entry in given["model_providers"]:
            entry |= {"price": {"input": 1_000_000, "output": 0}, "budgets": ["9000 usd/day"]}
        async with gateway(given) as running, trio.open_nursery() as nursery:
            with lines(running) as booked:
                headers = [("authorization", "Bearer " + "k" * 40)]
                nursery.start_soon(partial(running.ask, "r", api, stream=stream, headers=headers, store=False))
                await eventually(lambda: a.lines and b.lines)
                said = answer(api, "a", stream=stream)
                head = said.index(b"\r\n\r\n") + 4
                a.say(said[:head] if begun == "head" else said[: said.index(b"\n", head) if stream else head + 20])
                await trio.testing.wait_all_tasks_blocked(0.05)
                b.say(answer(api, "b", stream=stream))
                await eventually(lambda: not running.service.ledger.open_records)
            used = {
                one.holder.name: one.used
                for one in await read_levels(
                    running.service.allowances.list_all(), running.service.allowances.counters, time.time()
                )
            }
    (line,) = booked
    assert used["a"] > 5 * 10**9, "its request, by its length"
    assert used["alice"] == used["a"] + used["b"] == round(line["cost_usd"] * 10**9)
    assert line["cost_grade"] == "estimated"


# Every client API on a hedged route with every provider API, whole and streamed: only the log shows the hedge


NEVER_OUT = {"circuit": {"failures": 1000, "error_rate": "100%"}}
COURSES = {
    "in time": {},
    "first wins": {"first": "late", "second": "silent"},
    "second wins": {"first": "silent"},
    "first fails": {"first": "busy"},
}


@each_row("course", COURSES)
@each_row("provider_api", ALL)
async def test_a_hedged_answer_is_that_of_a_lone_target(provider_api, course):
    acts, wins = COURSES[course], "second" if course in ("second wins", "first fails") else "first"
    sent = {"in time": 1, "first fails": 2}.get(course, 2)
    async with played_provider() as provider:
        entries = [entry(provider, provider_api, name) for name in ("first", "second")]
        after = "20ms" if "wins" in course else "10s"
        route = {"targets": ["first", "second"], "hedge": {"after": after, "at_most": "100%"}}
        content = {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": route}, **NEVER_OUT}
        async with (
            gateway(content) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=PATIENCE, verify=False, trust_env=False) as client,
        ):
            turn = ALL.index(provider_api) + [*COURSES].index(course)
            for place, api in enumerate(ALL):
                stream = (turn + place) % 2 == 0
                with case(f"{api} {'streamed' if stream else 'whole'}"):
                    provider.reset(**acts)
                    running.clock.now += 60  # each case has its own error rate
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_release, provider)
                        body = body_of(api, "r", stream=stream)
                        if api in ("responses", "interactions"):
                            body["store"] = False
                        reply = await client.post(path_of(api, "r", stream=stream), json=body)
                        nursery.cancel_scope.cancel()
                    assert reply.status_code == 200, reply.text
                    assert text_of(api, reply.content, stream=stream) == provider.text(wins)
                    assert reply.headers["x-trigate-target"].rpartition("/")[2] == wins
                    assert provider.asked.total() == sent


async def _release(provider):
    """Release the late answer once both targets have received the request."""
    await eventually(lambda: provider.asked.total() >= 2)
    provider.released.set()
