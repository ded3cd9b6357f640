"""Tool calls for Chat clients: custom tools and legacy functions."""

import json

from hypothesis import given
from hypothesis import strategies as st

from providers.chat import CHAT
from providers.chat.reading import Nesting
from providers.messages import MESSAGES
from providers.neutral.codec import Reply
from providers.neutral.request import (
    ImagePart,
    MediaSource,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from providers.neutral.seal import Issuer
from providers.neutral.tool_names import short_call_id, unwrap_text, wrap_text
from providers.responses import RESPONSES
from streams.events import AnswerEnd, BlockEnd, ToolCallDelta, ToolCallStart
from streams.fold import fold
from streams.structure import PIECE
from tests.support.block_events import call_events
from tests.support.cases import case
from tests.support.chat_wire import USER, assistant, chat_request, deltas, encode_request, user
from tests.support.each_row import each_row
from tests.support.growth import steps

LEGACY = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "functions": [{"name": "f", "parameters": {"type": "object"}}],
}
ONE_CALL = [*call_events(0, '{"x":', "1}", id="a"), AnswerEnd("tool_calls")]


def translate_answer(request: Request, events: list) -> tuple[list[dict], dict]:
    """Return a stream's deltas and a whole answer's choice, as the client of ``request`` gets them."""
    reply = Reply(request, Issuer("p", ""), 1)
    writer = CHAT.writer(reply)
    stream = b"".join(map(writer.send, events))
    return deltas(stream), json.loads(CHAT.write_answer(fold(events), reply))["choices"][0]


def test_a_client_with_functions_gets_function_call():
    call = CHAT.read_request(LEGACY)
    parts, choice = translate_answer(call, ONE_CALL)
    assert parts == [
        {"role": "assistant", "content": None},
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"x":'}},
        {"function_call": {"arguments": "1}"}},
        {},
    ]
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "function_call": {"name": "f", "arguments": '{"x":1}'},
    }
    assert choice["finish_reason"] == "function_call"


def test_a_legacy_client_gets_only_the_first_call():
    call = CHAT.read_request(LEGACY)
    assert encode_request(call)[0]["parallel_tool_calls"] is False
    events = [*ONE_CALL[:-1], *call_events(1, "{}", id="b", name="g"), AnswerEnd("tool_calls")]
    parts, choice = translate_answer(call, events)
    assert parts == translate_answer(call, ONE_CALL)[0]
    assert choice["message"]["function_call"]["name"] == "f"


def test_a_custom_tool_gets_its_text_from_a_provider_that_knows_functions_only():
    """Models wrap the text, wrap it under another name, or forget to (router-for-me/CLIProxyAPI#5753)."""
    for arguments, text in [
        ('{"input":"*** Begin\\n"}', "*** Begin\n"),
        ('{"patch":"*** Begin"}', "*** Begin"),
        ("bare text", "bare text"),
        ("", ""),
        ("[" * 5000, "[" * 5000),
    ]:
        with case((arguments, text)):
            call = chat_request(tools=[{"type": "custom", "custom": {"name": "patch"}}])
            pieces = [ToolCallDelta(0, arguments[i : i + 7]) for i in range(0, len(arguments), 7)]
            events = [ToolCallStart(0, "a", "patch"), *pieces, BlockEnd(0), AnswerEnd("tool_calls")]
            parts, choice = translate_answer(call, events)
            opening = {
                "tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}}]
            }
            rest = [{"tool_calls": [{"index": 0, "custom": {"input": text}}]}] if text else []
            assert parts == [{"role": "assistant", "content": None}, opening, *rest, {}]
            assert choice["message"]["tool_calls"] == [
                {"id": "a", "type": "custom", "custom": {"name": "patch", "input": text}}
            ]


def test_custom_tools_of_other_apis_are_sent_as_functions():
    """Most servers know functions only; Codex's apply_patch must work there (BerriAI/litellm#31571,
    decolua/9router#1371, MetaFARS/codex-relay#37)."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    call = Request(
        "responses",
        "m",
        (
            USER,
            assistant(ToolCallPart("a", "patch", 'say "hi"\n', "custom")),
            user(ToolResultPart("a", (TextPart("done"),), kind="custom")),
        ),
        tools=(Tool("patch", "Edits.", kind="custom", format=grammar, at="tools[0]"), Tool("g", kind="custom")),
        tool_choice=ToolChoice("tool", "patch", "custom"),
    )
    body, dropped = encode_request(call)
    about = body["tools"][0]["function"]
    assert about["parameters"]["required"] == ["input"]
    assert about["description"] == "Edits.\n\nThe input must follow this lark grammar:\nstart: /x/"
    assert "description" not in body["tools"][1]["function"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
    (sent_call,) = body["messages"][1]["tool_calls"]
    assert sent_call["type"] == "function"
    assert json.loads(sent_call["function"]["arguments"]) == {"input": 'say "hi"\n'}
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "a", "content": "done"}
    assert dropped == ("tools[].format",)


def test_a_strict_tool_of_an_openai_client_stays_unchanged():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    assert encode_request(chat_request(tools=[tool])) == ({**encode_request(chat_request())[0], "tools": [tool]}, ())


@each_row("kind", ["function", "custom"])
def test_an_id_that_is_too_long_for_openai_is_shortened_in_call_and_result_alike(kind):
    """ "Expected a string with maximum length 64" (openclaw/openclaw#875, RooCodeInc/Roo-Code#10763)."""
    ids = ["x" * 99 + "a", "x" * 99 + "b", "y" * 64]
    picture = ImagePart(MediaSource("url", "https://a"))
    calls = assistant(*(ToolCallPart(id, "f", "{}", kind) for id in ids))
    body, dropped = encode_request(
        Request("messages", "m", (calls, user(*(ToolResultPart(id, (picture,), kind=kind) for id in ids))))
    )
    said, *results, media = body["messages"]
    written = [call["id"] for call in said["tool_calls"]]
    assert written == [result["tool_call_id"] for result in results]
    assert written == [short_call_id(id) for id in ids]
    assert [part["text"] for part in media["content"][::2]] == [f"Image from tool {id}:" for id in written]
    assert dropped == ()


@given(st.text())
def test_unwrapping_reverses_wrapping(text):
    assert unwrap_text(wrap_text(text)) == text


def test_tools_keep_their_order_and_strict_only_where_it_was_given():
    """The order of tools is part of the cached prefix, and hints of other APIs never get into the schema
    (BerriAI/litellm#22878, router-for-me/CLIProxyAPI#1725)."""
    schema = {"$schema": "https://json-schema.org/draft-07", "type": "object", "properties": {"z": {}, "a": {}}}
    tools = [
        {"name": "z", "input_schema": schema, "defer_loading": False, "input_examples": [{"z": 1}]},
        {"name": "a", "input_schema": schema, "cache_control": {"type": "ephemeral"}, "strict": True},
    ]
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    out, dropped = encode_request(MESSAGES.read_request(body))
    assert out["tools"] == [
        {"type": "function", "function": {"name": "z", "parameters": schema}},
        {"type": "function", "function": {"name": "a", "parameters": schema}},
    ]
    assert list(out["tools"][0]["function"]["parameters"]["properties"]) == ["z", "a"]
    assert {"tools[].cache_control", "tools[].strict"} <= set(dropped)
    responses = {"model": "m", "input": "hi", "tools": [{"type": "function", "name": "f", "parameters": {}}]}
    assert "strict" not in encode_request(RESPONSES.read_request(responses))[0]["tools"][0]["function"]


objects = st.dictionaries(
    st.text(max_size=4),
    st.recursive(st.text(max_size=6) | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3)),
    max_size=3,
)


@given(objects, st.data())
def test_an_object_is_whole_at_its_last_brace_and_not_before(value, data):
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=4)))
    nesting = Nesting()
    assert not nesting.is_incomplete
    assert not nesting.is_complete
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        nesting.add(text[start:end])
        assert nesting.is_complete == (end == len(text))
        assert nesting.is_incomplete == (end < len(text))


@each_row("mark", ['"', "[", "{}", "\\\\", '\\"', '"]"'])
def test_brackets_are_not_scanned_one_by_one(mark):
    """A provider may send megabytes of them in one event, while which no other stream moves (CWE-407)."""
    text = mark * 50_000
    assert sum(steps(lambda: Nesting().add(text)).values()) < 2 * len(text)


@each_row("shift", [0, 1])
def test_an_escape_may_lie_anywhere_in_a_long_text(shift):
    nesting = Nesting()
    nesting.add('{"a":"' + "x" * shift + '\\"{' * PIECE)
    assert nesting.is_incomplete
    nesting.add('"}')
    assert nesting.is_complete


def test_custom_tools_of_chat_clients_are_sent_unchanged():
    """Who speaks Chat and declares a custom tool knows its provider; a flat one is accepted and nested
    (BerriAI/litellm#34029)."""
    call = chat_request(tools=[{"type": "custom", "name": "g"}], tool_choice={"type": "custom", "name": "g"})
    body, dropped = encode_request(call)
    assert body["tools"] == [{"type": "custom", "custom": {"name": "g"}}]
    assert body["tool_choice"] == {"type": "custom", "custom": {"name": "g"}}
    assert dropped == ()
