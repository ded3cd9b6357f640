"""Responses that end properly, according to HTTP and to their API, but are empty."""

import json

import pytest

from loadtest.exchange.content import read_answer
from streams import event_stream
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.load_servers import HEAD, chunk, load, serving

SAME = {"id": "chatcmpl-1", "created": 1, "model": "m"}


def chat_stream(*choices: list[object], usage: bool = True) -> bytes:
    """Return a Chat stream with an event for each of these lists of choices, and with its end."""
    chunks = [{**SAME, "object": "chat.completion.chunk", "choices": one} for one in choices]
    if usage:
        counted = {"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10}
        chunks.append({**SAME, "object": "chat.completion.chunk", "choices": [], "usage": counted})
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks) + b"data: [DONE]\n\n"


def chat_whole(*choices: object) -> bytes:
    return json.dumps({**SAME, "object": "chat.completion", "choices": choices}).encode()


def choice(finish: str | None, **message: object) -> dict[str, object]:
    return {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}


def delta(finish: str | None, **said: object) -> list[object]:
    return [{"index": 0, "delta": said, "finish_reason": finish}]


async def run_of(body: bytes, **request: object):
    """Return the result of a run with one request, to which the server returns ``body``."""
    head = HEAD if request.get("stream", True) else HEAD.replace(b"text/event-stream", b"application/json")

    async def serve(stream, _):
        await stream.send_all(head + chunk(body) + b"0\r\n\r\n")

    async with serving(serve) as url:
        return await load(url, concurrency=1, count=1, **request)


STREAMS = {
    "no choice": chat_stream([]),
    "no chunk but the usage": chat_stream(),
    "a role and the end": chat_stream(delta(None, role="assistant", content="")),
    "an empty delta": chat_stream(delta(None, role="assistant"), delta(None), usage=False),
}


@each_row("body", STREAMS.values())
async def test_an_empty_stream_is_an_error(body):
    run = await run_of(body)
    (failure,) = run.tally.failures
    assert (failure.kind, failure.example) == ("empty answer", "the answer has neither content nor a finish reason")
    assert (run.tally.counts["whole"], run.tally.goodput) == (0, 0.0)


WHOLE = {
    "no choice": chat_whole(),
    "no content": chat_whole(choice(None, content=None)),
    "an empty text": chat_whole(choice("", content="")),
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
async def test_an_empty_whole_response_is_an_error(body):
    run = await run_of(body, stream=False)
    assert run.tally.counts["errors"] == 1
    assert run.tally.counts["good"] == 0


async def test_a_response_without_text_is_complete_if_it_has_a_finish_reason():
    for body, streamed in [
        (chat_stream(delta(None, role="assistant", content=""), delta("stop")), True),
        (chat_stream(delta(None, role="assistant", content="Hi")), True),  # Snowflake sends no finish reason
        (chat_whole(choice("stop", content="")), False),
        (chat_whole(choice("content_filter", content=None, refusal=None)), False),
    ]:
        with case((body, streamed)):
            run = await run_of(body, stream=streamed)
            assert run.tally.failures == []
            assert run.tally.counts["good"] == 1


async def test_a_prompt_that_gemini_blocks_counts_as_answered():
    body = b'{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}'
    assert read_answer("gemini", body, streamed=False).finish == "SAFETY"


async def test_an_exception_of_converse_is_an_error_event():
    body = event_stream.event_frame("messageStart", b'{"role":"assistant"}')
    body += event_stream.exception_frame("throttlingException", b'{"message":"Too many requests"}')
    run = await run_of(body, api="converse")
    (failure,) = run.tally.failures
    assert (failure.kind, failure.example) == ("error event: rate_limited", "Too many requests")
