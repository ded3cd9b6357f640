"""A model that Google serves in Interactions alone; its rejection continues there within the request, and later
requests start there (BerriAI/litellm#38229, Comfy-Org/ComfyUI#14961)."""

import json
from typing import Any

import pytest

from tests.support.bare_provider import response
from tests.support.each_row import each_row
from tests.support.in_process import CountingProvider, gateway, providers
from tests.support.interactions_answers import (
    begin,
    completed_event,
    created_event,
    interaction,
    piece,
    stop,
    text_step,
)
from tests.support.posing import served_by

ALONE = "gemini-new is only supported in the Interactions API and cannot be called directly via generateContent."
STREAM = [
    created_event(), begin(0), piece(0, text="It is noon."), stop(0), completed_event("completed"),
    b"event: done\ndata: [DONE]\n\n",
]  # fmt: skip
PATH = "/v1beta/interactions"
GENERATE = "/v1beta/models/gemini-new:generateContent"
CHAT = "/v1beta/openai/chat/completions"


class Google(CountingProvider):
    """Serves ``gemini-new`` in Interactions alone; its other APIs return ``says``, in the shape of their errors."""

    says = ALONE

    def _answer(self, path: str, body: bytes) -> bytes:
        if path != PATH:
            error = {"error": {"code": 400, "message": self.says, "status": "INVALID_ARGUMENT"}}
            return response(400, json.dumps([error] if path == CHAT else error).encode())
        if json.loads(body).get("stream"):
            return response(200, b"".join(STREAM), "text/event-stream")
        return response(200, interaction(text_step("It is noon.")))


def config(url: str, **more: Any) -> dict[str, Any]:
    entry = {"model": "gemini/gemini-new", "access_key": "k", "base_url": url, "name": "g", **more}
    return {"version": "v0.4.0", "model_providers": [entry]}


@each_row("stream", [False, True], every=2)
@each_row(
    ("api", "speaks", "first"),
    [
        ("chat", None, CHAT), ("chat", ["gemini"], GENERATE), ("messages", None, GENERATE),
        ("responses", None, GENERATE),
    ],
)  # fmt: skip
async def test_the_request_continues_in_interactions(api, speaks, first, stream):
    async with served_by(Google, config, **({"speaks": speaks} if speaks else {})) as (running, google):
        if stream:
            first = first.replace(":generateContent", ":streamGenerateContent?alt=sse")
        for expected in ([first, PATH], [PATH]):
            answer = await running.ask("g", api, stream=stream)
            assert (answer.status_code, google.asked) == (200, expected), answer.text
            assert "It is noon." in answer.text
            assert answer.headers["x-trigate-attempts"] == str(len(expected))
            assert answer.headers["x-trigate-lane"] == "hub"
            assert json.loads(google.bodies[-1])["store"] is False
            google.asked.clear()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_gemini_client_continues_in_interactions(stream):
    path = f"/v1beta/models/g:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"
    async with served_by(Google, config) as (running, google):
        for count in (2, 1):
            answer = await running.post(path, json={"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
            assert (answer.status_code, len(google.asked)) == (200, count), answer.text
            assert "It is noon." in answer.text
            google.asked.clear()


async def test_an_interactions_client_that_is_translated_continues_in_its_own_api():
    async with served_by(Google, config, speaks=["gemini"]) as (running, google):
        answer = await running.post(PATH, json={"model": "g", "input": "Hi", "store": False})
        assert (answer.status_code, google.asked) == (200, [GENERATE, PATH]), answer.text
        assert answer.json()["steps"][-1]["content"][0]["text"] == "It is noon."
        assert json.loads(google.bodies[-1])["store"] is False


async def test_a_quotation_of_these_words_is_not_remembered():
    """A client can make a provider quote them; then only its own request is repeated."""
    async with served_by(Google, config) as (running, google):
        google.says = f"bad input: {ALONE}"
        for _ in range(2):
            answer = await running.ask("g", "messages")
            assert (answer.status_code, google.asked) == (200, [GENERATE, PATH]), answer.text
            google.asked.clear()


@pytest.mark.parametrize(
    ("base", "api", "first"),
    [("/v1beta/openai", "chat", CHAT), ("/proxied", "chat", "/proxied/chat/completions")],
)
async def test_an_address_without_interactions_returns_the_rejection(base, api, first):
    async with providers(1) as (google,):
        google.__class__ = Google
        async with gateway(config(google.url + base)) as running:
            answer = await running.ask("g", api)
            assert (answer.status_code, google.asked) == (400, [first]), answer.text
            assert "Interactions API" in answer.text


async def test_a_token_count_stays_in_its_api():
    body = {"model": "g", "messages": [{"role": "user", "content": "Hi"}]}
    async with served_by(Google, config) as (running, google):
        assert (await running.ask("g", "messages")).status_code == 200
        google.asked.clear()
        await running.post("/v1/messages/count_tokens", json=body)
        assert [path.rpartition(":")[2] for path in google.asked] == ["countTokens"]


AT_VERTEX = "/v1beta1/projects/acme/locations/global/interactions"


class Vertex(CountingProvider):
    """Serves Interactions at the path of a project and location (vercel/ai#16550)."""

    def _answer(self, path: str, body: bytes) -> bytes:
        assert path.startswith(AT_VERTEX), path
        return response(200, interaction(text_step("It is noon."), id="v1_a"))


@pytest.mark.parametrize("model", ["vertex/*", "vertex/gemini-omni-flash-preview"])
async def test_vertex_serves_interactions_and_stores_them(model):
    entry = {"model": model, "access_key": "k", "project": "acme", "location": "global"}
    async with providers(1) as (cloud,):
        cloud.__class__ = Vertex
        async with gateway({"version": "v0.4.0", "model_providers": [{**entry, "base_url": cloud.url}]}) as running:
            made = await running.post(PATH, json={"model": "vertex/gemini-omni-flash-preview", "input": "Hi"})
            assert (made.status_code, made.headers["x-trigate-lane"]) == (200, "byte"), made.text
            assert (await running.get(f"{PATH}/v1_a")).json() == made.json()
            assert (await running.ask("vertex/gemini-omni-flash-preview", "chat")).status_code == 200
            assert cloud.asked == [AT_VERTEX, f"{AT_VERTEX}/v1_a", AT_VERTEX]


class Strict(CountingProvider):
    """Rejects ``refused``, a member of Interactions requests, in each of Google's two shapes of errors."""

    refused = ("service_tier", "")
    shape: Any = staticmethod(lambda message: {"error": {"code": "invalid_request", "message": message}})

    def _answer(self, path: str, body: bytes) -> bytes:
        value, (name, at) = json.loads(body), self.refused
        if name in (value.get(at, {}) if at else value):
            message = f'Invalid JSON payload received. Unknown name "{name}"' + (f" at '{at}'" if at else "")
            return response(400, json.dumps(self.shape(f"{message}: Cannot find field.")).encode())
        return response(200, interaction(text_step("It is noon.")))


def in_numbers(message: str) -> Any:
    return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


@each_row("shape", [Strict.shape, in_numbers])
@each_row(
    ("name", "at", "dropped"),
    [("service_tier", "", "service_tier"), ("seed", "generation_config", "generation_config.seed")],
)
async def test_a_member_that_interactions_rejects_is_left_out_and_remembered(shape, name, at, dropped):
    """In the byte lane, with every other member unchanged."""
    body = {"model": "g", "input": "Hi", "service_tier": "flex", "generation_config": {"seed": 7, "temperature": 0.5}}
    async with served_by(Strict, config) as (running, google):
        google.refused, google.shape = (name, at), shape
        for count in (2, 1):
            answer = await running.post(PATH, json=body)
            assert (answer.status_code, len(google.asked)) == (200, count), answer.text
            assert answer.headers["x-trigate-dropped"] == dropped
            left = json.loads(google.bodies[-1])
            expected = json.loads(json.dumps({**body, "model": "gemini-new"}))
            del (expected[at] if at else expected)[name]
            assert left == expected
            google.asked.clear()


@each_row("api", ["chat", "messages", "responses"])
async def test_a_translated_request_is_repeated_without_the_rejected_member(api):
    async with served_by(Strict, config, speaks=["interactions"]) as (running, google):
        google.refused = ("temperature", "generation_config")
        for count in (2, 1):
            answer = await running.ask("g", api, temperature=0.5)
            assert (answer.status_code, len(google.asked)) == (200, count), answer.text
            assert "temperature" not in json.loads(google.bodies[-1]).get("generation_config", {})
            assert answer.headers["x-trigate-dropped"]
            google.asked.clear()


@each_row(
    ("name", "at"),
    [
        ("system_instruction", ""), ("tools", ""), ("response_format", ""), ("previous_interaction_id", ""),
        ("max_output_tokens", "generation_config"), ("tool_choice", "generation_config"),
    ],
)  # fmt: skip
async def test_the_essence_of_an_interaction_is_never_left_out(name, at):
    """The client gets the rejection instead of another answer."""
    body = {
        "model": "g", "input": "Hi", "system_instruction": "Be brief.", "response_format": {"type": "text"},
        "tools": [{"type": "function", "name": "f"}], "previous_interaction_id": "v1_a",
        "generation_config": {"max_output_tokens": 9, "tool_choice": "any"},
    }  # fmt: skip
    async with served_by(Strict, config) as (running, google):
        google.refused = (name, at)
        answer = await running.post(PATH, json=body)
        assert (answer.status_code, len(google.asked)) == (400, 1), answer.text
        assert name in answer.json()["error"]["message"]
