"""Bedrock's Converse as the provider of a complete gateway, over real sockets: its frames for clients of other APIs,
its failures before and after the first word, its addresses, and models that refuse cache points."""

import json
from typing import Any

from streams import event_stream
from tests.support.converse_requests import check
from tests.support.in_process import gateway
from tests.support.upstreams import Raw, Upstream

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2c3"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
STREAMS = (("content-type", "application/vnd.amazon.eventstream"),)
UNCACHED = (
    "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more "
    "information."
)


def frame(name: str, **value: Any) -> bytes:
    return event_stream.event_frame(name, json.dumps(value).encode())


BEGIN = frame("messageStart", role="assistant")
HELLO = frame("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hello"})
WORLD = frame("contentBlockDelta", contentBlockIndex=0, delta={"text": " world"})
STOP = frame("contentBlockStop", contentBlockIndex=0) + frame("messageStop", stopReason="end_turn")
USAGE = {"inputTokens": 562, "cacheReadInputTokens": 3059, "outputTokens": 4, "totalTokens": 3625}
COUNTS = frame("metadata", usage=USAGE, metrics={"latencyMs": 7})
GOOD = (BEGIN, HELLO, WORLD, STOP, COUNTS)
WHOLE = json.dumps({
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello world"}]}}, "stopReason": "end_turn",
    "usage": USAGE, "metrics": {"latencyMs": 7},
}).encode()  # fmt: skip
THROTTLED = event_stream.exception_frame("throttlingException", b'{"message":"Too many tokens, please wait"}')

GOOD_END = {"chat": "[DONE]", "messages": "message_stop", "responses": "response.completed"}


def config(upstream: Upstream, *models: str, **more: Any) -> dict[str, Any]:
    known = {"base_url": upstream.url, "access_key": "k"}
    entries: list[dict[str, Any]] = [
        {"model": f"amazon_bedrock/{model}", "name": name, **known} for name, model in zip("abc", models, strict=False)
    ]
    for entry in entries:
        if "claude" in entry["model"]:  # Bedrock has this model in its maker's API, too
            entry["speaks"] = ["converse"]
    return {"version": "v0.4.0", "model_providers": entries, **more}


def stream(*pieces: bytes) -> Raw:
    return Raw(200, STREAMS, pieces)


def failing(status: int, kind: str, message: str) -> Raw:
    headers = (("content-type", "application/json"), ("x-amzn-errortype", f"{kind}:http://internal.amazon.com/"))
    return Raw(status, headers, (json.dumps({"message": message}).encode(),))


async def test_counts_add_up_for_clients_of_every_api(upstream):
    """crmne/ruby_llm#832; Messages clients get the correct counts at the end (maximhq/bifrost#5811)."""
    async with gateway(config(upstream, CLAUDE)) as running:
        upstream.script(Raw(200, (("content-type", "application/json"),), (WHOLE,)), stream(*GOOD), stream(*GOOD))
        chat = (await running.ask("a")).json()["usage"]
        assert (chat["prompt_tokens"], chat["prompt_tokens_details"]["cached_tokens"]) == (3621, 3059)
        text = (await running.ask("a", "messages", stream=True)).text
        usage = next(
            json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: {"type":"message_delta')
        )
        assert (usage["usage"]["input_tokens"], usage["usage"]["cache_read_input_tokens"]) == (562, 3059)
        begin = next(
            json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: {"type":"message_start')
        )
        assert begin["message"]["usage"]["input_tokens"] > 0
        text = (await running.ask("a", "responses", stream=True)).text
        last = json.loads(text.rstrip().rpartition("data: ")[2])
        assert last["response"]["usage"]["total_tokens"] == 3625


async def test_messages_clients_get_the_stop_sequence_if_they_sent_only_one(upstream):
    """Converse reports only that one of them has stopped the model."""
    stop = frame("contentBlockStop", contentBlockIndex=0) + frame("messageStop", stopReason="stop_sequence")
    whole = Raw(200, (("content-type", "application/json"),), (WHOLE.replace(b"end_turn", b"stop_sequence"),))
    async with gateway(config(upstream, CLAUDE)) as running:
        for stops, sequence in ((["END"], "END"), (["END", " "], "END"), (["END", "STOP"], None)):
            upstream.script(whole, stream(BEGIN, HELLO, stop, COUNTS))
            answer = (await running.ask("a", "messages", stop_sequences=stops)).json()
            text = (await running.ask("a", "messages", stream=True, stop_sequences=stops)).text
            last = next(
                json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: {"type":"message_delta')
            )
            for end in (answer, last["delta"]):
                assert (end["stop_reason"], end["stop_sequence"]) == ("stop_sequence", sequence)


async def test_a_failure_after_the_first_word_never_looks_complete(upstream):
    """aaif-goose/goose#9579, crmne/ruby_llm#871, floci-io/floci#3043."""
    broken = bytearray(WORLD)
    broken[-6] ^= 1
    async with gateway(config(upstream, CLAUDE)) as running:
        for api, end in GOOD_END.items():
            for name, pieces in {
                "exception": (BEGIN, HELLO, THROTTLED, STOP, COUNTS),
                "checksum": (BEGIN, HELLO, bytes(broken), STOP, COUNTS),
                "half a frame": (BEGIN, HELLO, WORLD[:-3]),
                "no stop": (BEGIN, HELLO, COUNTS),
            }.items():
                upstream.script(stream(*pieces))
                text = (await running.ask("a", api, stream=True)).text
                assert "Hello" in text or name == "checksum", (api, name)  # a checksum covers the whole read
                assert end not in text, (api, name)
                assert '"error"' in text or "response.failed" in text, (api, name)


async def test_a_failure_before_the_first_content_leads_to_the_next_target(upstream):
    content = config(upstream, CLAUDE, LLAMA, model_aliases={"both": {"targets": ["a", "b"]}})
    for first in (
        stream(BEGIN, THROTTLED),
        failing(429, "ThrottlingException", "Too many requests"),
        failing(429, "ModelNotReadyException", "not ready"),
        failing(503, "ServiceUnavailableException", "no"),
    ):
        async with gateway(content) as running:
            upstream.script(first, stream(*GOOD))
            answer = await running.ask("both", stream=True)
            assert answer.status_code == 200
            assert "Hello" in answer.text
            assert [LLAMA in seen.path for seen in upstream.seen] == [False, True]


async def test_an_input_that_is_too_long_is_reported_in_the_clients_format(upstream):
    """crewAIInc/crewAI#7417."""
    async with gateway(config(upstream, CLAUDE)) as running:
        said = "Input Tokens Exceeded: Number of input tokens exceeds maximum length."
        for api in GOOD_END:
            upstream.script(failing(400, "ValidationException", said))
            answer = await running.ask("a", api)
            assert answer.status_code == 400, api
            words = "prompt is too long" if api == "messages" else "context_length_exceeded"
            assert words in answer.text, api


async def test_model_ids_are_escaped_in_the_path(upstream):
    """An ARN is one segment of the path (envoyproxy/ai-gateway#1332, crmne/ruby_llm#803)."""
    async with gateway(config(upstream, PROFILE)) as running:
        upstream.script(Raw(200, (("content-type", "application/json"),), (WHOLE,)))
        assert (await running.ask("a")).status_code == 200
        assert upstream.seen[0].path == f"/model/{PROFILE.replace('/', '%2F')}/converse"


async def test_a_model_that_caches_nothing_gets_cache_points_once(upstream):
    """BerriAI/litellm#39210, anomalyco/opencode#782."""
    marked = [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}]
    quirks = {"bedrock_family": "claude"}
    content = config(upstream, PROFILE)
    content["model_providers"][0]["quirks"] = quirks
    good = Raw(200, (("content-type", "application/json"),), (WHOLE,))
    async with gateway(content) as running:
        upstream.script(failing(403, "AccessDeniedException", UNCACHED), good, good)
        for _ in range(2):
            answer = await running.ask("a", "messages", messages=marked)
            assert answer.status_code == 200
        assert [b"cachePoint" in seen.body for seen in upstream.seen] == [True, False, False]
        for seen in upstream.seen:
            check(seen.json)
