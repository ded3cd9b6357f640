"""Thoughts with images, and calls with broken arguments, between Interactions and other APIs."""

import json

import attrs
import pytest

from gateway.streaming.translation import Translation
from providers.apis import CODECS
from providers.grammar import judge
from streams.errors import GatewayError
from streams.fold import fold
from tests.support.each_row import each_row
from tests.support.interactions_answers import begin, interaction, piece, stop, stream, text_step
from tests.support.lanes import events_of, hub_lane, reply_for
from tests.support.upstreams import Script, ToolCall

SOURCES = ("chat", "messages", "responses", "gemini", "converse")


def send(lane: Translation, pieces: list[bytes]) -> bytes:
    """Return what a client gets of a stream that arrives in ``pieces``."""
    return b"".join([*map(lane.feed, pieces), lane.end()])


IMAGE = {"type": "image", "data": "iVBORw0KGgo=", "mime_type": "image/png"}
SUMMARY = [{"type": "text", "text": "hm"}, IMAGE]
ILLUSTRATED = stream(
    begin(0, "thought", summary=SUMMARY[:1]), piece(0, type="thought_summary", content=IMAGE),
    piece(0, type="thought_signature", signature="c2ln"), stop(0), begin(1), piece(1, text="Hi"), stop(1),
)  # fmt: skip
EARLY = stream(begin(0, "thought", summary=[IMAGE]), stop(0), begin(1), piece(1, text="Hi"), stop(1))


@pytest.mark.parametrize("is_shown", [True, False])
def test_an_image_in_a_thought_reaches_interactions_clients_that_see_thoughts(is_shown):
    reply = reply_for("interactions")
    if not is_shown:
        request = CODECS["interactions"].read_request({"model": "asked", "input": "hi"})
        reply = attrs.evolve(reply, request=attrs.evolve(request, model="asked", stream=True))
    steps = [{"type": "thought", "signature": "c2ln", "summary": SUMMARY}, text_step("Hi")]
    written = CODECS["interactions"].write_answer(fold(CODECS["interactions"].read_answer(interaction(*steps))), reply)
    outs = [written, *(translate_stream(pieces, reply) for pieces in (ILLUSTRATED, EARLY))]
    for out in outs:
        assert (IMAGE["data"].encode() in out) is is_shown
        assert b"Hi" in out
    for out in outs[1:]:
        verdict = judge("interactions", out, streamed=True)
        assert (verdict.broken, verdict.outcome) == (None, "complete")
    assert b"c2ln" in written


def translate_stream(pieces, reply):
    """Return what an Interactions client gets of a stream of an Interactions provider, with its content decoded."""
    codec = CODECS["interactions"]
    return send(Translation(codec, codec.writer(reply), codec.wire, lambda error: error, 2**20), list(pieces))


@each_row("client", SOURCES)
def test_an_image_in_a_thought_does_not_disturb_other_clients(client):
    out = send(hub_lane("interactions", client), list(ILLUSTRATED))
    verdict = judge(client, out, streamed=True)
    assert (verdict.broken, verdict.outcome) == (None, "complete")
    assert all(text in out for text in (b"Hi", b"hm"))
    assert IMAGE["data"].encode() not in out


BROKEN = ('{"a":', "[1]", "x")


@each_row("arguments", BROKEN)
@each_row("source", ["chat", "responses"])
def test_a_streamed_call_with_broken_arguments_is_an_error_with_its_name(source, arguments):
    """And no end follows that a client takes for success."""
    call = ToolCall("call_1", "get_weather", arguments)
    lane = hub_lane(source, "interactions")
    out = send(lane, list(events_of(source, Script(text="Hi", calls=(call,), stop="tool_calls"))))
    verdict = judge("interactions", out, streamed=True)
    assert (verdict.broken, verdict.outcome) == (None, "failed")
    assert b"get_weather with arguments that are not a JSON object" in out.partition(b"event: error\n")[2]
    assert b"[DONE]" not in out
    assert lane.progress.error is not None


@pytest.mark.parametrize("source", ["chat", "responses"])
def test_a_call_that_the_limit_cut_off_is_no_error(source):
    call = ToolCall("call_1", "get_weather", '{"city": "Zü')
    out = send(hub_lane(source, "interactions"), list(events_of(source, Script(calls=(call,), stop="length"))))
    verdict = judge("interactions", out, streamed=True)
    assert (verdict.broken, verdict.outcome) == (None, "complete")
    assert b'"status":"incomplete"' in out


@each_row("arguments", BROKEN)
def test_a_whole_answer_with_broken_arguments_is_an_error_with_the_calls_name(arguments):
    """A program must not run such a call, and the API has only objects for it."""
    function = {"name": "get_weather", "arguments": arguments}
    message = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": function}]}
    for reason in ("tool_calls", "length"):
        body = {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}
        found = fold(CODECS["chat"].read_answer(json.dumps(body).encode()))
        if reason == "length":
            written = json.loads(CODECS["interactions"].write_answer(found, reply_for("interactions")))
            assert written["steps"][0]["arguments"] == {"_raw": arguments}
        else:
            with pytest.raises(GatewayError, match="get_weather with arguments that are not a JSON object"):
                CODECS["interactions"].write_answer(found, reply_for("interactions"))
