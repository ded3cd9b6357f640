"""Endpoints that only OpenAI has: decisions, checks of a file's origin, and Codex's search."""

import json
from typing import Any

from tests.support.endpoint_provider import before, json_answer
from tests.support.settled_lines import SettledLines

DECIDED = {
    "answers": [{"type": "predicate", "probability": 0.9}], "model": "gpt-6-luna",
    "usage": {
        "input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 0},
        "output_tokens": 10, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 1010,
    },
}  # fmt: skip
PRICED = {"name": "luna", "price": {"input": 1, "output": 10, "cached": 0.1}}
CHECKED = {"object": "content_provenance_check", "created_at": 1, "results": []}
FOUND = {"encrypted_output": "x", "output": "found"}


async def test_decisions_are_billed_by_their_usage():
    body = {"model": "luna", "input": "is it?", "questions": [{"type": "predicate", "n": 1.50}]}
    async with before(lambda asked: json_answer(DECIDED), "openai/gpt-6-luna", PRICED) as (served, provider):
        lines = SettledLines(served)
        found = await served.post("/v1/decisions", json=body)
        assert (found.status_code, found.json()) == (200, DECIDED)
        (asked,) = provider.asked
        assert (asked.path, asked.json) == ("/v1/decisions", {**body, "model": "gpt-6-luna"})
        (line,) = await lines.next()
        assert (line["endpoint"], line["input_tokens"], line["output_tokens"]) == ("decisions", 1000, 10)
        assert line["cost_usd"] == (600 * 1 + 400 * 0.1 + 10 * 10) / 10**6


async def test_a_check_of_a_file_passes_unchanged_to_the_provider_that_has_it():
    async with before(lambda asked: json_answer(CHECKED), "openai/*") as (served, provider):
        lines = SettledLines(served)
        content = b"\x89PNG" + bytes(range(256)) * 500
        found = await served.send("POST", "/v1/content_provenance_checks", files={"file": ("a.png", content)})
        assert (found.status_code, found.json()) == (200, CHECKED)
        (asked,) = provider.asked
        assert asked.path == "/v1/content_provenance_checks"
        assert content in asked.body
        assert asked.headers["authorization"] == "Bearer provider-key"
        (line,) = await lines.next()
        assert (line["endpoint"], line.get("cost_usd", 0)) == ("content_provenance_checks", 0)
    async with before(lambda asked: json_answer(CHECKED), "groq/*") as (served, provider):
        found = await served.send("POST", "/v1/content_provenance_checks", files={"file": ("a.png", b"x")})
        assert (found.status_code, found.json()["error"]["code"]) == (400, "unsupported_endpoint")
        assert provider.heads == []


async def test_a_key_of_other_entries_checks_no_file():
    keys = [{"name": "ann", "key": "key-of-ann-0123456789", "models": []}]
    async with before(lambda asked: json_answer(CHECKED), "openai/*", client_keys=keys) as (served, provider):
        headers = {"authorization": "Bearer key-of-ann-0123456789"}
        found = await served.send(
            "POST", "/v1/content_provenance_checks", files={"file": ("a.png", b"x")}, headers=headers
        )
        assert found.status_code == 400
        assert provider.heads == []


async def test_a_search_passes_to_an_entry_that_serves_it():
    body = {"id": "s", "model": "gpt-test", "commands": {"search_query": [{"q": "news", "n": 1.50}]}}
    headers = {"x-oai-attestation": "proof", "x-responsesapi-include-timing-metrics": "true"}
    async with before(lambda asked: json_answer(FOUND), "openai/*") as (served, provider):
        found = await served.send("POST", "/v1/alpha/search", json=body, headers=headers)
        assert (found.status_code, found.json()) == (200, FOUND)
        (asked,) = provider.asked
        assert (asked.path, asked.json) == ("/v1/alpha/search", body)
        assert {name: asked.headers.get(name) for name in headers} == headers


async def test_a_search_elsewhere_is_a_404_in_the_shape_of_openai():
    async with before(lambda asked: json_answer(FOUND), "groq/*") as (served, provider):
        found = await served.post("/v1/alpha/search", json={"id": "s", "model": "groq/llama"})
        assert found.status_code == 404
        assert set(found.json()["error"]) == {"message", "type", "param", "code"}
        assert provider.heads == []
    own = {"endpoints": {"search": "/find"}}
    async with before(lambda asked: json_answer(FOUND), "groq/*", own) as (served, provider):
        assert (await served.post("/v1/alpha/search", json={"id": "s", "model": "groq/llama"})).json() == FOUND
        assert provider.asked[0].path == "/v1/find"


async def test_the_headers_of_codex_for_openai_reach_only_openai():
    """They attest the client to OpenAI, and to no other provider."""
    headers = {"x-oai-attestation": "proof", "x-responsesapi-include-timing-metrics": "true"}
    for model, expected in (("openai/gpt-5.1", headers), ("groq/llama", {})):
        entry: dict[str, Any] = {"speaks": ["responses"]}
        async with before(lambda asked: json_answer({}, 500), model, entry) as (served, provider):
            await served.send("POST", "/v1/responses", json={"model": model, "input": "x"}, headers=headers)
            (asked,) = provider.asked
            assert {name: asked.headers[name] for name in headers if name in asked.headers} == expected
            assert json.loads(asked.body)["input"] == "x"
