"""Model lists of providers: the requests for them, their storage and display, and pages of each shape."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from gateway.config_files.loading import from_mapping
from gateway.features.model_lists.lists import FRESH, MAX_MODELS, RETRY_AFTER, ProviderLists, read_page
from gateway.upstream.client import Upstream
from tests.support.each_row import each_row
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, endpoint_provider, json_answer
from tests.support.harness import PATIENCE
from tests.support.in_process import SetClock, gateway


@contextlib.asynccontextmanager
async def listing(says: Callable[[str], Any]) -> AsyncIterator[Any]:
    """Run a provider that responds with ``says(path)``, but waits while its event ``free`` is not set."""

    async def answering(asked: ReceivedRequest) -> ScriptedAnswer:
        await provider.free.wait()
        status, value = provider.says(asked.path)
        return json_answer(value, status)

    async with endpoint_provider(answering) as provider:
        provider.says, provider.free = says, trio.Event()
        provider.free.set()
        yield provider


def model_list(*names: str) -> Callable[[str], Any]:
    return lambda path: (200, {"data": [{"id": name} for name in names]})


def config(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"version": "v0.4.0", "model_providers": list(entries)}


def ids(answer: Any) -> list[str]:
    return [row["id"] for row in answer.json()["data"]]


async def test_a_wildcard_lists_the_models_of_its_provider():
    async with listing(model_list("new-1", "new-2")) as place:
        entry = {"model": "vllm/*", "base_url": f"{place.url}/v1", "access_key": "sk-one"}
        async with gateway(config(entry, {"model": "openai/gpt-5", "name": "five"})) as running:
            assert ids(await running.get("/v1/models")) == ["vllm/new-1", "vllm/new-2", "five"]
            assert ids(await running.get("/v1/models")) == ["vllm/new-1", "vllm/new-2", "five"]
            (asked,) = place.asked
            assert (asked.path, asked.headers["authorization"]) == ("/v1/models", "Bearer sk-one")
            assert (await running.get("/v1/models/vllm/new-2")).status_code == 200


async def test_without_a_list_of_the_provider_the_models_of_the_catalogue_stay():
    async with listing(lambda path: (404, {})) as place:
        entry = {"model": "openai/*", "base_url": f"{place.url}/v1", "access_key": "k"}
        async with gateway(config(entry)) as running:
            first = ids(await running.get("/v1/models"))
            assert "openai/gpt-5" in first
            assert ids(await running.get("/v1/models")) == first
            assert len(place.asked) == 1, "it is not asked with every request"


async def test_a_silent_provider_delays_no_list_for_long():
    async with listing(model_list("late")) as place:
        place.free = trio.Event()
        entry = {"model": "openai/*", "base_url": f"{place.url}/v1", "access_key": "k"}
        async with gateway(config(entry)) as running:
            with trio.fail_after(PATIENCE):
                assert "openai/gpt-5" in ids(await running.get("/v1/models"))
                place.free.set()
                while ids(await running.get("/v1/models")) != ["openai/late"]:  # noqa: ASYNC110  # polled, with a deadline
                    await trio.sleep(0.01)


@contextlib.asynccontextmanager
async def running_lists(content: dict[str, Any]) -> AsyncIterator[tuple[ProviderLists, SetClock]]:
    clock = SetClock()
    lists = ProviderLists(clock)
    lists.follow(from_mapping(content), {})
    async with Upstream(trust_env=False) as upstream, trio.open_nursery() as nursery:
        nursery.start_soon(lists.run, upstream)
        with trio.fail_after(PATIENCE):
            yield lists, clock
        nursery.cancel_scope.cancel()


async def wait_for(lists: ProviderLists, name: str, names: tuple[str, ...]) -> None:
    while (await lists.names())[name] != names:  # noqa: ASYNC110  # polled, with the deadline of ``running_lists``
        await trio.sleep(0.01)


async def test_old_lists_are_requested_again_and_kept_without_a_response():
    async with listing(model_list("a")) as place:
        content = config({"model": "groq/*", "base_url": f"{place.url}/v1", "access_key": "k"})
        async with running_lists(content) as (lists, clock):
            assert await lists.names() == {"groq/*": ("a",)}
            place.says = model_list("a", "b")
            clock.now += FRESH - 1
            assert await lists.names() == {"groq/*": ("a",)}
            assert len(place.asked) == 1
            clock.now += 1
            await wait_for(lists, "groq/*", ("a", "b"))
            place.says = lambda path: (500, {})
            clock.now += FRESH
            while len(place.asked) < 3:
                assert (await lists.names())["groq/*"] == ("a", "b")
                await trio.sleep(0.01)
            place.says = model_list("c")
            clock.now += RETRY_AFTER
            await wait_for(lists, "groq/*", ("c",))
            lists.follow(from_mapping(content), {})
            assert (await lists.names())["groq/*"] == ("c",), "a reload keeps what it knows of a place that stays"
            assert len(place.asked) == 4


async def test_all_pages_are_read_with_the_entrys_own_sign_in():
    def says(path: str) -> Any:
        if "after_id=m-1" in path:
            return 200, {"data": [{"id": "m-2"}], "has_more": False, "last_id": "m-2"}
        return 200, {"data": [{"id": "m-1"}], "has_more": True, "last_id": "m-1"}

    async with listing(says) as place:
        entry = {"model": "anthropic/*", "base_url": f"{place.url}/v1", "access_key": "sk-ant", "headers": {"X-A": "b"}}
        async with running_lists(config(entry)) as (lists, _):
            assert await lists.names() == {"anthropic/*": ("m-1", "m-2")}
        assert [one.path for one in place.asked] == ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=m-1"]
        for one in place.asked:
            assert {"x-api-key": "sk-ant", "anthropic-version": "2023-06-01", "x-a": "b"}.items() <= one.headers.items()


async def test_a_list_without_an_end_is_cut():
    def says(path: str) -> Any:
        before = int(path.rpartition("after_id=")[2]) if "after_id" in path else 0
        rows = [{"id": f"m{number}"} for number in range(before, before + 900)]
        return 200, {"data": rows, "has_more": True, "last_id": str(before + 900)}

    async with listing(says) as place:
        content = config({"model": "openrouter/*", "base_url": f"{place.url}/v1", "access_key": "k"})
        async with running_lists(content) as (lists, _):
            assert len((await lists.names())["openrouter/*"]) == MAX_MODELS


async def test_entries_without_a_key_or_list_are_not_queried_for_models():
    async with listing(model_list("a")) as place:
        at = {"base_url": f"{place.url}/v1"}
        content = config(
            {"model": "openai/*", "passthrough_auth": True, **at},
            {"model": "groq/*", **at},
            {"model": "perplexity/*", "access_key": "k", **at},
            {"model": "mistral/mistral-large-latest", "access_key": "k", **at},
        )
        async with running_lists(content) as (lists, _):
            assert await lists.names() == {}
        assert place.asked == []


@each_row(
    ("body", "names", "more"),
    [
        ({"object": "list", "data": [{"id": "a", "object": "model", "created": 1}, {"id": "b"}]}, ("a", "b"), None),
        ({"data": [{"id": "a"}], "has_more": True, "last_id": "a"}, ("a",), ("after_id", "a")),
        ({"data": [{"id": "a"}], "has_more": False, "last_id": "a"}, ("a",), None),
        (
            {
                "models": [
                    {"name": "models/gemini-x", "supportedGenerationMethods": ["generateContent", "countTokens"]},
                    {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]},
                ],
                "nextPageToken": "t",
            },
            ("gemini-x",),
            ("pageToken", "t"),
        ),
        ([{"id": "org/a", "type": "chat"}, {"id": "org/b", "type": "image"}, {"id": "c", "name": "C"}],
         ("org/a", "c"), None),
        ({"data": [{"id": "a", "capabilities": {"completion_chat": False}}, {"id": "b", "capabilities": ["chat"]}]},
         ("b",), None),
        ({"data": [{"id": "x" * 1000}, {"id": ""}, {"id": "a*"}, {"id": "a\nb"}, {}]}, (), None),
    ],
)  # fmt: skip
def test_all_shapes_of_model_lists_are_read(body, names, more):
    page = read_page(json.dumps(body).encode())
    assert (page.names, page.next) == (names, more)


@each_row("body", [b"", b"<html>", b"{}", b"3", b'{"data": [{"id": 3}]}', b'{"data": 1}', b"[" * 9999])
def test_an_invalid_model_list_raises(body):
    with pytest.raises((ValueError, RecursionError)):
        read_page(body)
