"""Answers that end with a word of their API for a failed answer: its own clients know the word and get every byte;
clients of other APIs get an error."""

import json
from typing import Any

from providers.apis import CODECS
from streams.events import APIS, ErrorInfo, Usage
from tests.support.each_row import each_row
from tests.support.gemini_answers import call, candidate, text
from tests.support.lanes import byte_lane, hub_lane
from tests.support.upstreams import converse_frame

COUNTS = {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}}


def gemini(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def converse(word: str, *, told: bool) -> bytes:
    delta = {"contentBlockIndex": 0, "delta": {"text": "Let me"}}
    usage = {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}
    frames = (
        ("messageStart", {"role": "assistant"}),
        *((("contentBlockDelta", delta), ("contentBlockStop", {"contentBlockIndex": 0})) if told else ()),
        ("messageStop", {"stopReason": word}),
        ("metadata", {"usage": usage}),
    )
    return b"".join(converse_frame(name, value) for name, value in frames)


def google(word: str, *, told: bool) -> bytes:
    said = (candidate(text("Let me")),) if told else ()
    return gemini(*said, candidate(call("gone", {"a": 1}), finishReason=word, finishMessage='an "error"'), COUNTS)


STREAMS = {
    (api, word, told): stream(word, told=told)
    for api, stream, words in (
        ("gemini", google, ("UNEXPECTED_TOOL_CALL", "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE",
                            "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS")),
        ("converse", converse, ("malformed_model_output", "malformed_tool_use")),
    )
    for word in words
    for told in (False, True)
}  # fmt: skip


@each_row(("api", "word", "told"), STREAMS)
def test_its_own_client_gets_every_byte_and_the_ledger_the_cost(api: str, word: str, told: bool):
    body = STREAMS[api, word, told]
    for size in (1, 7, len(body)):
        lane = byte_lane(api)
        out = b"".join(lane.feed(body[at : at + size]) for at in range(0, len(body), size)) + lane.end()
        assert out == body
        assert (lane.progress.error.reason, word in lane.progress.error.message) == ("bad_answer", True)
        assert lane.progress.committed
        assert (lane.progress.usage.prompt, lane.progress.usage.output) == (9, 4)


@each_row(("api", "word", "told"), STREAMS)
def test_clients_of_other_apis_get_an_error_and_no_call(api: str, word: str, told: bool):
    for client in set(APIS) - {api}:
        lane = hub_lane(api, client)
        out = lane.feed(STREAMS[api, word, told]) + lane.end()
        assert lane.progress.error is not None
        assert lane.progress.committed == told
        assert b"gone" not in out
        assert lane.progress.usage.output == 4


@each_row(("api", "word", "told"), STREAMS)
def test_a_connection_cut_after_the_finish_reason_is_reported(api: str, word: str, told: bool):
    cut = ErrorInfo("upstream", "cut", reason="connection")
    lane = byte_lane(api)
    data = STREAMS[api, word, told]
    shown = lane.feed(data[: data.index(word.encode())])
    out = lane.end(cut)
    assert data.startswith(shown)
    assert out
    assert lane.progress.error == cut


def test_whole_answers_are_billed():
    bodies = {
        "gemini": candidate(call("gone"), finishReason="UNEXPECTED_TOOL_CALL") | COUNTS,
        "converse": {
            "output": {"message": {"role": "assistant", "content": [{"text": "Let me"}]}},
            "stopReason": "malformed_tool_use",
            "usage": {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13},
        },
    }
    for api, body in bodies.items():
        events = CODECS[api].read_answer(json.dumps(body).encode())
        (usage,) = {event for event in events if isinstance(event, Usage)}
        assert (usage.prompt, usage.output) == (9, 4), api
        assert isinstance(events[-1], ErrorInfo)
        assert events[-1].native, api
