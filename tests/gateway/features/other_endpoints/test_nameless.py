"""Requests without a model: they use the entry or route of their type of models that has ``default: true``."""

from typing import Any

import pytest

from gateway.config_files.loading import ConfigError, from_mapping
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, endpoint_provider, json_answer, settings
from tests.support.in_process import gateway
from tests.support.multipart import KIND, multipart, part

CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
MODELS = {
    "embedding": "text-embedding-3-small", "speech": "tts-1", "transcription": "whisper-1",
    "completion": "gpt-3.5-turbo-instruct", "image": "gpt-image-1", "moderation": "omni-moderation-latest",
}  # fmt: skip
REQUESTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("embedding", "/v1/embeddings", {"json": {"input": "x"}}),
    ("embedding", "/v1/embed", {"json": {"texts": ["x"]}}),
    ("speech", "/v1/audio/speech", {"json": {"input": "x", "voice": "y"}}),
    ("completion", "/v1/completions", {"json": {"prompt": "x"}}),
    ("image", "/v1/images/generations", {"json": {"prompt": "x"}}),
    ("moderation", "/v1/moderations", {"json": {"input": "x"}}),
    ("transcription", "/v1/audio/transcriptions",
     {"content": multipart([part("file", b"RIFF", "a.wav")]), "headers": {"content-type": KIND}}),
)  # fmt: skip


def answering(asked: ReceivedRequest) -> ScriptedAnswer:
    return json_answer({**CHAT, "data": [{"embedding": [1.0], "index": 0}], "text": "Hello.", "results": []})


def entries(url: str, **more: Any) -> list[dict[str, Any]]:
    """Return an entry for conversations, and two entries of each other type, the second with ``more``."""
    own = {"access_key": "k", "base_url": f"{url}/v1"}
    found = [{"model": "openai/gpt-5", **own}]
    for kind, model in MODELS.items():
        found += [{"model": f"openai/other-{kind}", "type": kind, **own}, {"model": f"openai/{model}", **own, **more}]
    return found


async def test_requests_without_a_model_use_the_default_of_their_type():
    async with (
        endpoint_provider(answering) as provider,
        gateway(settings(*entries(provider.url, default=True))) as served,
    ):
        for kind, path, sent in REQUESTS:
            found = await served.post(path, **sent)
            assert found.status_code == 200, (path, found.text)
            assert found.headers["x-trigate-target"] == f"openai/{MODELS[kind]}"
            assert kind == "moderation" or MODELS[kind].encode() in provider.asked[-1].body
        calls = len(provider.asked)
        chat = await served.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "x"}]})
        assert chat.status_code == 400
        assert "there is no default for conversations" in chat.text
        assert "text-embedding-3-small is for embedding" in chat.text
        assert len(provider.asked) == calls


async def test_a_route_can_be_the_default_of_its_type():
    async with endpoint_provider(answering) as provider:
        routes = {"vectors": {"targets": ["openai/text-embedding-3-small"], "default": True}}
        chat = {"model": "openai/gpt-5-mini", "access_key": "k", "base_url": f"{provider.url}/v1", "default": True}
        async with gateway(settings(*entries(provider.url), chat, model_aliases=routes)) as served:
            found = await served.post("/v1/embeddings", json={"input": "x"})
            assert (found.status_code, provider.asked[-1].json["model"]) == (200, "text-embedding-3-small")
            body = {"messages": [{"role": "user", "content": "x"}]}
            assert (await served.post("/v1/chat/completions", json=body)).status_code == 200
            assert provider.asked[-1].json["model"] == "gpt-5-mini"


async def test_without_a_default_a_model_is_required_if_clients_usually_send_one():
    async with endpoint_provider(answering) as provider:
        async with gateway(settings(*entries(provider.url))) as served:
            for _, path, sent in REQUESTS:
                found = await served.post(path, **sent)
                assert found.status_code == 400, path
                assert "model is required" in found.text
            for path in ("/v1/embeddings", "/v1/chat/completions"):
                found = await served.post(path, json={"model": " ", "input": "x", "messages": [{"role": "user"}]})
                assert (found.status_code, "model is required" in found.text) == (400, True), found.text
        assert provider.asked == []


async def test_a_key_gets_no_default_that_it_may_not_use():
    keys = [{"name": "ann", "key": "key-of-ann-0123456789", "models": ["openai/gpt-5"]}]
    async with endpoint_provider(answering) as provider:
        async with gateway(settings(*entries(provider.url, default=True), client_keys=keys)) as served:
            head = {"authorization": "Bearer key-of-ann-0123456789"}
            for _, path, sent in REQUESTS:
                found = await served.post(path, **{**sent, "headers": {**sent.get("headers", {}), **head}})
                assert found.status_code == 400, (path, found.text)
        assert provider.asked == []


@pytest.mark.parametrize("second", ["openai/text-embedding-3-large", "mine/vectors-embedding"])
def test_a_type_has_one_default(second):
    both = [{"model": one, "access_key": "k", "base_url": "http://h/v1", "default": True}
            for one in ("openai/gpt-5", "openai/text-embedding-3-small", second)]  # fmt: skip
    with pytest.raises(ConfigError, match="openai/text-embedding-3-small is also the default"):
        from_mapping({"version": "v0.4.0", "model_providers": both})
    config = from_mapping({"version": "v0.4.0", "model_providers": both[:2]})
    assert config.default == "openai/gpt-5"
