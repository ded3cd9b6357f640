"""Slots of ``limits.upstream_connections``: no client takes all, and the client with the fewest gets a free one."""

import math
from typing import Any

import attrs
import httpx2
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.shares import Shares, UpstreamShare
from gateway.config_files.loading import from_mapping
from gateway.upstream.slots import NOBODY, ConcurrencyLimit, Slot
from streams.errors import GatewayError
from tests.support.asgi_app import eventually
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, before, events, json_answer, settings
from tests.support.features import needs_feature
from tests.support.harness import config, provider
from tests.support.in_process import InProcess, gateway
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer, websocket_server

ALICE, BOB, CAROL = ("alice-key-0123456789abcdef", "bob-key-0123456789abcdef", "carol-key-0123456789abcdef")
KEYS = [{"name": name, "key": key} for name, key in (("alice", ALICE), ("bob", BOB), ("carol", CAROL))]


@attrs.frozen
class HalfEach:
    """The share of a client in four slots."""

    half: float = 2

    def most(self, holder: str) -> float:
        return self.half

    def refusal(self, holder: str) -> GatewayError:
        return GatewayError("rate_limited", f"{holder} has its share")


def limit(most: int = 4, half: float = 2) -> ConcurrencyLimit:
    return ConcurrencyLimit(most, 5.0, HalfEach(half))


async def test_a_client_waits_for_a_slot_of_its_own_when_it_has_its_share(autojump_clock):
    slots = limit()
    held = [await slots.take("alice") for _ in range(2)]
    with pytest.raises(GatewayError) as refused:
        await slots.take("alice")
    assert refused.value.info.status == 429
    assert trio.current_time() == 5
    assert [(await slots.take("bob")).waited for _ in range(2)] == [False, False]
    with pytest.raises(GatewayError) as full:
        await slots.take("carol")
    assert full.value.info.status == 503
    held[0].free()
    assert not (await slots.take("carol")).waited


async def test_a_free_slot_goes_to_the_client_with_the_fewest(autojump_clock):
    slots, order = limit(2, math.inf), []
    held = [await slots.take("alice") for _ in range(2)]

    async def wait(holder: str) -> None:
        slot = await slots.take(holder)
        order.append(holder)
        await trio.testing.wait_all_tasks_blocked()
        slot.free()

    async with trio.open_nursery() as nursery:
        for holder in ("alice", "alice", "bob", "bob", "carol"):
            nursery.start_soon(wait, holder)
            await trio.testing.wait_all_tasks_blocked()
        held[0].free()
        await eventually(lambda: len(order) == 5)
    assert order[:2] == ["bob", "carol"]
    held[1].free()
    assert (slots.taken_slots, slots.waiting) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from(["take", "free", "leave"]), st.sampled_from(["a", "b", "c", NOBODY]))))
def test_no_slot_is_ever_lost(steps):
    async def run() -> None:
        slots, held = limit(), list[Slot]()
        waiting: list[tuple[str, trio.CancelScope]] = []

        async def take(holder: str, scope: trio.CancelScope) -> None:
            with scope:
                held.append(await slots.take(holder))
            waiting.remove((holder, scope))

        async with trio.open_nursery() as nursery:
            for step, holder in steps:
                if step == "take":
                    waiting.append((holder, scope := trio.CancelScope()))
                    nursery.start_soon(take, holder, scope)
                elif step == "free" and held:
                    held.pop(0).free()
                elif step == "leave" and waiting:
                    waiting[0][1].cancel()
                await trio.testing.wait_all_tasks_blocked()
                counts = [sum(one.holder == name for one in held) for name in "abc"]
                assert slots.taken_slots == len(held) <= 4
                assert max(counts) <= 2
                assert slots.waiting == len(waiting)
                able = [name for name, _ in waiting if name == NOBODY or counts["abc".index(name)] < 2]
                assert not able or slots.taken_slots == 4
            nursery.cancel_scope.cancel()
        for slot in held:
            slot.free()
        assert (slots.taken_slots, slots.waiting) == (0, 0)

    trio.run(run, clock=trio.testing.MockClock())


def body(**more: Any) -> dict[str, Any]:
    return {"model": "openai/m-1", "messages": [{"role": "user", "content": "hi"}], **more}


def client(served: InProcess, key: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=served.url, timeout=30, verify=False, trust_env=False, headers={"authorization": f"Bearer {key}"}
    )


async def test_another_key_is_served_while_one_has_its_maximum_of_slow_streams():
    """Ten slow streams of one key, and three requests of another."""
    first = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    whole = {"id": "x", "object": "chat.completion", "model": "m-1", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "b"}, "finish_reason": "stop"}]}  # fmt: skip
    slow = trio.Event()

    async def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        if not asked.json.get("stream"):
            return json_answer(whole)
        await slow.wait()
        return events(first, b"data: [DONE]\n\n")

    async with before(answer, "openai/m-1", client_keys=KEYS, limits={"upstream_connections": 10}) as (served, _):
        async with client(served, ALICE) as alice, client(served, BOB) as bob, trio.open_nursery() as nursery:
            statuses: list[int] = []

            async def stream() -> None:
                response = await alice.post("/v1/chat/completions", json=body(stream=True))
                statuses.append(response.status_code)

            for _ in range(10):
                nursery.start_soon(stream)
            await eventually(lambda: served.service.upstream.stats().queued == 5)
            for _ in range(3):
                assert (await bob.post("/v1/chat/completions", json=body())).status_code == 200
            slow.set()
        assert statuses == [200] * 10
        await eventually(lambda: served.service.upstream.stats().active == 0)


def test_the_refusal_names_the_share_and_blames_no_target():
    keys = [KEYS[0], {**KEYS[1], "limits": {"upstream_connections": 1}}]
    shares = Shares()
    entry = provider("openai/m-1", "http://127.0.0.1:1")
    share = UpstreamShare(
        from_mapping(config([entry], 1, client_keys=keys, limits={"upstream_connections": 3})), shares
    )
    assert (share.most("alice"), share.most("bob"), share.most("of-a-group")) == (2, 1, 2)
    failed = share.refusal("bob").info
    assert (failed.status, failed.reason, failed.headers) == (429, None, (("retry-after", "1"),))
    assert "the key 'bob' has reached its limit of 1 connections" in failed.message
    assert "limits.per_client.upstream_connections" in failed.message
    assert shares.refused["upstream_connections"] == 1


@needs_feature("realtime")
async def test_open_sessions_of_one_key_leave_connections_for_others():
    async def silent(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()

    async with websocket_server(silent) as server:
        entry = {"model": "openai/gpt-realtime", "name": "voice", "access_key": "k", "base_url": f"{server.url}/v1"}
        content = settings(entry, client_keys=KEYS, limits={"upstream_connections": 2})

        def key(text: str) -> tuple[tuple[str, str], ...]:
            return (("authorization", f"Bearer {text}"),)

        path = "/v1/realtime?model=voice"
        async with (
            gateway(content) as served,
            calling(served.url, path, key(ALICE)) as first,
            calling(served.url, path, key(BOB)) as second,
        ):
            assert (first.status, second.status) == (101, 101)


@pytest.mark.parametrize("stored", [False, True])
async def test_a_key_of_its_own_share_and_a_change_of_the_share(stored):
    """A thread prepares changed stored keys, but only the event loop may wake a waiting request."""
    keys = [{**KEYS[0], "limits": {"upstream_connections": 1}}, KEYS[1]]
    release = trio.Event()

    async def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        await release.wait()
        return json_answer({"error": {"message": "no"}}, 400)

    limits = {"upstream_connections": 4}
    async with (
        before(answer, "openai/m-1", client_keys=keys, limits=limits) as (served, asked),
        client(served, ALICE) as alice,
        trio.open_nursery() as nursery,
    ):

        async def post() -> None:
            await alice.post("/v1/chat/completions", json=body())

        nursery.start_soon(post)
        nursery.start_soon(post)
        await eventually(lambda: served.service.upstream.stats().queued == 1)
        entry = {"model": "openai/m-1", "access_key": "provider-key", "base_url": f"{asked.url}/v1"}
        larger = settings(entry, client_keys=KEYS, limits=limits)
        if stored:
            keys_of = from_mapping(larger).client_keys
            await served.served.change_clients(lambda config: attrs.evolve(config, client_keys=keys_of))
            assert served.served.current[0].client_keys == keys_of
        else:
            served.reload(larger)
        await eventually(lambda: served.service.upstream.stats().active == 2)
        release.set()
