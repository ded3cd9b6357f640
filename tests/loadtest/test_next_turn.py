"""Each turn of a conversation carries what this server answered (triton-inference-server/perf_analyzer#445,
vllm-project/guidellm#590)."""

import attrs
import msgspec
import pytest

from loadtest.plan.load_request import LoadRequest
from loadtest.requests.bodies import Bodies
from loadtest.requests.conversation import CannotContinue, TurnAnswer, next_body, referring_body, with_token_limit
from loadtest.requests.file_requests import token_limit_of
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.request import Request, TextPart, ToolResultPart
from providers.neutral.seal import Issuer
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import fold
from tests.support.each_row import each_row

SIGNED = {
    "chat": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "c2VhbA+/=", "index": 0}]},
    "messages": {"type": "thinking", "thinking": "Hm.", "signature": "c2VhbA+/="},
    "responses": {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbA+/="},
    "gemini": {"part": "functionCall", "id": "call_1", "signature": "c2VhbA+/="},
    "converse": {"reasoningText": {"text": "Hm.", "signature": "c2VhbA+/="}},
    "interactions": {"type": "thought", "signature": "c2VhbA+/="},
}
ASKED = {
    "chat": b'{"model":"m","messages":[ {"role":"user","content":"caf\\u00e9"} ],"top_p":1.0}',
    "messages": b'{"model":"m","messages":[ {"role":"user","content":"caf\\u00e9"} ],"top_p":1.0}',
    "responses": b'{"model":"m","input":[ {"role":"user","content":"caf\\u00e9"} ],"top_p":1.0}',
    "gemini": b'{"contents":[ {"role":"user","parts":[{"text":"caf\\u00e9"}]} ],"top_p":1.0}',
    "converse": b'{"messages":[ {"role":"user","content":[{"text":"caf\\u00e9"}]} ],"top_p":1.0}',
    "interactions": b'{"model":"m","input":[ {"type":"user_input","content":"caf\\u00e9"} ],"top_p":1.0}',
}
ANSWERED = {
    "chat": [
        {
            "role": "assistant",
            "content": "Let me look.",
            "reasoning_details": SIGNED["chat"]["reasoning_details"],
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"place": "Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
        {"role": "user", "content": "And Oslo?"},
    ],
    "messages": [
        {
            "role": "assistant",
            "content": [
                SIGNED["messages"],
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "call_1", "name": "look_up", "input": {"place": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "21 degrees"},
                {"type": "text", "text": "And Oslo?"},
            ],
        },
    ],
    "responses": [
        SIGNED["responses"],
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": '{"place": "Rome"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "21 degrees"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And Oslo?"}]},
    ],
    "gemini": [
        {
            "role": "model",
            "parts": [
                {"text": "Let me look."},
                {
                    "functionCall": {"id": "call_1", "name": "look_up", "args": {"place": "Rome"}},
                    "thoughtSignature": "c2VhbA+/=",
                },
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "call_1", "name": "look_up", "response": {"result": "21 degrees"}}},
                {"text": "And Oslo?"},
            ],
        },
    ],
    "converse": [
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": SIGNED["converse"]},
                {"text": "Let me look."},
                {"toolUse": {"toolUseId": "call_1", "name": "look_up", "input": {"place": "Rome"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "call_1", "content": [{"text": "21 degrees"}]}},
                {"text": "And Oslo?"},
            ],
        },
    ],
    "interactions": [
        SIGNED["interactions"],
        {"type": "model_output", "content": [{"type": "text", "text": "Let me look."}]},
        {"type": "function_call", "id": "call_1", "name": "look_up", "arguments": {"place": "Rome"}},
        {"type": "function_result", "call_id": "call_1", "name": "look_up", "result": "21 degrees"},
        {"type": "user_input", "content": [{"type": "text", "text": "And Oslo?"}]},
    ],
}


def answer_of(api: str, *, streamed: bool, state: object = None, called: bool = True) -> bytes:
    """What a server of ``api`` answers: reasoning, a text and a call."""
    events = [
        AnswerStart("resp_1", "m"),
        ReasoningDelta(0, "Hm."),
        ReasoningState(0, api, state or SIGNED[api]),
        BlockEnd(0),
        TextDelta(1, "Let me "),
        TextDelta(1, "look."),
        BlockEnd(1),
    ]
    if api == "responses":  # whose items are whole
        del events[1]
    if api == "gemini":  # whose calls are signed, and the text stands before them
        events = [
            events[0],
            TextDelta(0, "Let me look."),
            BlockEnd(0),
            ReasoningState(1, api, SIGNED[api]),
            BlockEnd(1),
        ]
    if called:
        events += [ToolCallStart(2, "call_1", "look_up"), ToolCallDelta(2, '{"place": "Rome"}'), BlockEnd(2)]
    events += [Usage(input=3, output=9), AnswerEnd("tool_calls" if called else "stop")]
    codec = CODECS[api]
    reply = Reply(Request(api, "m", (), stream=streamed, include_usage=True), Issuer("s", ""), 1)
    if not streamed:
        return codec.write_answer(fold(events), reply)
    writer = codec.writer(reply)
    return b"".join(map(writer.send, events))


@each_row("api", CODECS)
def test_the_next_turn_has_the_exact_answer_after_the_question(api):
    said = [ToolResultPart("call_1", (TextPart("21 degrees"),)), TextPart("And Oslo?")]
    for streamed in (True, False):
        answered = TurnAnswer.read(api, answer_of(api, streamed=streamed), streamed)
        assert [(call.id, call.name) for call in answered.calls] == [("call_1", "look_up")], streamed
        body = next_body(ASKED[api], answered, said)
        before, after = ASKED[api].split(b" ]")
        name = CODECS[api].wire.conversation.member
        assert body.startswith(before.replace(b"[ ", b"[") + b","), "what was asked stays as it was sent"
        assert body.endswith(after)
        new = msgspec.json.decode(body)[name][1:]
        assert new == ANSWERED[api], streamed
        CODECS[api].read_request({"model": "m", "max_tokens": 9, **msgspec.json.decode(body)})


@each_row(
    "input",
    [
        b'[{"type":"text","text":"caf\\u00e9"},{"type":"image","uri":"gs://b/a.png","mime_type":"image/png"}]',
        b'{"type":"text","text":"caf\\u00e9"}',
        b'"caf\\u00e9"',
    ],
)
def test_every_form_of_an_interactions_input_continues_as_steps(input):
    """Contents and steps cannot be in one list."""
    answered = TurnAnswer.read("interactions", answer_of("interactions", streamed=True, called=False), True)
    spoken = [b'{"type":"text","text":"And"}', b'{"type":"text","text":"Oslo?"}']
    body = next_body(b'{"model":"m","input":%b}' % input, answered, [], spoken)
    steps = msgspec.json.decode(body)["input"]
    assert [step["type"] for step in steps] == ["user_input", "thought", "model_output", "user_input"]
    assert [one["text"] for one in steps[-1]["content"]] == ["And", "Oslo?"]
    assert steps[0]["content"][0]["text"] == "café"
    assert len(steps[0]["content"]) == (2 if b"gs://" in input else 1)
    CODECS["interactions"].read_request(msgspec.json.decode(body))
    referred = referring_body(b'{"model":"m","input":%b}' % input, answered, [], spoken)
    assert msgspec.json.decode(referred)["input"] == steps[-1:]


def test_a_second_turn_follows_the_first():
    for api in CODECS:
        answered = TurnAnswer.read(api, answer_of(api, streamed=True, called=False), True)
        body = ASKED[api]
        for _ in range(3):
            body = next_body(body, answered, [TextPart("Go on.")])
        value = msgspec.json.decode(body)
        request = CODECS[api].read_request({"model": "m", "max_tokens": 9, **value})
        texts = [part.text for message in request.messages for part in message.parts if isinstance(part, TextPart)]
        assert texts == ["café", *["Let me look.", "Go on."] * 3], api


def test_reasoning_of_which_the_client_has_but_the_id_is_left_out():
    """Where nothing is stored, such an item is refused."""
    state = {"type": "reasoning", "id": "rs_1", "summary": []}
    answered = TurnAnswer.read("responses", answer_of("responses", streamed=False, state=state), False)
    items = msgspec.json.decode(next_body(b'{"input":"Hi","store":false}', answered, [TextPart("Go on.")]))["input"]
    assert [item["type"] for item in items] == ["message", "message", "function_call", "message"]
    assert items[0]["content"] == [{"type": "input_text", "text": "Hi"}]


def test_a_server_that_stores_turns_gets_only_the_new_input():
    answered = TurnAnswer.read("responses", answer_of("responses", streamed=True), True)
    said = [ToolResultPart("call_1", (TextPart("21 degrees"),))]
    value = msgspec.json.decode(referring_body(b'{"model":"m","input":"Hi","store":false,"tools":[]}', answered, said))
    result = {"type": "function_call_output", "call_id": "call_1", "output": "21 degrees"}
    assert value == {
        "model": "m", "input": [result], "store": True, "tools": [], "previous_response_id": answered.answer.start.id,
    }  # fmt: skip


def test_messages_of_a_file_are_sent_unchanged():
    answered = TurnAnswer.read("chat", answer_of("chat", streamed=True, called=False), True)
    said = b'{"role": "user", "content": [{"type": "text", "text": "caf\\u00e9", "x": 1.0}]}'
    assert next_body(ASKED["chat"], answered, (), [said]).endswith(said + b'],"top_p":1.0}')


def test_the_limit_of_an_answer_may_be_another_for_each_turn():
    for api in CODECS:
        request = LoadRequest("m", api=api, output=99)
        body = with_token_limit(api, Bodies(request).make_body("Hi", 99), 7)
        assert token_limit_of(msgspec.json.decode(body, type=dict[str, msgspec.Raw]), api) == 7
        assert b"99" not in body, api
        exact = with_token_limit(api, Bodies(attrs.evolve(request, exact=True)).make_body("Hi", 99), 7)
        assert b"99" not in exact, api
        assert with_token_limit(api, b'{"x":1}', 7) == b'{"x":1}', api


def test_an_empty_answer_has_no_message():
    for api in CODECS:
        reply = Reply(Request(api, "m", ()), Issuer("s", ""), 1)
        body = CODECS[api].write_answer(fold([AnswerStart("a", "m"), AnswerEnd("stop")]), reply)
        value = msgspec.json.decode(next_body(ASKED[api], TurnAnswer.read(api, body, False), [TextPart("Go on.")]))
        said = value[CODECS[api].wire.conversation.member]
        assert [one.get("role") or one["type"] for one in said] in (["user"] * 2, ["user_input"] * 2), api


def test_no_turn_follows_what_failed():
    for api in CODECS:
        whole = answer_of(api, streamed=True)
        for body, streamed in ((whole[: len(whole) // 2], True), (b"", True), (b"no", False), (b"{}", False)):
            with pytest.raises(CannotContinue):
                TurnAnswer.read(api, body, streamed)
    answered = TurnAnswer.read("chat", answer_of("chat", streamed=True), True)
    for before in (b"", b"[]", b"{}", b'{"messages": 1}'):
        with pytest.raises(CannotContinue):
            next_body(before, answered, [TextPart("Go on.")])
