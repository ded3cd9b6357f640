"""Whole answers out of the cache, over real sockets: who is given them, in which form, and what it costs."""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs
import pytest

from gateway.ledger.record import Record
from tests.support.asgi_app import eventually
from tests.support.in_process import CountingProvider, InProcess, gateway, providers

ALICE, BEN, CARL = (f"tg-{name}-a-key-of-more-than-enough-characters" for name in ("alice", "ben", "carl"))
APIS = ("chat", "messages", "responses")
KINDS = {"chat": "openai", "messages": "anthropic", "responses": "openai"}


class Lines:
    """The lines of the ledger, in order: an ``Observer``."""

    def __init__(self, gate: InProcess) -> None:
        self._found: list[Mapping[str, Any]] = []
        gate.service.ledger.observers.append(self)

    def opened(self, record: Record) -> None:
        return

    def settled(self, record: Record, line: Mapping[str, Any]) -> None:
        self._found.append(line)

    async def next(self) -> Mapping[str, Any]:
        await eventually(lambda: self._found)
        return self._found.pop(0)


def entry(provider: CountingProvider, name: str = "m", api: str = "chat", **more: Any) -> dict[str, Any]:
    made = {"model": f"{KINDS[api]}/{name}", "name": name, "access_key": "k", "base_url": f"{provider.url}/v1"}
    return {**made, "speaks": [api], **more}


def settings(*entries: dict[str, Any], use: Any = None, **more: Any) -> dict[str, Any]:
    """Each model by its name, and behind ``cached-`` with the cache."""
    use = use or {"ttl": "1h"}
    aliases = {f"cached-{one['name']}": {"target": one["name"], "cache": use} for one in entries}
    return {"version": "v0.4.0", "model_providers": list(entries), "model_aliases": aliases, **more}


@attrs.frozen
class Stage:
    provider: CountingProvider
    gate: InProcess
    lines: Lines

    async def ask(self, model: str = "cached-m", api: str = "chat", **members: Any) -> Any:
        """The answer, and by ``asked`` how often the provider was asked for it."""
        return await self.gate.ask(model, api, **members)


@contextlib.asynccontextmanager
async def staged(*, use: Any = None, entries: tuple[dict[str, Any], ...] = ({},), **more: Any) -> AsyncIterator[Stage]:
    async with providers(1) as (provider,):
        made = [entry(provider, **one) for one in entries]
        async with gateway(settings(*made, use=use, **more)) as gate:
            yield Stage(provider, gate, Lines(gate))


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def test_the_same_request_is_answered_from_the_cache_byte_for_byte():
    """To each API's clients from each API's providers, ids and times included (theopenco/llmgateway#3899)."""
    async with staged(entries=tuple({"name": api, "api": api} for api in APIS)) as stage:
        for number, case in enumerate(itertools.product(APIS, APIS, (False, True))):
            client, api, stream = case
            more = {"temperature": number / 100, **({"store": False} if client == "responses" else {})}
            first = await stage.ask(f"cached-{api}", client, stream=stream, **more)
            assert stage.provider.take_count() == 1, case
            again = await stage.ask(f"cached-{api}", client, stream=stream, **more)
            assert (first.status_code, stage.provider.take_count()) == (200, 0), (case, first.text)
            assert again.content == first.content, case
            assert (first.headers["x-trigate-cache"], again.headers["x-trigate-cache"]) == ("miss", "hit"), case
            assert (again.headers["cache-control"], again.headers["age"]) == ("no-store", "0"), case
            assert again.headers["x-trigate-target"] == first.headers["x-trigate-target"], case


async def test_a_hit_takes_no_tokens_and_says_what_it_saved():
    """BerriAI/litellm#39057, theopenco/llmgateway#2518"""
    async with staged(entries=({"price": {"input": 1, "output": 10}},)) as stage:
        for stream in (False, True):
            first = await stage.ask(stream=stream, seed=int(stream))
            paid = await stage.lines.next()
            answer = await stage.ask(stream=stream, seed=int(stream))
            found = await stage.lines.next()
            assert (paid["cache"], paid["cost_usd"]) == ("miss", pytest.approx(81e-6))
            assert (found["cache"], found["cost_usd"], found["attempts"]) == ("hit", 0, 0)
            assert (found["input_tokens"], found["output_tokens"]) == (0, 0)
            assert (found["saved_input_tokens"], found["saved_output_tokens"]) == (11, 7)
            assert found["saved_usd"] == paid["cost_usd"]
            assert answer.content == first.content, "with the usage that the provider has stated"


async def test_the_answer_comes_in_the_form_that_was_asked_for_whichever_was_kept():
    """Portkey-AI/gateway#19, theopenco/llmgateway#529, gumieri/nenya#18"""
    async with staged(entries=tuple({"name": api, "api": api} for api in APIS)) as stage:
        for number, (client, api, streamed) in enumerate(itertools.product(APIS, APIS, (False, True))):
            more = {"temperature": number / 100, **({"store": False} if client == "responses" else {})}
            await stage.ask(f"cached-{api}", client, stream=streamed, **more)
            stage.provider.take_count()
            other = await stage.ask(f"cached-{api}", client, stream=not streamed, **more)
            case = (client, api, streamed, other.text)
            assert (other.headers["x-trigate-cache"], stage.provider.take_count()) == ("hit", 0), case
            kind = "application/json" if streamed else "text/event-stream"
            assert other.headers["content-type"].startswith(kind), case
            assert "Hello." in _text(client, other), case


def _text(client: str, answer: Any) -> str:
    if answer.headers["content-type"].startswith("application/json"):
        said = answer.json()
        found = {"chat": "choices", "messages": "content", "responses": "output"}[client]
        return json.dumps(said[found])
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    deltas = (json.loads(line) for line in lines)
    if client == "chat":
        assert answer.text.rstrip().endswith("data: [DONE]")
        return "".join(choice["delta"].get("content") or "" for one in deltas for choice in one.get("choices", ()))
    if client == "messages":
        assert "message_stop" in answer.text
        return "".join(one["delta"].get("text", "") for one in deltas if one["type"] == "content_block_delta")
    assert "response.completed" in answer.text
    return "".join(one["delta"] for one in deltas if one["type"] == "response.output_text.delta")
