"""Clients of Gemini's API with a provider of another API: the positions of their key and of the model's name, both
forms of a stream, and the parts of a request that reach a provider and the log."""

import json
from typing import Any

import httpx2

from tests.support.features import rows_of
from tests.support.in_process import InProcess, gateway, providers

KEY = "sk-of-the-gateway-0123456789abcdef"
BODY = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
MODEL = "openai/gpt-4o"


def config(url: str) -> dict[str, Any]:
    entry = {"model": MODEL, "access_key": "of-the-provider", "base_url": url}
    return {"version": "v0.4.0", "model_providers": [entry], "client_keys": [{"name": "me", "key": KEY}]}


async def post(running: InProcess, path: str, **headers: str) -> httpx2.Response:
    return await running.post(path, json=BODY, headers=headers)


async def test_a_key_is_read_in_every_position_that_google_clients_use_and_not_forwarded(caplog):
    async with providers(1) as (provider,), gateway(config(provider.url)) as running:
        path = f"/v1beta/models/{MODEL}:generateContent"
        for answer in (
            await post(running, path, **{"x-goog-api-key": KEY}),
            await post(running, f"{path}?key={KEY}"),
            await post(running, path, authorization=f"Bearer {KEY}"),
        ):
            assert answer.status_code == 200, answer.text
            assert answer.json()["candidates"][0]["finishReason"] == "STOP"
        assert not any(KEY.encode() in head for head in provider.heads)
        for refused in (await post(running, path), await post(running, f"{path}?key=wrong")):
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["status"]) == (401, 401, "UNAUTHENTICATED")
        # This client logs its requests if another test has enabled that.
        assert not [one for one in caplog.records if one.name.startswith("trigate") and KEY in one.getMessage()]


async def test_a_key_in_the_query_is_read_on_paths_with_and_without_variables():
    async with providers(1) as (provider,), gateway(config(provider.url)) as running:
        lists = ("/v1beta/models", "/v1beta/models/", "/v1beta//models", f"/v1beta/models/{MODEL}")
        for path in rows_of("model_lists", *lists):
            answer = await running.get(f"{path}?pageSize=5&key={KEY}")
            assert answer.status_code == 200, path
            assert (await running.get(f"{path}?key=wrong")).status_code == 401
        interaction = {"model": MODEL, "input": "Hi"}
        found = await running.post(f"/v1beta/interactions?key={KEY}", json=interaction)
        assert found.status_code == 200, found.text


async def test_all_paths_of_google_clients_lead_to_the_model():
    """The method follows the last colon; the model's name may contain slashes and colons."""
    async with providers(1) as (provider,), gateway(config(provider.url)) as running:
        for place in ("/v1beta", "/v1", "/v1beta/v1beta", "/v1beta1/projects/p/locations/eu/publishers/google"):
            answer = await post(running, f"{place}/models/{MODEL}:generateContent", **{"x-goog-api-key": KEY})
            assert answer.status_code == 200, place
            assert answer.json()["modelVersion"] == MODEL, place
        unknown = await post(running, "/v1beta/models/a/b:c:generateContent", **{"x-goog-api-key": KEY})
        assert unknown.status_code == 404
        assert "a/b:c" in unknown.json()["error"]["message"]
        counted = await post(running, f"/v1beta/models/{MODEL}:countTokens", **{"x-goog-api-key": KEY})
        assert counted.json()["totalTokens"] > 0


async def test_a_stream_is_events_or_one_array():
    async with providers(1) as (provider,), gateway(config(provider.url)) as running:
        path = f"/v1beta/models/{MODEL}:streamGenerateContent"
        events = await post(running, f"{path}?alt=sse", **{"x-goog-api-key": KEY})
        assert events.headers["content-type"].startswith("text/event-stream")
        assert events.content.endswith(b"\r\n\r\n")
        array = await post(running, f"{path}?key={KEY}")
        assert array.headers["content-type"].startswith("application/json")
        assert json.loads(array.content)[-1]["candidates"][0]["finishReason"] == "STOP"
