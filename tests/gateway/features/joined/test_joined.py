"""Requests that a client repeats after it has disconnected: the provider gets one request, which is billed once."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio

from gateway.features.joined import kept_answers
from tests.support import websocket_client, word_steps
from tests.support.asgi_app import eventually
from tests.support.bare_provider import listening
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.in_process import InProcess, gateway
from tests.support.settled_lines import SettledLines
from tests.support.step_gateway import SIGNING_KEY
from tests.support.stepped_streams import EVENTS, WORDS, SteppedClient, SteppedProvider, all_of, chunk
from tests.support.wire_clients import ALL, text_of

KEYS = [{"name": name, "key": f"key-of-client-{name}"} for name in ("a", "b")]
A, B = ({"authorization": f"Bearer {one['key']}"} for one in KEYS)
USAGE = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
USAGE += b'"usage":{"prompt_tokens":7,"completion_tokens":4,"total_tokens":11}}\n\n'
ENDING = (EVENTS[-1].replace(b"data: [DONE]\n\n", b""), USAGE + b"data: [DONE]\n\n")
STREAM = (*EVENTS[:-1], *ENDING)
PIECES = (*STREAM[:-1], STREAM[-1][:40], STREAM[-1][40:])


@attrs.frozen
class Stage:
    provider: SteppedProvider
    gate: InProcess
    lines: SettledLines
    nursery: trio.Nursery
    content: dict[str, Any]

    def ask(self, headers: dict[str, str] = A, **options: Any) -> SteppedClient:
        return SteppedClient(self.nursery, self.gate.url, **{"model": "m", **options}, **headers)

    async def leave(self, client: SteppedClient) -> None:
        client.leave()
        await client.over.wait()

    async def ask_and_leave(self, *pieces: bytes, until: str = "", **options: Any) -> None:
        """Ask, and leave when the provider has sent ``pieces`` and the client has received ``until``."""
        client = self.ask(**options)
        await eventually(lambda: self.provider.calls == 1)
        self.provider.send(*pieces)
        await client.has(until)
        await self.leave(client)
        await self.has_kept(1)

    async def has_kept(self, number: int) -> None:
        """Wait until the gateway keeps ``number`` answers."""
        opened: Any = self.gate.service.opened.features["joined"]
        await eventually(lambda: len(opened.cache.flights) == number)


@contextlib.asynccontextmanager
async def open_stage(join: str = "60s", **more: Any) -> AsyncIterator[Stage]:
    provider = SteppedProvider()
    async with listening(provider.serve) as url, trio.open_nursery() as nursery:
        entry = {"model": "openai/m", "name": "m", "access_key": "k", "base_url": f"{url}/v1", "speaks": ["chat"]}
        entry |= {"price": {"input": 1_000_000, "output": 2_000_000}}
        content = {"version": "v0.4.0", "model_providers": [entry], "client_keys": KEYS, "repeats": {"join": join}}
        async with gateway(content | more) as gate:
            yield Stage(provider, gate, SettledLines(gate), nursery, content | more)
            nursery.cancel_scope.cancel()


def joined_line(lines: list[Any]) -> list[tuple[Any, ...]]:
    return [(one["ended"], one.get("cache"), one.get("cost_usd")) for one in lines]


@pytest.mark.parametrize("again", ["stream", "whole"])
@pytest.mark.parametrize("first", ["stream", "whole"])
async def test_a_repeated_request_joins_the_answer_that_its_client_has_left(first, again):
    """tale-project/tale#3396, openai/codex#41340: the client may leave at any moment of the answer."""
    for step in range(len(STREAM) + 1):
        async with open_stage() as stage:
            await stage.ask_and_leave(
                *STREAM[: min(step, len(STREAM) - 1)],
                until=WORDS[step - 2] if 1 < step <= len(WORDS) + 1 and first == "stream" else "",
                stream=first == "stream",
            )
            if step == len(STREAM):  # it ends while no client is connected
                stage.provider.send(STREAM[-1])
                assert joined_line(await stage.lines.next()) == [("client_disconnected", None, 15.0)]
            repeated = stage.ask(stream=again == "stream")
            if step < len(STREAM):
                stage.provider.send(*STREAM[step:])
            await all_of([repeated])
            assert (repeated.status, repeated.headers["x-trigate-cache"]) == (200, "joined"), step
            if again == "stream":
                assert all(word in repeated.text for word in WORDS), step
                assert repeated.text.endswith("data: [DONE]\n\n"), step
            else:
                assert json.loads(repeated.text)["choices"][0]["message"]["content"] == "".join(WORDS)
            lines = joined_line(await stage.lines.next(1 if step == len(STREAM) else 2))
            assert ("complete", "joined", 0) in [(*one[:2], one[2] or 0) for one in lines], step
            assert (stage.provider.calls, stage.provider.closed) == (1, 0), step
            await stage.has_kept(0)


@needs_feature("steps")
@pytest.mark.parametrize("ends", [True, False])
async def test_an_answer_that_steps_check_is_kept_past_its_last_event(ends, monkeypatch):
    """The end of its body may arrive later, but it has to arrive."""
    monkeypatch.setattr(kept_answers, "END_GRACE", 60.0 if ends else 0.01)
    steps = [{"use": "tests.support.word_steps:words", "name": "words", "action": "mask", "restore": True}]
    async with open_stage(steps=steps, signing_key=SIGNING_KEY) as stage:
        stage.provider.may_end = trio.Event()
        await stage.ask_and_leave(text="About falcon-1")
        stage.provider.send(*STREAM)
        if ends:
            await eventually(lambda: kept_flight(stage).is_at_end)
            stage.provider.may_end.set()
            repeated = stage.ask(text="About falcon-1")
            await all_of([repeated])
            assert (repeated.headers["x-trigate-cache"], stage.provider.calls) == ("joined", 1)
        await stage.has_kept(0)
        await eventually(lambda: stage.provider.closed == (not ends))


@needs_feature("steps")
@pytest.mark.parametrize("first", ["stream", "whole"])
async def test_a_step_that_checks_during_the_work_continues_with_the_answer(first, monkeypatch):
    """When the check ended with the client, the answer failed because it was unchecked."""
    released = trio.Event()
    monkeypatch.setattr(word_steps, "holding", [released])
    steps = [{"use": "tests.support.word_steps:held_words", "name": "held", "at": ["during"]}]
    async with open_stage(steps=steps, signing_key=SIGNING_KEY) as stage:
        await stage.ask_and_leave(*STREAM[:2], stream=first == "stream")
        repeated = stage.ask()
        await eventually(lambda: kept_flight(stage).followers == 1)
        released.set()
        stage.provider.send(*STREAM[2:])
        await all_of([repeated])
        assert (repeated.headers["x-trigate-cache"], stage.provider.calls) == ("joined", 1)
        assert repeated.text.endswith("data: [DONE]\n\n")
        lines = await stage.lines.next(2)
        assert {(one["ended"], one.get("error")) for one in lines} == {
            ("client_disconnected", None), ("complete", None),
        }  # fmt: skip
        assert [one for line in lines for one in line.get("tried", ())] == []


def kept_flight(stage: Stage) -> Any:
    opened: Any = stage.gate.service.opened.features["joined"]
    return next(iter(opened.cache.flights.values()))


@each_row("form", ["stream", "whole"])
@each_row("api", ALL)
async def test_clients_of_every_api_join_their_answers(api, form):
    """Most clients use another API than the provider, and repeated requests may want the other form. The first client
    leaves before the first byte, in the middle, or in the last event."""
    for step in (0, 3, len(PIECES) - 1):
        async with open_stage() as stage:
            await stage.ask_and_leave(
                *PIECES[:step],
                until=WORDS[1].strip() if step and form == "stream" else "",
                api=api,
                stream=form == "stream",
            )
            second, third = stage.ask(api=api), stage.ask(api=api, stream=False)
            if step and form == "stream":
                await second.has(WORDS[1].strip())
            stage.provider.send(*PIECES[step:])
            await all_of([second, third])
            texts = [text_of(api, bytes(one.body), stream=one is second) for one in (second, third)]
            assert texts == ["".join(WORDS)] * 2, step
            assert {one.headers["x-trigate-cache"] for one in (second, third)} == {"joined"}
            assert sorted(one.get("cost_usd") or 0 for one in await stage.lines.next(3)) == [0, 0, 15.0]
            assert stage.provider.calls == 1


@needs_feature("responses_websocket")
async def test_a_websocket_joins_the_answer_of_one_that_has_ended():
    """openai/codex#41340: the first websocket has ended, so it does not count as open."""
    async with open_stage(limits={"in_flight": 1, "per_client": {"websockets": 1}}) as stage:
        port = int(stage.gate.url.rpartition(":")[2])

        def receive(until: str) -> websocket_client.Client:
            client = websocket_client.Client.connect(port, A)
            client.create("m")
            client.until(lambda frame: until in json.dumps(frame))
            return client

        stage.provider.send(*STREAM[:3])
        (await trio.to_thread.run_sync(receive, WORDS[1])).wire.close()
        await stage.has_kept(1)
        stage.provider.send(*STREAM[3:])
        (await trio.to_thread.run_sync(receive, "response.completed")).wire.close()
        assert stage.provider.calls == 1


async def test_a_kept_answer_counts_for_the_budget_of_its_client():
    """The client has received nothing when it leaves, but its next request would."""
    keys = [KEYS[0] | {"budgets": ["1000 usd/day"]}]
    async with open_stage(client_keys=keys, charge_undelivered=False) as stage:
        await stage.ask_and_leave()
        stage.provider.send(*STREAM)
        assert joined_line(await stage.lines.next()) == [("client_disconnected", None, 15.0)]
        repeated = stage.ask(stream=False)
        await all_of([repeated])
        assert repeated.headers["x-trigate-budget-left"] == "usd/day=985"


async def test_four_clients_leave_and_the_fifth_one_pays_nothing():
    async with open_stage() as stage:
        for number in range(4):
            await stage.ask_and_leave(STREAM[number], until=WORDS[number - 1] if number else "")
        last = stage.ask()
        stage.provider.send(*STREAM[4:])
        await all_of([last])
        assert all(word in last.text for word in WORDS)
        lines = await stage.lines.next(5)
        assert sorted(one.get("cost_usd") or 0 for one in lines) == [0, 0, 0, 0, 15.0]
        assert [one["ended"] for one in lines].count("client_disconnected") == 4
        assert stage.provider.calls == 1


@pytest.mark.parametrize("first", ["stream", "whole"])
@pytest.mark.parametrize("begun", [False, True])
@each_row(
    "limited",
    [
        {"limits": {"in_flight": 1}},
        {"limits": {"per_client": {"in_flight": 1, "connections": 1}}},
        {"ratelimits": {"concurrent": 1}},
        {"client_keys": [KEYS[0] | {"ratelimits": {"concurrent": 1}}]},
        {"client_keys": [KEYS[0] | {"budgets": ["300 usd/day"]}]},
    ],
)
async def test_a_client_that_has_left_does_not_block_its_next_request(limited, begun, first):
    """A request that joins an answer uses one of its client's places, like any other request."""
    async with open_stage(**limited) as stage:
        await stage.ask_and_leave(*STREAM[: 2 if begun else 0], stream=first == "stream")
        again = stage.ask()
        if begun and first == "stream":
            await again.has(WORDS[0])
        stage.provider.send(*STREAM[2 if begun else 0 :])
        await all_of([again])
        assert (again.status, again.headers.get("x-trigate-cache")) == (200, "joined"), again.text
        assert stage.provider.calls == 1


@pytest.mark.parametrize("other", ["key", "text", "present"])
async def test_other_requests_join_nothing(other):
    """An answer belongs to its key. Clients that are present sample their own answers."""
    async with open_stage() as stage:
        client = stage.ask()
        await eventually(lambda: stage.provider.calls == 1)
        stage.provider.send(*STREAM[:2])
        await client.has(WORDS[0])
        if other != "present":
            await stage.leave(client)
            await stage.has_kept(1)
        second = stage.ask(B if other == "key" else A, text="Hello" if other == "text" else "Hi")
        await eventually(lambda: stage.provider.calls == 2)
        await stage.leave(second)
        await stage.leave(client)


async def test_a_client_that_reads_no_cache_has_no_kept_answer():
    async with open_stage() as stage:
        client = stage.ask(A | {"cache-control": "no-cache"})
        await eventually(lambda: stage.provider.calls == 1)
        await stage.leave(client)
        await eventually(lambda: stage.provider.closed == 1)


async def test_an_answer_without_a_repeated_request_ends_after_the_time():
    async with open_stage(join="100ms") as stage:
        client = stage.ask()
        await eventually(lambda: stage.provider.calls == 1)
        stage.provider.send(*STREAM[:2])
        await client.has(WORDS[0])
        await stage.leave(client)
        await eventually(lambda: stage.provider.closed == 1)
        (line,) = await stage.lines.next()
        assert line["ended"] == "client_disconnected"
        await stage.has_kept(0)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_failure_without_a_client_is_not_repeated(begun):
    """No client waits for a fallback, so the next request starts again."""
    async with open_stage() as stage:
        await stage.ask_and_leave(*STREAM[: 2 if begun else 0], until=WORDS[0] if begun else "")
        stage.provider.cut()
        await stage.has_kept(0)
        again = stage.ask()
        await eventually(lambda: stage.provider.calls == 2)
        stage.provider.send(*STREAM)
        await all_of([again])
        assert again.status == 200
        assert "x-trigate-cache" not in again.headers


@pytest.mark.parametrize("begun", [False, True])
async def test_a_request_that_has_joined_an_answer_gets_its_failure(begun):
    """The client sees an answer that has begun break off. If it has not begun, the gateway makes another attempt."""
    async with open_stage() as stage:
        await stage.ask_and_leave(*STREAM[: 2 if begun else 0])
        again = stage.ask()
        if begun:
            await again.has(WORDS[0])
        else:
            await eventually(lambda: kept_flight(stage).followers == 1)
        stage.provider.cut()
        if not begun:
            await eventually(lambda: stage.provider.calls == 2)
            stage.provider.send(*STREAM)
        await all_of([again])
        assert ('"error"' in again.text, "[DONE]" in again.text) == (begun, not begun)
        await stage.has_kept(0)


async def test_a_whole_answer_whose_joined_stream_fails_gets_another_attempt():
    """The client has not received any of it yet."""
    async with open_stage() as stage:
        await stage.ask_and_leave(*STREAM[:2], until=WORDS[0])
        again = stage.ask(stream=False)
        await eventually(lambda: kept_flight(stage).followers == 1)
        stage.provider.cut()
        await eventually(lambda: stage.provider.calls == 2)
        stage.provider.send(*STREAM)
        await all_of([again])
        assert json.loads(again.text)["choices"][0]["message"]["content"] == "".join(WORDS)
        assert "x-trigate-cache" not in again.headers
        left, answered = await stage.lines.next(2)
        assert (left["ended"], answered["ended"]) == ("client_disconnected", "complete")
        tried = [(one["cause"], one["reason"]) for one in answered["tried"]]
        assert tried == [("first", "connection"), ("retry", "ok")]
        assert (answered["attempts"], answered["cost_usd"]) == (1, 15.0)


@each_row(("limit", "most"), [(1024, 32), (40, 32), (20, 20)])
async def test_the_number_of_kept_answers_is_limited(limit, most):
    """Each client has its own limit, and ``limits.in_flight`` limits all clients together."""
    async with open_stage(limits={"in_flight": 100}) as stage:
        stage.gate.service.opened.features["joined"].kept.most = limit
        clients = [stage.ask(text=f"question {number}") for number in range(34)]
        await eventually(lambda: stage.provider.calls == 34)
        for client in clients:
            await stage.leave(client)
        await eventually(lambda: stage.provider.closed == 34 - most)
        await stage.has_kept(most)


async def test_an_answer_that_is_too_long_to_be_joined_ends():
    async with open_stage(limits={"answer": "64KiB"}) as stage:
        await stage.ask_and_leave(*STREAM[:2], until=WORDS[0])
        stage.provider.send(*[chunk(delta={"content": "x" * 9999})] * 9)
        await eventually(lambda: stage.provider.closed == 1)
        await stage.has_kept(0)


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_reload_keeps_the_answers(keeps):
    """If the new configuration has no ``repeats``, requests join no answer."""
    async with open_stage() as stage:
        await stage.ask_and_leave(*STREAM[:2], until=WORDS[0])
        stage.gate.reload(stage.content if keeps else stage.content | {"repeats": None})
        again = stage.ask()
        await (again.has(WORDS[0]) if keeps else eventually(lambda: stage.provider.calls == 2))
        assert stage.provider.calls == 1 + (not keeps)
        if keeps:
            stage.provider.send(*STREAM[2:])
            await all_of([again])
            assert "[DONE]" in again.text
        else:
            await eventually(lambda: stage.provider.closed == 1)


async def test_the_drain_waits_for_no_client_that_has_left():
    async with open_stage() as stage:
        await stage.ask_and_leave()
        stage.gate.service.lifecycle.stop()
        await eventually(lambda: stage.provider.closed == 1)


async def test_a_name_with_a_cache_joins_too():
    aliases = {"cached": {"target": "m", "cache": {"ttl": "1h"}}}
    async with open_stage(model_aliases=aliases) as stage:
        client = stage.ask(model="cached")
        await eventually(lambda: stage.provider.calls == 1)
        await stage.leave(client)
        again = stage.ask(model="cached")
        stage.provider.send(*STREAM)
        await all_of([again])
        assert (again.status, again.headers["x-trigate-cache"]) == (200, "joined")
        assert stage.provider.calls == 1


@each_row("form", ["stream", "whole"])
@each_row("api", ALL)
async def test_a_complete_answer_is_not_kept(api, form):
    """A client that has received its answer wants another one."""
    async with open_stage() as stage:
        for number in (1, 2):
            stage.provider.send(*STREAM)
            client = stage.ask(api=api, stream=form == "stream")
            await all_of([client])
            assert client.status == 200
            assert "x-trigate-cache" not in client.headers
            assert stage.provider.calls == number
        await stage.has_kept(0)
