"""Images of a Gemini model over a real socket: made in one turn, edited in the next."""

import json
from typing import Any

import pytest

from gateway.stores.memory import MemoryStore
from tests.support.bare_provider import response
from tests.support.gemini_answers import candidate, text
from tests.support.google import Google
from tests.support.in_process import CountingProvider, gateway, providers
from tests.support.posing import served_by

MODEL = "gemini/gemini-3-pro-image"
PNG = "iVBORw0KGgo" + "A" * 300_000 + "="
IMAGE = {"inlineData": {"mimeType": "image/png", "data": PNG}, "thoughtSignature": "c2ln" * 50_000}
ANSWER = (candidate(text("Look:"), IMAGE, finishReason="STOP"),)
SECOND = "now make the sky blue"


def config(url: str) -> dict[str, Any]:
    entry = {"model": MODEL, "access_key": "k", "base_url": url, "speaks": ["gemini"]}
    return {"version": "v0.4.0", "model_providers": [entry]}


def model_parts(google: Google) -> list[Any]:
    contents = json.loads(google.bodies[-1])["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user"]
    assert contents[-1]["parts"] == [{"text": SECOND}]
    return list(contents[1]["parts"])


def events_of(answer: Any) -> list[Any]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_client_edits_the_image_that_it_got(stream):
    async with served_by(Google, config) as (running, google):
        google.says = ANSWER
        answer = await running.ask(MODEL, "chat", stream=stream)
        assert answer.status_code == 200, answer.text
        if stream:
            deltas = [choice["delta"] for event in events_of(answer) for choice in event["choices"]]
            message: dict[str, Any] = {"role": "assistant", "content": ""}
            for delta in deltas:
                message["content"] += delta.get("content") or ""
                message |= {name: delta[name] for name in ("images", "reasoning_details") if name in delta}
        else:
            message = answer.json()["choices"][0]["message"]
        assert message["images"][0]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
        turns = [{"role": "user", "content": "Hi"}, message, {"role": "user", "content": SECOND}]
        answer = await running.ask(MODEL, "chat", messages=turns)
        assert answer.status_code == 200, answer.text
        assert "x-trigate-dropped" not in answer.headers
        assert model_parts(google) == [{"text": "Look:"}, IMAGE]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_responses_client_edits_the_image_that_it_got(stream, stored):
    async with providers(1) as (google,):
        google.__class__ = Google
        google.says = ANSWER
        async with gateway(config(google.url), store=MemoryStore(3600.0, 2**24)) as running:
            answer = await running.ask(MODEL, "responses", stream=stream, store=stored)
            assert answer.status_code == 200, answer.text
            response = events_of(answer)[-1]["response"] if stream else answer.json()
            made = [item for item in response["output"] if item["type"] == "image_generation_call"]
            assert [(item["status"], item["result"]) for item in made] == [("completed", PNG)]
            if stored:
                rest: dict[str, Any] = {"input": SECOND, "previous_response_id": response["id"]}
            else:
                user = [{"role": "user", "content": text} for text in ("Hi", SECOND)]
                rest = {"input": [user[0], *response["output"], user[1]]}
            answer = await running.ask(MODEL, "responses", store=stored, **rest)
            assert answer.status_code == 200, answer.text
            assert "x-trigate-dropped" not in answer.headers
            assert model_parts(google) == [{"text": "Look:"}, IMAGE]


class WithoutImages(CountingProvider):
    """A Chat provider that rejects unknown members of messages, as OpenAI does."""

    def _answer(self, path: str, body: bytes) -> bytes:
        if not any("images" in message for message in json.loads(body)["messages"]):
            return super()._answer(path, body)
        error = {"message": "Unknown parameter: 'messages[1].images'.", "code": "unknown_parameter"}
        error |= {"param": "messages[1].images", "type": "invalid_request_error"}
        return response(400, json.dumps({"error": error}).encode())


async def test_another_chat_model_continues_a_conversation_with_images():
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    turns = [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Look:", "images": [image]},
        {"role": "user", "content": SECOND},
    ]  # fmt: skip
    async with providers(1) as (provider,):
        provider.__class__ = WithoutImages
        entry = {"model": "openai/m", "access_key": "k", "base_url": f"{provider.url}/v1"}
        async with gateway({"version": "v0.4.0", "model_providers": [entry]}) as running:
            answer = await running.ask("openai/m", "chat", messages=turns)
            assert (answer.status_code, provider.take_count()) == (200, 2), answer.text
            assert answer.headers["x-trigate-dropped"] == "messages[].images"
