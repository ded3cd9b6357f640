"""Claude on other platforms, over real sockets: the Messages API in the format of each platform."""

import base64
import json
from typing import Any

from streams import event_stream
from tests.support.bare_provider import response
from tests.support.each_row import each_row
from tests.support.in_process import CountingProvider, gateway, providers
from tests.support.upstreams import Script, messages_answer, messages_stream

BETAS = (
    ("anthropic-version", "2023-06-01"),
    ("anthropic-beta", "interleaved-thinking-2025-05-14, context-1m-2025-08-07"),
)
VERTEX = "/v1/projects/acme/locations/global/publishers/anthropic/models"
METRICS = {"inputTokenCount": 3, "outputTokenCount": 4, "invocationLatency": 900, "firstByteLatency": 300}


class Platform(CountingProvider):
    """A stand-in for Claude on Vertex, with SSE, and on Bedrock, with the same events as base64 in frames."""

    breaks: tuple[bytes, ...] | None = None
    """The end of a stream in place of its last events."""

    def _answer(self, path: str, body: bytes) -> bytes:
        said = json.loads(body)
        script = Script(text="Hello there.")
        asked = {**said, "model": "claude"}
        if path.endswith("count-tokens:rawPredict"):
            return whole({"input_tokens": 42})
        if path.endswith(":streamRawPredict"):
            return response(200, b"".join(messages_stream(script, asked)), "text/event-stream")
        if path.endswith("-stream"):
            events = [frame(one) for one in messages_stream(script, asked)]
            sent = events if self.breaks is None else [*events[:4], *self.breaks]
            return response(200, b"".join(sent), event_stream.MEDIA_TYPE)
        return whole(messages_answer(script, "claude"))


def whole(answer: Any) -> bytes:
    return response(200, json.dumps(answer).encode())


def frame(event: bytes) -> bytes:
    """Return the frame of InvokeModel for ``event``; the last event also has the platform's measurements."""
    data = json.loads(event.partition(b"data: ")[2])
    if data["type"] == "message_stop":
        data["amazon-bedrock-invocationMetrics"] = METRICS
    inner = base64.b64encode(json.dumps(data).encode()).decode()
    return event_stream.event_frame("chunk", json.dumps({"bytes": inner, "p": "abcdef"}).encode())


def config(place: CountingProvider) -> dict[str, Any]:
    at = {"base_url": place.url, "access_key": "token"}
    return {
        "version": "v0.4.0",
        "model_providers": [
            {"model": "vertex/*", "project": "acme", "location": "global", **at},
            {"model": "bedrock_invoke/*", "region": "eu-west-1", **at},
        ],
    }


def of(place: CountingProvider) -> Platform:
    place.__class__ = Platform
    return place


async def test_claude_on_vertex_has_its_model_in_the_path_and_its_version_in_the_body():
    # (api7/aisix#443, BYK/loreai#987, clawvisor/clawvisor#156)
    async with providers(1) as (one,), gateway(config(one)) as running:
        place = of(one)
        for api in ("messages", "chat", "responses"):
            for stream in (False, True):
                model = "vertex/claude-opus-4-5@20251101"
                answer = await running.ask(model, api, stream=stream, headers=BETAS)
                assert answer.status_code == 200, answer.text
                ending = "streamRawPredict" if stream else "rawPredict"
                assert place.asked.pop() == f"{VERTEX}/claude-opus-4-5@20251101:{ending}", (api, stream)
                body, sent = json.loads(place.bodies.pop()), place.heads.pop().lower()
                assert body["anthropic_version"] == "vertex-2023-10-16"
                assert not {"model", "stream", "anthropic_beta"} & body.keys()
                assert b"anthropic-version" not in sent
                assert (b"anthropic-beta: interleaved-thinking" in sent) == (api == "messages")
                assert answer.headers["x-trigate-lane"] == ("byte" if api == "messages" else "hub")


async def test_tokens_are_counted_at_vertex_next_to_the_models():
    async with providers(1) as (one,), gateway(config(one)) as running:
        place = of(one)
        answer = await running.count_tokens("vertex/claude-opus-4-5@20251101")
        assert (answer.json()["input_tokens"], place.asked) == (42, [f"{VERTEX}/count-tokens:rawPredict"])
        body = json.loads(*place.bodies)
        assert (body["model"], body["anthropic_version"]) == ("claude-opus-4-5@20251101", "vertex-2023-10-16")


async def test_an_invoked_claude_has_its_betas_in_the_body_and_its_events_in_frames():
    model = "eu.anthropic.claude-opus-4-5-20251101-v1:0"
    async with providers(1) as (one,), gateway(config(one)) as running:
        place = of(one)
        for api in ("messages", "chat", "responses"):
            for stream in (False, True):
                answer = await running.ask(f"bedrock_invoke/{model}", api, stream=stream, headers=BETAS)
                assert answer.status_code == 200, answer.text
                ending = "invoke-with-response-stream" if stream else "invoke"
                assert place.asked.pop() == f"/model/{model}/{ending}", (api, stream)
                body, sent = json.loads(place.bodies.pop()), place.heads.pop().lower()
                assert body["anthropic_version"] == "bedrock-2023-05-31"
                assert not {"model", "stream"} & body.keys()
                assert b"anthropic-version" not in sent
                assert b"anthropic-beta" not in sent
                if api == "messages":
                    assert body["anthropic_beta"] == ["interleaved-thinking-2025-05-14", "context-1m-2025-08-07"]
                if stream:
                    assert answer.headers["content-type"].startswith("text/event-stream")
                    assert b"application/vnd.amazon.eventstream" in sent
                assert "Metrics" not in answer.text
        streamed = await running.ask(f"bedrock_invoke/{model}", "messages", stream=True)
        expected = b"".join(messages_stream(Script(text="Hello there."), {"model": "claude"}))
        assert [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: ")] == [
            json.loads(line[6:]) for line in expected.decode().splitlines() if line.startswith("data: ")
        ]


EXCEPTION = event_stream.exception_frame("throttlingException", b'{"message":"Too many tokens"}')


@each_row(("breaks", "words"), [((EXCEPTION,), "Too many tokens"), ((EXCEPTION[:-9],), ""), ((), "")])
async def test_an_invoked_stream_that_breaks_is_an_error_of_the_clients_api(breaks, words):
    # (aaif-goose/goose#9579, crmne/ruby_llm#871)
    async with providers(1) as (one,), gateway(config(one)) as running:
        place = of(one)
        place.breaks = breaks
        for api in ("messages", "chat"):
            answer = await running.ask("bedrock_invoke/anthropic.claude-opus-5-5", api, stream=True)
            last = [line for line in answer.text.splitlines() if line.startswith("data: ")][-1]
            assert json.loads(last[6:])["error"]["message"], answer.text
            assert words in last
            assert "message_stop" not in answer.text


async def test_token_counts_that_a_platform_lacks_are_estimated():
    async with providers(1) as (one,), gateway(config(one)) as running:
        place = of(one)
        answer = await running.count_tokens("bedrock_invoke/anthropic.claude-opus-5-5")
        assert (answer.headers["x-trigate-estimated"], answer.headers["x-trigate-lane"]) == ("1", "byte")
        assert place.asked == []
