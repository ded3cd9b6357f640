"""Members that raise a request's cost beyond its tokens: tools with fees, fallbacks, lengths that are not stated.

Each is reserved from the bytes that the provider receives, expected or with ``reserve: max``."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.endpoint_provider import before, json_answer
from tests.support.features import members_of, needs_feature
from tests.support.multipart import KIND, multipart, part
from tests.support.reserved import HEAD, LIMITED, UNITS, HeldProvider, Levels

PRICE: Final = {"per": UNITS, "tools": {"web_search": 0.01, "file_search": 0.0025, "x_search": 5.0}}
ENTRY: Final = {"name": "mine", "price": PRICE}
EXPECTED: Final = {**LIMITED, "reserve": "expected"}
SAID: Final = [{"role": "user", "content": "Hi"}]


async def reserved_dollars(
    path: str, arguments: Mapping[str, Any], model: str, entry: Mapping[str, Any], settings: Mapping[str, Any]
) -> float:
    """Return the dollars that a request has reserved once the provider has received it."""
    held = HeldProvider()
    async with before(held, model, dict(entry), **settings) as (served, provider), trio.open_nursery() as nursery:
        statuses: list[int] = []

        async def send() -> None:
            headers = {**HEAD, **arguments.get("headers", {})}
            statuses.append((await served.post(path, **{**arguments, "headers": headers})).status_code)

        nursery.start_soon(send)
        await eventually(lambda: bool(statuses) or bool(provider.asked))
        assert not statuses, "the provider must receive the request"
        found = Levels(served).held_amounts["usd"] / 10**9
        held.released.set()
    return found


def json_request(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"json": {"model": "mine", **body}}


CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
GEMINI: Final = "/v1beta/models/mine:generateContent"
FUNCTION: Final = {"type": "function", "function": {"name": "web_search", "parameters": {}}}
CLAUDE_SEARCH: Final = {"type": "web_search_20250305", "name": "web_search"}
TOOLS: Final[Mapping[str, tuple[str, str, Mapping[str, Any], float, float]]] = {
    "a search": ("messages", MESSAGES, {"messages": SAID, "max_tokens": 1, "tools": [CLAUDE_SEARCH]}, 0.01, 0.1),
    "a search with a limit": (
        "messages", MESSAGES, {"messages": SAID, "max_tokens": 1, "tools": [{**CLAUDE_SEARCH, "max_uses": 3}]},
        0.01, 0.03),
    "two tools": (
        "responses", RESPONSES, {"input": "Hi", "tools": [
            {"type": "web_search_preview"}, {"type": "file_search", "vector_store_ids": []}]}, 0.0125, 0.125),
    "two tools with one limit": (
        "responses", RESPONSES, {"input": "Hi", "max_tool_calls": 4, "tools": [
            {"type": "web_search"}, {"type": "file_search", "vector_store_ids": []}]}, 0.0125, 0.05),
    "a tool with a configured fee": ("responses", RESPONSES, {"input": "Hi", "tools": [{"type": "x_search"}]}, 5, 50),
    "options for searches": ("chat", CHAT, {"messages": SAID, "web_search_options": {}}, 0.01, 0.1),
    "a plugin": ("chat", CHAT, {"messages": SAID, "plugins": [{"id": "web"}]}, 0.01, 0.1),
    "Google's search": (
        "gemini", GEMINI, {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "tools": [{"googleSearch": {}}]},
        0.01, 0.1),
    "a function of the client": ("chat", CHAT, {"messages": SAID, "tools": [FUNCTION]}, 0, 0),
}  # fmt: skip
"""The provider's API, the client's path and body, and the dollars that are expected and at most possible."""


@each_row("name", TOOLS)
async def test_calls_of_tools_with_fees_are_reserved(name):
    api, path, body, expected, most = TOOLS[name]
    model = "gemini/m-1" if api == "gemini" else "vllm/m-1"
    entry = {**ENTRY, "speaks": [api]}
    assert await reserved_dollars(path, json_request(body), model, entry, EXPECTED) == pytest.approx(expected)
    assert await reserved_dollars(path, json_request(body), model, entry, LIMITED) == pytest.approx(most)


DEAR, CHEAP = "gpt-4.1", "gpt-4.1-nano"


@pytest.mark.parametrize(
    "members", [{"models": [CHEAP, DEAR]}, {"fallbacks": [{"model": DEAR}]}, {"extra_body": {"models": [DEAR]}}]
)
async def test_the_dearest_fallback_is_reserved(members):
    """OpenRouter and others continue with them: https://openrouter.ai/docs/features/model-routing."""
    entry = {"name": "mine"}
    said = {"messages": SAID, "max_tokens": 1000}
    found = await reserved_dollars(CHAT, json_request({**said, **members}), f"openai/{CHEAP}", entry, EXPECTED)
    dear = await reserved_dollars(CHAT, json_request(said), f"openai/{DEAR}", entry, EXPECTED)
    assert 0.9 * dear < found < 1.1 * dear


async def test_too_many_fallbacks_are_refused():
    held = HeldProvider()
    async with before(held, f"openai/{CHEAP}", {"name": "mine"}, **EXPECTED) as (served, provider):
        names = [f"m-{number}" for number in range(101)]
        response = await served.post(CHAT, json={"model": "mine", "messages": SAID, "models": names}, headers=HEAD)
        assert (response.status_code, provider.asked) == (400, [])
        assert "more than 100 models" in response.json()["error"]["message"]


def form(*fields: tuple[str, bytes]) -> Mapping[str, Any]:
    parts = [part("model", b"mine"), part("input_reference", b"png", "a.png"), *(part(*one) for one in fields)]
    return {"content": multipart(parts), "headers": {"content-type": KIND}}


LENGTHS: Final[Mapping[str, tuple[str, Mapping[str, Any], float, float]]] = {
    **members_of(
        "files",
        **{
            "a film of a stated length": ("/v1/videos", json_request({"prompt": "A cat", "seconds": 12}), 0.12, 0.12),
            "a film": ("/v1/videos", json_request({"prompt": "A cat"}), 0.04, 0.12),
            "a form for a film, its length after the file": ("/v1/videos", form(("seconds", b"8")), 0.08, 0.08),
        },
    ),
    "a document": ("/v1/ocr", json_request({"document": {"document_url": "https://x"}}), 30, 3000),
    "pages of a document": ("/v1/ocr", json_request({"document": {"document_url": "x"}, "pages": [1, 2]}), 6, 6),
    "ranges of pages": ("/v1/ocr", json_request({"document": {"document_url": "x"}, "pages": ["0-999"]}), 30, 3000),
}
"""A path and a request, and the dollars that are expected and at most possible."""


@each_row("name", LENGTHS)
async def test_lengths_that_are_not_stated_are_reserved(name):
    path, arguments, expected, most = LENGTHS[name]
    for settings, dollars in ((EXPECTED, expected), (LIMITED, most)):
        with case(settings["reserve"]):
            entry = {**ENTRY, "endpoints": {"ocr": "/ocr"}}
            found = await reserved_dollars(path, arguments, "trigate/m-1", entry, settings)
            assert found == pytest.approx(dollars)


@needs_feature("pass_through")
@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", ""])
async def test_pass_through_refuses_json_that_is_declared_as_something_else(kind):
    """Its reservation would be that of an empty request. Files may contain JSON."""
    held = HeldProvider()
    held.released.set()
    entry = {"name": "mine", "passthrough": True, "price": {"per": UNITS}}
    (client_key,) = LIMITED["client_keys"]
    unhurried = {**LIMITED, "client_keys": [{**client_key, "ratelimits": {}}]}
    async with before(held, "vllm/m-1", entry, **unhurried) as (served, provider):
        headers = {**HEAD, **({"content-type": kind} if kind else {})}
        for body, path, passes in (
            (b' {"model": "m-1", "messages": []}', "chat/completions", False),
            (b' {"model": "m-1", "messages": []}', "api/generate", False),
            (b"\x89PNG", "api/pictures", True),
            (b'{"custom_id": "a"}\n', "v1/files", True),
            (b'{"custom_id": "a"}\n', "upload/v1beta/files", True),
        ):
            with case(path):
                number = len(provider.asked)
                response = await served.post(f"/mine/{path}", content=body, headers=headers)
                assert response.status_code == (400 if passes else 415), response.text
                assert len(provider.asked) - number == passes


@needs_feature("files")
@pytest.mark.parametrize(("member", "cost"), [({"seconds": "8"}, 0.08), ({}, 0.12)])
async def test_a_new_video_is_billed_by_its_seconds(member, cost):
    """Those of the response count; without them, those of the request."""
    answer = json_answer({"id": "video_1", "object": "video", "status": "queued", **member})
    async with before(lambda received: answer, "trigate/m-1", dict(ENTRY), **EXPECTED) as (served, _):
        body = {"model": "mine", "prompt": "A cat", "seconds": "12"}
        assert (await served.post("/v1/videos", json=body, headers=HEAD)).status_code == 200
        levels = Levels(served)
        await eventually(lambda: not levels.held_amounts["usd"])
        assert levels.used_amounts["usd"] == pytest.approx(cost * 10**9)
