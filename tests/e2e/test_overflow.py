"""Tests of conversations that are too long: in every lane, each client gets a 400 in words that it recognises, from
error responses and from streams (musistudio/claude-code-router#1799, raine/claude-code-proxy#29)."""

import json
from itertools import product

from tests.support.apis import OLDER, question
from tests.support.covering import covering_rows
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import complaint, config, provider
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, data, event

WORDS = "This model's maximum context length is 1000 tokens. However, your messages resulted in 1200 tokens."
SENTENCE = "prompt is too long: 1200 tokens > 1000 maximum"
CODE = "context_length_exceeded"


@serve_module
def gateway(upstream):
    entries = [provider(f"own/{api}", upstream.url, [api], name=api, provider_interface="openai")
               for api in ("chat", "responses")]  # fmt: skip
    entries.append(
        provider("own/messages", upstream.url, ["messages"], name="messages", provider_interface="anthropic")
    )
    return config(entries)


def refusal(words: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": "BadRequestError", "message": words, "code": 400}}).encode()


def overflow_events(api: str) -> tuple[bytes, ...]:
    """Return a stream that reports before any content that the prompt is too long."""
    error = {"type": "invalid_request_error", "code": CODE, "message": WORDS}
    match api:
        case "chat":
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                     "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}  # fmt: skip
            return data(chunk), data({"error": {**error, "code": 400}})
        case "messages":
            message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "m",
                       "stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
            start = event("message_start", {"type": "message_start", "message": message})
            return start, event("error", {"type": "error", "error": {"type": "api_error", "message": WORDS}})
        case _:
            response = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "m", "output": []}
            failed = {**response, "status": "failed", "error": {"code": CODE, "message": WORDS}}
            return (
                event("response.created", {"type": "response.created", "sequence_number": 0, "response": response}),
                event("response.failed", {"type": "response.failed", "sequence_number": 1, "response": failed}),
            )


def check_overflow(api: str, reply) -> None:
    error = complaint(api, reply, 400, passed=False)
    if api == "messages":
        assert error["message"] == SENTENCE
    else:
        assert (error["message"], error["code"]) == (WORDS, CODE)


@each_row("stream, status, model, api", covering_rows([True, False], [400, 413, 500], OLDER, OLDER))
def test_an_overflow_returns_400_in_the_words_of_the_clients_api(gateway, upstream, api, model, status, stream):
    upstream.script(Raw(status, JSON, (refusal(WORDS),)))
    check_overflow(api, gateway.request("POST", PATHS[api], question(api, model, stream=stream)))
    assert len(upstream.seen) == 1


@each_row(("model", "api"), product(OLDER, OLDER))
def test_an_overflow_in_a_stream_before_content_returns_the_same_400(gateway, upstream, api, model):
    upstream.script(Raw(200, STREAM, overflow_events(model), end="chunked"))
    check_overflow(api, gateway.request("POST", PATHS[api], question(api, model, stream=True)))


def test_anthropics_own_refusal_passes_byte_for_byte(gateway, upstream):
    own = refusal("prompt is too long: 3333404 tokens > 200000 maximum")
    upstream.script(Raw(400, JSON, (own,)))
    reply = gateway.request("POST", PATHS["messages"], question("messages", "messages"))
    assert (reply.status, reply.body) == (400, own)


def test_a_compatible_servers_overflow_is_rephrased_like_anthropics(gateway, upstream):
    """Bedrock and other servers send words that Claude Code does not recognise."""
    upstream.script(Raw(400, JSON, (refusal("Input is too long for requested model."),)))
    reply = gateway.request("POST", PATHS["messages"], question("messages", "messages"))
    message = complaint("messages", reply, 400)["message"]
    assert message == "prompt is too long: Input is too long for requested model."
