"""Moderation results of OpenAI's answers reach clients of its other API in that API's own form, streamed and whole (the
types ``Moderation`` of openai-python 3.54)."""

import json
from itertools import product
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from providers.apis import CODECS
from streams.events import AnswerEnd, AnswerStart, BlockEnd, Event, TextDelta, Usage
from streams.fold import fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.lanes import reply_for
from tests.support.provider_streams import read_either

ERROR = {"type": "error", "code": "unavailable", "message": "no moderation"}


def result(*, flagged: bool = False) -> dict[str, Any]:
    return {
        "type": "moderation_result", "model": "omni-moderation-latest", "flagged": flagged,
        "categories": {"violence": flagged}, "category_scores": {"violence": 0.5},
        "category_applied_input_types": {"violence": ["text"]},
    }  # fmt: skip


def envelope(*results: dict[str, Any]) -> dict[str, Any]:
    return {"type": "moderation_results", "model": "omni-moderation-latest", "results": list(results)}


def events_with(moderation: Any) -> list[Event]:
    end = AnswerEnd("stop", moderation=moderation)
    return [AnswerStart("a", "m"), TextDelta(0, "Hello"), BlockEnd(0), Usage(input=3, output=1), end]


def write_body(api: str, moderation: Any, *, stream: bool) -> bytes:
    codec, events = CODECS[api], events_with(moderation)
    if not stream:
        return codec.write_answer(fold(events), reply_for(api))
    writer = codec.writer(reply_for(api))
    return b"".join(map(writer.send, events))


def typed_moderation(api: str, body: bytes, *, stream: bool) -> Any:
    """Return the moderation that the SDK's strict types read from ``body``."""
    if not stream:
        kind = ChatCompletion if api == "chat" else Response
        return kind.model_validate(json.loads(body)).moderation
    data = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
    if api == "chat":
        chunks = [ChatCompletionChunk.model_validate(one) for one in data]
        return next((one.moderation for one in chunks if one.moderation is not None), None)
    return Response.model_validate(data[-1]["response"]).moderation


def test_moderation_reaches_the_other_api():
    for stream in [False, True]:
        for source in ["chat", "responses"]:
            for client in ["chat", "responses"]:
                for moderation in [
                    {"input": result(), "output": result(flagged=True)},
                    {"input": result(), "output": ERROR},
                ]:
                    with case((stream, source, client, moderation)):
                        provided = write_body(source, moderation, stream=stream)
                        end = read_either(CODECS[source], provided)[-1]
                        assert isinstance(end, AnswerEnd)
                        body = write_body(client, end.moderation, stream=stream)
                        assert end.moderation == moderation
                        found = typed_moderation(client, body, stream=stream)
                        expected = (
                            moderation
                            if client == "responses"
                            else {side: chat_form(one) for side, one in moderation.items()}
                        )
                        assert found.to_dict() == expected


def chat_form(side: dict[str, Any]) -> dict[str, Any]:
    return side if side["type"] == "error" else envelope(side)


@each_row("api, stream", product(CODECS, [False, True]))
def test_an_answer_without_moderation_has_no_such_member(api, stream):
    assert b"moderation" not in write_body(api, None, stream=stream)


def test_the_flagged_one_of_several_results_is_reported():
    body = {"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
            "moderation": {"input": envelope(result(), result(flagged=True)), "output": envelope()}}  # fmt: skip
    end = CODECS["chat"].read_answer(json.dumps(body).encode())[-1]
    assert isinstance(end, AnswerEnd)
    assert end.moderation == {"input": result(flagged=True), "output": None}


def test_malformed_results_break_no_answer():
    for value in [1, "x", [], {}, {"input": 3}, {"input": {"results": 1}}, {"output": None}]:
        for api in ["chat", "responses"]:
            with case((value, api)):
                provided = json.loads(write_body(api, None, stream=False))
                events = CODECS[api].read_answer(json.dumps(provided | {"moderation": value}).encode())
                end = events[-1]
                assert isinstance(end, AnswerEnd)
                for client in CODECS:
                    for stream in (False, True):
                        assert b"Hello" in write_body(client, end.moderation, stream=stream)
