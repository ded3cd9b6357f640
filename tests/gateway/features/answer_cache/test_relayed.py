"""Answers of the relayed endpoints from the cache, in every client's format."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
import trio

from tests.support.asgi_app import eventually
from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    endpoint_provider,
    events,
    json_answer,
    settings,
)
from tests.support.features import needs_feature
from tests.support.flights import cache_of
from tests.support.in_process import InProcess, gateway

ROUTES: Mapping[str, Mapping[str, Any]] = {
    "/v1/embeddings": {"input": ["a", "b"]},
    "/v1/completions": {"prompt": "a", "max_tokens": 4},
    "/v1/moderations": {"input": "a"},
    "/v1/rerank": {"query": "a", "documents": ["b", "c"]},
}
USAGE = {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}


def answer(asked: ReceivedRequest) -> ScriptedAnswer:
    """Return an answer with a new id, so that a test can distinguish it from a cached one."""
    if asked.path == "/v1/embeddings":
        data = [{"object": "embedding", "index": i, "embedding": [i, 0.5]} for i, _ in enumerate(asked.json["input"])]
        return json_answer({"object": "list", "data": data, "model": "m", "usage": USAGE, "id": id(asked)})
    if asked.path == "/v1/completions":
        choice = {"index": 0, "text": "b", "finish_reason": asked.json.get("user", "stop"), "logprobs": None}
        whole = {"id": str(id(asked)), "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
        if asked.json.get("stream"):
            return events(b"data: " + json.dumps(whole).encode() + b"\n\n", b"data: [DONE]\n\n")
        return json_answer({**whole, "usage": USAGE})
    if asked.path == "/v1/moderations":
        return json_answer({"id": str(id(asked)), "model": "m", "results": [{"flagged": False}]})
    results = [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]
    return json_answer({"id": str(id(asked)), "results": results, "usage": {"total_tokens": 5}})


def cached_settings(url: str, use: Any = None, **more: Any) -> dict[str, Any]:
    entry = {
        "model": "custom/m", "name": "m", "access_key": "k", "base_url": f"{url}/v1", "provider_interface": "openai",
        "endpoints": {"rerank": {"path": "/rerank", "shape": "jina"}},
    }  # fmt: skip
    return {
        **settings(entry), "version": "v0.4.0",
        "model_aliases": {"cached": {"target": "m", "cache": use or {"ttl": "1h"}}}, **more,
    }  # fmt: skip


async def post(
    served: InProcess, path: str, body: Mapping[str, Any], headers: Sequence[tuple[str, str]] = ()
) -> httpx2.Response:
    return await served.post(path, json={"model": "cached", **body}, headers=list(headers))


@needs_feature("other_endpoints")
async def test_a_repeated_request_to_an_endpoint_gets_the_same_bytes():
    async with endpoint_provider(answer) as provider, gateway(cached_settings(provider.url)) as served:
        for path, body in ROUTES.items():
            first, again = [await post(served, path, body) for _ in range(2)]
            assert (first.status_code, len(provider.asked)) == (200, 1), (path, first.text)
            assert again.content == first.content, path
            assert (first.headers["x-trigate-cache"], again.headers["x-trigate-cache"]) == ("miss", "hit"), path
            assert (again.headers["age"], again.headers["cache-control"]) == ("0", "no-store"), path
            provider.asked.clear()


@needs_feature("other_endpoints")
async def test_embeddings_are_cached_as_whole_requests():
    """BerriAI/litellm#2990, #29284, run-llama/llama_index#19537: no answer combines cached and fresh embeddings."""
    async with endpoint_provider(answer) as provider, gateway(cached_settings(provider.url)) as served:
        for texts in (["a", "b"], ["b", "a"], ["a"], ["a", "b", "c"]):
            found = await post(served, "/v1/embeddings", {"input": texts})
            assert found.headers["x-trigate-cache"] == "miss", texts
        assert [asked.json["input"] for asked in provider.asked] == [["a", "b"], ["b", "a"], ["a"], ["a", "b", "c"]]
        for other in ({"dimensions": 2}, {"encoding_format": "base64"}):
            found = await post(served, "/v1/embeddings", {"input": ["a", "b"], **other})
            assert found.headers["x-trigate-cache"] == "miss", other


@needs_feature("other_endpoints")
async def test_streamed_and_complete_completions_are_stored_separately():
    async with endpoint_provider(answer) as provider, gateway(cached_settings(provider.url)) as served:
        for stream in (False, True, False, True):
            found = await post(served, "/v1/completions", {**ROUTES["/v1/completions"], "stream": stream})
            assert found.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
        assert len(provider.asked) == 2
        assert found.headers["x-trigate-cache"] == "hit"
        assert found.text.endswith("data: [DONE]\n\n")


@needs_feature("other_endpoints")
async def test_a_bad_answer_of_an_endpoint_is_not_stored():
    def bad(asked: ReceivedRequest) -> ScriptedAnswer:
        if asked.path == "/v1/moderations":
            return json_answer({"error": {"message": "no"}}, 500)
        return answer(asked)

    ended = {"content_filter": {}, "length": {"max_tokens": None}}  # ``user`` is the finish reason here
    async with (
        endpoint_provider(bad) as provider,
        gateway(cached_settings(provider.url, {"ttl": "1h", "strict": True})) as served,
    ):
        for reason, more in ended.items():
            for _ in range(2):
                await post(served, "/v1/completions", {"prompt": "a", "user": reason, "max_tokens": 4, **more})
            assert len(provider.asked) == 2, reason
            provider.asked.clear()
        for _ in range(2):
            assert (await post(served, "/v1/moderations", {"input": "a"})).status_code == 500
        assert len(provider.asked) == 2


@needs_feature("other_endpoints")
async def test_identical_endpoint_requests_make_one_call_even_if_a_client_leaves():
    free = trio.Event()

    async def waiting(asked: ReceivedRequest) -> ScriptedAnswer:
        await free.wait()
        return answer(asked)

    async with endpoint_provider(waiting) as provider, gateway(cached_settings(provider.url)) as served:
        found: list[httpx2.Response] = []
        flights = cache_of(served.service).flights

        async def ask() -> None:
            found.append(await post(served, "/v1/embeddings", ROUTES["/v1/embeddings"]))

        async def lead() -> None:
            with leaving:
                await ask()

        leaving = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lead)
            await eventually(lambda: provider.asked)
            for _ in range(20):
                nursery.start_soon(ask)
            await eventually(lambda: [one.followers for one in flights.values()] == [20])
            leaving.cancel()
            await trio.sleep(0.01)
            free.set()
        assert (len(provider.asked), provider.left) == (1, 0)
        assert {one.headers["x-trigate-cache"] for one in found} == {"hit"}
        assert len({one.content for one in found}) == 1
        assert len(found) == 20
