"""N20: a model that Google serves in Interactions alone; its rejection continues there within the request, and later
requests start there (BerriAI/litellm#38229, Comfy-Org/ComfyUI#14961)."""

import json
from typing import Any

import pytest

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
        self.bodies = [*getattr(self, "bodies", []), body]
        if path != PATH:
            error = {"error": {"code": 400, "message": self.says, "status": "INVALID_ARGUMENT"}}
            return _response(400, "application/json", json.dumps([error] if path == CHAT else error).encode())
        if json.loads(body).get("stream"):
            return _response(200, "text/event-stream", b"".join(STREAM))
        return _response(200, "application/json", interaction(text_step("It is noon.")))


def _response(status: int, kind: str, data: bytes) -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


def config(url: str, **more: Any) -> dict[str, Any]:
    entry = {"model": "gemini/gemini-new", "access_key": "k", "base_url": url, "name": "g", **more}
    return {"version": "v0.4.0", "model_providers": [entry]}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("api", "speaks", "first"),
    [
        ("chat", None, CHAT), ("chat", ["gemini"], GENERATE), ("messages", None, GENERATE),
        ("responses", None, GENERATE),
    ],
)  # fmt: skip
async def test_the_request_continues_in_interactions(api, speaks, first, stream):
    async with providers(1) as (google,):
        google.__class__ = Google
        async with gateway(config(google.url, **({"speaks": speaks} if speaks else {}))) as running:
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
    async with providers(1) as (google,):
        google.__class__ = Google
        async with gateway(config(google.url)) as running:
            for count in (2, 1):
                answer = await running.post(path, json={"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
                assert (answer.status_code, len(google.asked)) == (200, count), answer.text
                assert "It is noon." in answer.text
                google.asked.clear()


async def test_an_interactions_client_that_is_translated_continues_in_its_own_api():
    async with providers(1) as (google,):
        google.__class__ = Google
        async with gateway(config(google.url, speaks=["gemini"])) as running:
            answer = await running.post(PATH, json={"model": "g", "input": "Hi", "store": False})
            assert (answer.status_code, google.asked) == (200, [GENERATE, PATH]), answer.text
            assert answer.json()["steps"][-1]["content"][0]["text"] == "It is noon."
            assert json.loads(google.bodies[-1])["store"] is False


async def test_a_quotation_of_these_words_is_not_remembered():
    """A client can make a provider quote them; then only its own request is repeated."""
    async with providers(1) as (google,):
        google.__class__ = Google
        async with gateway(config(google.url)) as running:
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
    async with providers(1) as (google,):
        google.__class__ = Google
        async with gateway(config(google.url)) as running:
            assert (await running.ask("g", "messages")).status_code == 200
            google.asked.clear()
            await running.post("/v1/messages/count_tokens", json=body)
            assert [path.rpartition(":")[2] for path in google.asked] == ["countTokens"]


AT_VERTEX = "/v1beta1/projects/acme/locations/global/interactions"


class Vertex(CountingProvider):
    """Serves Interactions at the path of a project and location (vercel/ai#16550)."""

    def _answer(self, path: str, body: bytes) -> bytes:
        assert path.startswith(AT_VERTEX), path
        return _response(200, "application/json", interaction(text_step("It is noon."), id="v1_a"))


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
