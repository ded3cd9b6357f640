"""A request that becomes several at its provider: each of them counts, and a later target may cost more."""

import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from providers.endpoints.embeddings.calling import MAX_PIECES
from tests.support.asgi_app import eventually
from tests.support.endpoint_provider import (
    EndpointProvider,
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    json_answer,
    settings,
)
from tests.support.features import needs_feature
from tests.support.in_process import InProcess, gateway

KEY = "key-of-ann-0123456789-0123456789"
HEAD = {"authorization": f"Bearer {KEY}"}
PATH = "/v1/embeddings"
INPUTS = 10
"""Inputs that the provider accepts in one request."""


def answer(received: ReceivedRequest) -> ScriptedAnswer:
    data = [{"object": "embedding", "index": at, "embedding": [0.0]} for at in range(len(received.json["input"]))]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return json_answer({"object": "list", "data": data, "model": "m-1", "usage": usage})


@contextlib.asynccontextmanager
async def serving(entry: dict[str, Any] | None = None, **key: Any) -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    """Run a gateway for the client ann, in front of a provider that accepts few inputs in a request."""
    own = {"name": "mine", "embeddings": {"inputs": INPUTS, "base64": False}, **(entry or {})}
    async with before(answer, "trigate/m-1", own, client_keys=[{"name": "ann", "key": KEY, **key}]) as found:
        yield found


async def embed(served: InProcess, number: int) -> httpx2.Response:
    body = gzip.compress(json.dumps({"model": "mine", "input": ["x"] * number}).encode())
    return await served.post(PATH, content=body, headers={**HEAD, "content-encoding": "gzip"})


def used_amount(served: InProcess, measure: str, *, of_target: bool = False) -> int:
    allowances = served.service.allowances
    target = served.service.router.plan("mine", "chat").first
    found = allowances.of_target(target) if of_target else allowances.of_client("ann")
    (counter,) = (one.counter(allowances.now(), None) for one in found if one.measure == measure)
    assert counter is not None
    return allowances.counters.level(counter).used


@needs_feature("other_endpoints")
async def test_each_piece_counts_as_a_request_of_the_client_and_the_entry():
    entry = {"ratelimits": {"requests": "100/d"}}
    async with serving(entry, ratelimits={"requests": "100/d"}) as (served, provider):
        assert (await embed(served, 35)).status_code == 200
        assert len(provider.asked) == 4
        await eventually(lambda: used_amount(served, "requests") == 4)
        assert used_amount(served, "requests", of_target=True) == 4


@needs_feature("other_endpoints")
async def test_a_small_body_cannot_send_more_requests_than_its_limit():
    """A compressed list of short inputs is a few hundred bytes, and would be thousands of requests."""
    async with serving(ratelimits={"requests": "10/m"}) as (served, provider):
        assert (await embed(served, 99)).status_code == 200
        assert len(provider.asked) == 10
        refused = await embed(served, 99)
        assert (refused.status_code, refused.headers["x-trigate-limit"]) == (429, "client_keys.ann.requests")
        assert len(provider.asked) == 10


@needs_feature("other_endpoints")
async def test_pieces_before_a_rejected_one_are_charged():
    """A provider bills each request that it answers, here for one token."""
    numbers = iter(range(9))

    def fail_third(received: ReceivedRequest) -> ScriptedAnswer:
        return json_answer({"error": {"message": "no"}}, 500) if next(numbers) == 2 else answer(received)

    own = {"name": "mine", "embeddings": {"inputs": INPUTS, "base64": False}}
    keys = [{"name": "ann", "key": KEY, "budgets": ["1M tokens/day"]}]
    async with before(fail_third, "trigate/m-1", own, client_keys=keys) as (served, provider):
        body = {"model": "mine", "input": ["x" * 38] * (4 * INPUTS)}
        failed = await served.post(PATH, json=body, headers=HEAD)
        assert (failed.status_code, len(provider.asked)) == (500, 3)
        await eventually(lambda: used_amount(served, "tokens") > 0)
        assert used_amount(served, "tokens") == 2


@needs_feature("other_endpoints")
async def test_a_list_that_needs_too_many_requests_is_refused():
    async with serving() as (served, provider):
        refused = await embed(served, INPUTS * MAX_PIECES + 1)
        assert refused.status_code == 400
        assert f"more than {MAX_PIECES} requests" in refused.json()["error"]["message"]
        assert provider.asked == []


@needs_feature("other_endpoints")
async def test_members_that_each_piece_repeats_are_bounded():
    """A megabyte besides the inputs would become gigabytes."""
    async with serving() as (served, provider):
        body = {"model": "mine", "input": ["x"] * 2000, "user": "u" * 2**20}
        refused = await served.post(PATH, json=body, headers=HEAD)
        assert refused.status_code == 413, refused.text
        assert provider.asked == []


async def test_a_dearer_target_reserves_the_difference():
    """The reservation for a cheap first target is too small for its fallback."""

    def fail(received: ReceivedRequest) -> ScriptedAnswer:
        return json_answer({"error": {"message": "no"}}, 503)

    async with endpoint_provider(fail) as first, endpoint_provider(answer) as second:
        entries = [
            {"model": f"vllm/{name}", "name": name, "access_key": "k", "base_url": f"{one.url}/v1",
             "price": {"input": 0, "output": price}}
            for name, one, price in (("cheap", first, 1), ("dear", second, 10**6))
        ]  # fmt: skip
        more = {"model_aliases": {"r": {"targets": ["cheap", "dear"]}}, "reserve": "max"}
        keys = [{"name": "ann", "key": KEY, "budgets": ["1 usd/day"]}]
        async with gateway(settings(*entries, client_keys=keys, **more)) as served:
            body = {"model": "r", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000}
            refused = await served.post("/v1/chat/completions", json=body, headers=HEAD)
            assert (refused.status_code, "(tried: cheap: overloaded, dear: quota)" in refused.text) == (503, True)
            assert first.asked
            assert second.asked == []
