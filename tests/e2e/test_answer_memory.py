"""Responses that the gateway reads completely count in their client's share of memory (OWASP API4, LLM10)."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.bare_provider import head, listening, read_request
from tests.support.features import rows_of
from tests.support.in_process import InProcess, gateway

MIB = 2**20
LARGE = 16 * MIB
"""More than the sockets between provider and gateway hold."""

SHARE, TIMES = 4 * MIB, 3
BOB, MALLORY = "sk-gw-bob-0123456789", "sk-gw-mallory-0123456789"
HELLO = [{"role": "user", "content": "hi"}]
TEXT = "x" * LARGE


def _chat(content: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


RANKS = {"object": "list", "data": [{"index": 0, "relevance_score": 0.9, "document": TEXT}], "model": "m"}


@attrs.frozen
class Case:
    """A request whose response the gateway reads completely, and that response of its provider."""

    name: str
    path: str
    body: dict[str, Any]
    answer: dict[str, Any] = attrs.field(factory=lambda: _chat(TEXT))
    model: str = "openai/m"
    shown: int = LARGE
    """The least bytes of the client's response."""


CASES = (
    Case("unchanged", "/v1/chat/completions", {"messages": HELLO}),
    Case("translated", "/v1/messages", {"messages": HELLO, "max_tokens": 5}),
    Case("made a stream", "/v1/chat/completions", {"messages": HELLO, "stream": True}),
    *rows_of("other_endpoints", Case(
        "relayed", "/v1/rerank", {"query": "q", "documents": ["d"], "return_documents": True}, RANKS,
        model="voyage/m", shown=2,
    )),
)  # fmt: skip


class SlowProvider:
    """A provider that sends all but the last byte of a large response, and that byte after ``go``.

    ``sent`` counts the responses that the gateway has read up to that byte."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.body = json.dumps(answer).encode()
        self.sent = 0
        self.asked = 0
        self.go = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async with stream:
                while await read_request(stream):
                    self.asked += 1
                    length = ("content-length", str(len(self.body)))
                    await stream.send_all(head(200, ("content-type", "application/json"), length))
                    await stream.send_all(self.body[:-1])
                    self.sent += 1
                    await self.go.wait()
                    await stream.send_all(self.body[-1:])


@contextlib.asynccontextmanager
async def two_clients(case: Case) -> AsyncIterator[tuple[InProcess, SlowProvider]]:
    provider = SlowProvider(case.answer)
    async with listening(provider.serve) as url:
        entry: dict[str, Any] = {"model": case.model, "access_key": "k", "base_url": f"{url}/v1"}
        if case.model.startswith("openai/"):
            entry["speaks"] = ["chat"]
        keys = [{"name": "bob", "key": BOB}, {"name": "mallory", "key": MALLORY}]
        limits = {"bodies": f"{2 * SHARE}B"}
        content = {"version": "v0.3.0", "model_providers": [entry], "client_keys": keys, "limits": limits}
        async with gateway(content) as served:
            yield served, provider


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_whole_responses_of_a_client_wait_for_each_other_beyond_its_share(case):
    statuses: list[tuple[str, int]] = []

    async def ask(key: str) -> None:
        body = {"model": "m", **case.body}
        response = await served.post(case.path, json=body, headers={"authorization": f"Bearer {key}"})
        statuses.append((key, response.status_code if len(response.content) >= case.shown else 0))

    async with two_clients(case) as (served, provider):
        memory = served.service.admission.shares.bodies
        async with trio.open_nursery() as nursery:
            for _ in range(TIMES):
                nursery.start_soon(ask, MALLORY)
            await eventually(lambda: provider.asked == TIMES and provider.sent)
            nursery.start_soon(ask, BOB)
            await eventually(lambda: provider.asked > TIMES and provider.sent > 1)
            assert provider.sent == 2, "one response of each client was read, the others wait with their providers"
            assert LARGE <= memory.held["mallory"] <= 2 * LARGE + TIMES * SHARE
            provider.go.set()
        assert sorted(statuses) == [(BOB, 200), *[(MALLORY, 200)] * TIMES]
        assert (memory.total, memory.unlimited) == (0, {})
