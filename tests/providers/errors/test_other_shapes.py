"""Other shapes of requests, for servers that reject the client's.

``tests/gateway/exchange/test_recoveries.py`` sends such requests.
"""

import base64
import itertools
import json
from typing import Any

from providers.errors.call_signatures import replace_signatures
from providers.errors.long_tool_names import own_names, shorten
from providers.errors.member_paths import WHOLE, WHOLE_WITH_TOOLS
from providers.errors.other_shapes import EFFORT_LEVELS, OTHER_SHAPES, OUTPUT_LIMIT, find_shape
from providers.neutral.schemas import describe_limits
from providers.neutral.tool_names import CALLED_BEFORE, LONG_NAME, STRICT, restore_in_json, short_name
from tests.support.each_row import each_row

USER = {"role": "user", "content": "hi"}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}}
ANSWER_CONFIG = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
BOUNDED = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9}}}
KEPT = {
    "type": "array", "minItems": 1, "items": {"type": "string", "format": "email", "pattern": "^a+$", "title": "t"},
    "enum": [{"minimum": 1}], "default": {"maximum": 1},
}  # fmt: skip
TYPELESS = {"oneOf": [{"type": "object", "properties": {}}]}


def spec(schema: Any) -> dict[str, Any]:
    return {"toolSpec": {"name": "f", "inputSchema": {"json": schema}}}


OTHER_TOOLS: list[Any] = [
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]},
    {"tools": [{"type": "web_search"}, "x", {"type": "function", "function": {"name": "f", "parameters": "x"}}]},
    {"tools": "x"},
    {"toolConfig": "x"},
    {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": "x"}}, {"toolSpec": "x"}, "x"]}},
]
OTHER_TURNS: list[Any] = [
    {"messages": [{"role": "tool", "tool_call_id": "a1B2c3D4e", "content": "3"},
                  {"role": "assistant", "content": "3"}, "x"]},
    {"messages": [{"role": "assistant", "tool_calls": [{"id": "a1B2c3D4e"}, {"id": None}, "x"]}]},
    {"messages": "hi"}, {"messages": None},
]  # fmt: skip
CALLED, ANSWERED = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {
    "type": "function_call_output", "call_id": "c", "name": "f", "output": "3",
}  # fmt: skip
SEALED_THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AY89a18I"}
OTHERS: list[tuple[tuple[str, ...], list[Any]]] = [
    ((":thinking", "thinking"), [{"tool_choice": "required", "thinking": {"type": "disabled"}}, {"tool_choice": "auto"},
                {"tool_choice": {"type": "auto"}}, {"tool_choice": None}, {"tool_choice": {}}]),
    *((shape, [{"messages": [USER]}, {"generationConfig": "x", "output_config": {"format": {}}}])
      for shape in itertools.product([":thinking"], ["unsupported", "effort", "adaptive", "disabled"])),
    ((":thinking", "not adaptive"), [{"thinking": {"type": "enabled"}, "output_config": {"effort": "high"}},
                                     {"thinking": "x"}]),
    ((":thinking", "not disabled"), [{"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
                                     {"thinking": "x"}]),
    ((":thinking", "levels"), [{"reasoning_effort": "none"}, {"thinking": "x"}]),
    ((":sampling",), [{"temperature": 1}, {"top_p": 1}, {"temperature": 1, "top_p": None},
                          {"inferenceConfig": {"topP": 1}}]),
    ((OUTPUT_LIMIT, "10"), [
        {"max_tokens": 11, "thinking": {"type": "enabled", "budget_tokens": 10}},
        {"max_tokens": "11", "max_output_tokens": None, "generationConfig": []}, {"max_tokens": 10},
    ]),
    ((":user", "id"), [{"metadata": metadata} for metadata in ({"user_id": "a1"}, {"user_id": 7}, {}, "x", None)]),
    ((":system", "role"), [{"messages": messages} for messages in ([USER, "x", {"role": ["system"]}], "hi", None)]),
    ((":schema",), [
        {"messages": [USER], "response_format": {"type": "json_object"}},
        {"messages": [USER], "response_format": "json_schema"}, {"messages": "hi", "response_format": FORMAT},
        {"messages": [USER]},
    ]),
    ((":schema",), [
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"temperature": 1}},
        *({"contents": contents, "generationConfig": {"responseSchema": {"type": "object"}}} for contents in (
            None, [], ["x"], [{"role": "user"}], [{"role": "model", "parts": [{"text": "hi"}]}],
        )),
    ]),
    ((":schema", "answer"), [
        {"messages": [USER], "output_config": {"effort": "low"}}, {"messages": "hi", "output_config": ANSWER_CONFIG},
        {"messages": [USER], "outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": "{"}}}}},
        *({"messages": messages, "output_config": ANSWER_CONFIG} for messages in (
            [], ["x"], [{"role": "user"}], [{"role": "assistant", "content": "a"}],
        )),
        {"output_config": ANSWER_CONFIG},
    ]),
    ((":thinking", "encrypted"), [{"include": ["message.output_text.logprobs"]}, {"include": None}, {"include": "x"}]),
    (WHOLE, [{"stream": False, "stream_options": {}}, {"stream": None}]),
    (WHOLE_WITH_TOOLS, [{"stream": True}, {"stream": True, "tools": []}, {"tools": [{}]}]),
    ((":schema", "limits"), [
        {"tools": [{"name": "f", "input_schema": BOUNDED}, {"name": "f", "input_schema": BOUNDED, "strict": False},
                   "x"]},
        {"output_config": {"format": {"type": "json_schema", "schema": KEPT}, "effort": "high"}},
        {"output_format": {"type": "json_schema", "schema": True}},
        {"outputConfig": {"textFormat": {"structure": {"jsonSchema": {"schema": "{"}}}}},
        {"output_config": "x", "output_format": None, "tools": None, "toolConfig": {"tools": 1}, "text": {"format": 1}},
        {"response_format": {"type": "json_schema", "json_schema": "x"}, "minimum": 1},
    ]),
    *((shape, OTHER_TOOLS) for shape in ((":tools", "incomplete"), (":tools", "combined"), (":tools", "patterns"))),
    ((":reasoning",), [
        {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}, {"role": "user"}, None]},
        {"messages": "a"},
    ]),
    ((":reasoning", "null"), [{"input": items} for items in ([SEALED_THOUGHT, {**ITEM, "id": None}, "x"], "hi", None)]),
    *((shape, OTHER_TURNS) for shape in ((":calls", "ids"), (":calls", "order"))),
    ((":turns", "last"), [
        {"messages": [USER]}, {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1"}]}]},
        {"messages": [{"role": "assistant", "content": [{"toolUse": {"toolUseId": "1"}}]}]},
        {"input": [{"type": "function_call"}]}, {"input": "hi"}, {"messages": []},
    ]),
    ((":items", "agents"), [
        {"input": [CALLED, ANSWERED, ITEM, "x", {"type": "function_call_output", "output": "3"}]}, {"input": "hi"},
        {"input": None},
    ]),
]  # fmt: skip


@each_row(("path", "bodies"), OTHERS)
def test_other_bodies_stay(path, bodies):
    shape = find_shape(path)
    assert [shape.change(body) for body in (*bodies, {})] == [{}] * (len(bodies) + 1)


NESTED = {"properties": {"a": {"type": ["array", "null"]}, "b": {"anyOf": [{"type": "object"}, {"type": "array"}]}}}
COMPLETE = {
    "type": "object",
    "properties": {
        "a": {"type": ["array", "null"], "items": {}},
        "b": {"anyOf": [{"type": "object", "properties": {}}, {"type": "array", "items": {}}]},
    },
}
FUNCTION = {"type": "function", "name": "f"}


@each_row(
    ("path", "body", "changed"),
    [
        ((":thinking", "thinking"), {"tool_choice": "required"}, {"thinking": {"type": "disabled"}}),
        ((":thinking", "enable_thinking"), {"tool_choice": {"type": "any"}, "reasoning_effort": "low"},
         {"enable_thinking": False, "reasoning_effort": None}),
        ((":thinking", "unsupported"),
         {"generationConfig": {"thinkingConfig": {"thinkingLevel": "high"}, "temperature": 1}},
         {"generationConfig": {"temperature": 1}}),
        ((":thinking", "effort"), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high", "format": {}}},
         {"output_config": {"format": {}}}),
        ((":thinking", "adaptive"), {"thinking": {"type": "enabled", "budget_tokens": 9, "display": "summarized"}},
         {"thinking": {"type": "adaptive", "display": "summarized"}}),
        ((":thinking", "levels"), {"reasoning": {"effort": "high"}}, {"reasoning": None}),
        ((":thinking", "not adaptive"), {"reasoning_effort": "high"}, {"reasoning_effort": None}),
        ((":thinking", "not disabled"), {"reasoning_effort": "none"}, {"reasoning_effort": None}),
        ((":thinking", "encrypted"), {"include": ["reasoning.encrypted_content"]}, {"include": None}),
        ((":thinking", "encrypted"), {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
         {"include": ["message.output_text.logprobs"]}),
        ((OUTPUT_LIMIT, "10"), {"max_tokens": 9, "max_completion_tokens": 11}, {"max_completion_tokens": 10}),
        ((OUTPUT_LIMIT, "10"), {"inferenceConfig": {"maxTokens": 11, "topP": 1}},
         {"inferenceConfig": {"maxTokens": 10, "topP": 1}}),
        ((OUTPUT_LIMIT, "10"), {"generationConfig": {"maxOutputTokens": 11}},
         {"generationConfig": {"maxOutputTokens": 10}}),
        ((OUTPUT_LIMIT, "10"), {"max_tokens": 11, "thinking": {"type": "enabled", "budget_tokens": 9}},
         {"max_tokens": 10}),
        ((":tools", "incomplete"), {"tools": [{"type": "namespace", "tools": [{**FUNCTION, "parameters": NESTED}]}]},
         {"tools": [{"type": "namespace", "tools": [{**FUNCTION, "parameters": COMPLETE}]}]}),
        ((":tools", "incomplete"),
         {"toolConfig": {"tools": [spec(TYPELESS), {"cachePoint": {}}], "toolChoice": {"any": {}}}},
         {"toolConfig": {"tools": [spec({"type": "object", "properties": {}, **TYPELESS}), {"cachePoint": {}}],
                         "toolChoice": {"any": {}}}}),
        ((":items", "agents"),  # text that only OpenAI can read
         {"input": [{"type": "agent_message",
                     "content": [{"type": "encrypted_content", "encrypted_content": "gAAAAABq_-x=="}]}]},
         {"input": [{**ITEM, "content": [{"type": "input_text", "text": "(no text)"}]}]}),
    ],
)  # fmt: skip
def test_only_the_rejected_part_changes(path, body, changed):
    shape = find_shape(path)
    assert shape.change(body) == changed


def test_the_instruction_precedes_the_beginning_of_an_answer():
    begun = [USER, {"role": "assistant", "content": "{"}]
    shape = find_shape((":schema",))
    changed = shape.change({"messages": begun, "response_format": {"type": "json_schema", "json_schema": None}})
    assert [message["role"] for message in changed["messages"]] == ["user", "system", "assistant"]


@each_row(
    "schema", [{"format": ["x"]}, {"pattern": 3}, {"minItems": {}}, {"maximum": None}, {"oneOf": 1}, [], "x", None]
)
def test_schemas_that_are_invalid_do_no_harm(schema):
    describe_limits(schema)


@each_row(
    ("levels", "body", "changed", "at"),
    [
        ("low,medium,high", {"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}, "reasoning_effort=high"),
        ("high", {"reasoning_effort": "low"}, {"reasoning_effort": "high"}, "reasoning_effort=high"),
        ("low,high", {"reasoning_effort": "none"}, {"reasoning_effort": None}, "reasoning_effort"),
        (
            "low,medium,high,max",
            {"output_config": {"effort": "xhigh", "format": {}}},
            {"output_config": {"effort": "high", "format": {}}},
            "output_config.effort=high",
        ),
        (
            "low,medium,high",
            {"reasoning": {"effort": "minimal", "summary": "auto"}},
            {"reasoning": {"effort": "low", "summary": "auto"}},
            "reasoning.effort=low",
        ),
        ("low", {"reasoning": {"effort": "none"}}, {"reasoning": None}, "reasoning.effort"),
        *(
            ("low,high", body, {}, None)
            for body in (
                {"reasoning_effort": "low"}, {"reasoning_effort": "default"}, {"reasoning_effort": 1},
                {"reasoning": "x"}, {"output_config": {"effort": None}}, {"output_config": {"format": {}}}, {},
            )
        ),
    ],
)  # fmt: skip
def test_the_effort_becomes_the_nearest_level(levels, body, changed, at):
    shape = find_shape((EFFORT_LEVELS, levels))
    assert shape.change(body) == changed
    for name, value in changed.items():
        edit = shape.describe(name, value)
        assert (f"{edit.path}{edit.form}", edit.lost) == (at, True)


JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(40)).decode()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
PDF = base64.b64encode(b"%PDF-1.7 " + bytes(40)).decode()
WAV = base64.b64encode(b"RIFF" + bytes(40)).decode()


def source(label: str, data: str) -> dict[str, str]:
    return {"type": "base64", "media_type": label, "data": data}


@each_row(
    ("block", "changed"),
    [
        (
            {"type": "image", "source": source("image/png", JPEG)},
            {"type": "image", "source": source("image/jpeg", JPEG)},
        ),
        (
            {"image": {"format": "jpg", "source": {"bytes": JPEG}}},
            {"image": {"format": "jpeg", "source": {"bytes": JPEG}}},
        ),
        (
            {"inlineData": {"mimeType": "image/jpg", "data": JPEG}},
            {"inlineData": {"mimeType": "image/jpeg", "data": JPEG}},
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
        ),
        (
            {"type": "input_image", "image_url": f"data:image/png;base64,{JPEG}"},
            {"type": "input_image", "image_url": f"data:image/jpeg;base64,{JPEG}"},
        ),
        ({"type": "image", "source": source("image/png", PNG)}, None),
        ({"type": "document", "source": source("application/pdf", PDF)}, None),
        ({"inlineData": {"mimeType": "audio/wav", "data": WAV}}, None),
        ({"document": {"format": "pdf", "source": {"bytes": PDF}}}, None),
        ({"type": "image", "source": source("image/png", "?")}, None),
        ({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}, None),
    ],
)
def test_the_bytes_of_images_decide_in_messages_and_results_of_tools(block, changed):
    def body(one: object) -> dict[str, object]:
        result = {"type": "tool_result", "tool_use_id": "a", "content": [one]}
        return {"messages": [{"role": "user", "content": ["hi", one, result]}]}

    assert OTHER_SHAPES[":images", "types"].change(body(block)) == ({} if changed is None else body(changed))


# System messages. Ollama makes a message of each part of a list (maximhq/bifrost, `TestMultiBlockSystemToChatRequest`).

SYSTEM, ASSISTANT = {"role": "system", "content": "a"}, {"role": "assistant", "content": "yes"}


def part(text: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": text}


@each_row(
    ("body", "moved"),
    [
        ({"messages": [{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, USER]},
         {"messages": [{"role": "system", "content": "a\n\nb"}, USER]}),
        ({"messages": [SYSTEM, {"role": "system", "content": [part("b"), part("c")]}, USER]},
         {"messages": [{"role": "system", "content": "a\n\nb\n\nc"}, USER]}),
        ({"messages": [USER, {"role": "system", "content": "late"}, ASSISTANT, USER]},
         {"messages": [USER, {"role": "user", "content": "<system>\nlate\n</system>"}, ASSISTANT, USER]}),
        ({"system": "s", "messages": [USER, {"role": "system", "content": [part("late")]}]},
         {"messages": [USER, {"role": "user", "content": [part("<system>\nlate\n</system>")]}]}),
        ({"instructions": "i", "input": [{"role": "developer", "content": [part("d", "input_text")]}, USER]},
         {"input": [{"role": "user", "content": [part("<system>\nd\n</system>", "input_text")]}, USER]}),
        ({"input": [SYSTEM, {"role": "system", "content": [part("b", "input_text")]}, USER]},
         {"input": [{"role": "system", "content": "a\n\nb"}, USER]}),
        ({"messages": [{"role": "system", "content": "a"}, USER, ASSISTANT]}, {}),
        ({"messages": [{"role": "system", "content": [part("a"), part("b")]}, USER]},
         {"messages": [{"role": "system", "content": "a\n\nb"}, USER]}),
        ({"messages": [USER]}, {}),
        ({"input": "hi", "instructions": "i"}, {}),
        ({"messages": [7, None, {"role": ["system"]}]}, {}),
        ({"messages": [USER, {"role": "system"}]}, {"messages": [USER, {"role": "user", "content": None}]}),
        ({}, {}),
    ],
)  # fmt: skip
def test_only_one_system_message_stays(body, moved):
    before, change = json.dumps(body), OTHER_SHAPES[(":system",)].change
    assert change(body) == moved
    assert json.dumps(body) == before
    assert change({**body, **moved}) == {}


# Lists of texts

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
LISTS: list[tuple[Any, Any]] = [
    ({"role": "system", "content": [part("a"), part("b")]}, "a\n\nb"),
    ({"role": "user", "content": [{**part("a"), "cache_control": {"type": "ephemeral"}}]}, "a"),
    ({"role": "assistant", "content": [part("a"), part("b")]}, "ab"),
    ({"role": "tool", "content": [part("a"), part("b")]}, "a\nb"),
    ({"content": [part("a"), part("b")]}, "a\n\nb"),
    *((message, None) for message in (
        {"role": "user", "content": [part("a"), PICTURE]}, {"role": "user", "content": []}, {"role": "user"},
        {"role": "user", "content": "a"}, None, 7, {"role": "user", "content": [{"type": "text", "text": 7}, "a"]},
    )),
]  # fmt: skip


@each_row(("message", "content"), LISTS)
def test_lists_of_texts_become_one_text(message, content):
    body = {"messages": [USER, message]}
    changed = {} if content is None else {"messages": [USER, {**message, "content": content}]}
    assert OTHER_SHAPES[(":texts",)].change(body) == changed


# Calls in Chat requests to Gemini 3, and turns with calls and results in Gemini

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SIGNED = {**CALL, "extra_content": {"google": {"thought_signature": "CiQB"}}}
PLACED = {**CALL, "extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
UNCALLED: list[Any] = [
    {"messages": [USER, {"role": "assistant", "tool_calls": []}, "x", None]},
    {"messages": [{"role": "assistant", "tool_calls": "x"}, {"role": "assistant", "tool_calls": [7]}]},
    {"messages": "hi"}, {},
]  # fmt: skip


def calls(*items: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [*items]}]}


def test_the_first_of_unsigned_calls_gets_the_placeholder():
    change, other = OTHER_SHAPES[":calls", "signatures"].change, {"extra_content": {"x": 1}}
    assert change(calls(CALL, CALL)) == calls(PLACED, CALL)
    assert change(calls({**CALL, **other})) == calls({**CALL, "extra_content": {"x": 1, **PLACED["extra_content"]}})
    assert change(calls({**CALL, "extra_content": "x"})) == calls(PLACED)
    for unchanged in (calls(SIGNED, CALL), calls(CALL, SIGNED), *UNCALLED):
        assert change(unchanged) == {}


def test_signatures_are_replaced_by_placeholders():
    assert replace_signatures(calls(SIGNED, CALL)) == calls(PLACED, CALL)
    for other in ({"google": 3}, "x"):
        assert replace_signatures(calls({**CALL, "extra_content": other})) == {}
    for unchanged in (calls(CALL), *UNCALLED):
        assert replace_signatures(unchanged) == {}


def call(name: str) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {}}}


def result(name: str) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"result": 1}}}


def turn(role: str, *parts: Any) -> dict[str, Any]:
    return {"role": role, "parts": [*parts]}


IMAGE = {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}
ASKED, CALLS = turn("user", {"text": "x"}), turn("model", call("f"), call("g"))


@each_row(
    ("contents", "joined"),
    [
        ([ASKED, CALLS, turn("user", result("f")), turn("user", result("g"))],
         [ASKED, CALLS, turn("user", result("f"), result("g"))]),
        ([ASKED, CALLS, turn("function", result("f")), turn("user", result("g")), turn("user", {"text": "y"})],
         [ASKED, CALLS, turn("function", result("f"), result("g"), {"text": "y"})]),
        ([ASKED, turn("model", call("f")), turn("model", call("g")), turn("user", result("f"), result("g"))],
         [ASKED, CALLS, turn("user", result("f"), result("g"))]),
        ([ASKED, CALLS, turn("user", result("f"), IMAGE, result("g"))],
         [ASKED, CALLS, turn("user", result("f"), result("g"), IMAGE)]),
        ([CALLS, turn("user", {"function_response": {"name": "f"}}), turn("user", {"function_response": {}})],
         [CALLS, turn("user", {"function_response": {"name": "f"}}, {"function_response": {}})]),
    ],
)  # fmt: skip
def test_results_are_in_one_turn(contents, joined):
    """cloudwego/eino-ext#571, epam/ai-dial-adapter-vertexai#214, microsoft/semantic-kernel#10597,
    crewAIInc/crewAI#4693; google-gemini/gemini-cli#16135."""
    change = OTHER_SHAPES[(":calls", "results")].change
    assert change({"contents": contents}) == {"contents": joined}
    for unchanged in (
        joined, [ASKED, ASKED], "x", [], [1, None, {"role": "user"}, {"parts": "x"}],
        [turn("user", 1), turn("user", None)],
    ):  # fmt: skip
        assert change({"contents": unchanged}) == {}


# Turns of Converse

HI, BLANK, EMPTY, POINT = {"text": "hi"}, {"text": " \n"}, {"text": "(empty)"}, {"cachePoint": {"type": "default"}}
USE = {"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}
READ, CONTINUE = [{"text": "I have read the results."}], [{"text": "Continue."}]


def answer(*content: Any) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": "1", "content": [*content]}}


def messages(*contents: Any, first: str = "user") -> dict[str, Any]:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return {"messages": [{"role": roles[at % 2], "content": content} for at, content in enumerate(contents)]}


def declared(*names: str) -> dict[str, Any]:
    return {"toolConfig": {"tools": [{"toolSpec": {"name": name, **CALLED_BEFORE}} for name in names]}}


BLANKS: list[tuple[Any, Any]] = [
    (messages([BLANK, HI]), messages([HI])),
    (messages([BLANK], [], [HI]), messages([EMPTY], [EMPTY], [HI])),
    (messages([BLANK, POINT]), messages([EMPTY, POINT])),
    (messages([answer(BLANK, HI), answer(), answer(BLANK)]), messages([answer(HI), answer(EMPTY), answer(EMPTY)])),
    ({**messages([HI]), "system": [BLANK, HI]}, {"system": [HI]}),
    (messages([HI], [USE], [answer(HI)]), {}),
    (messages("hi", None, [7]), {}), ({"messages": "hi", "system": []}, {}), ({"messages": [None, "x"]}, {}),
]  # fmt: skip
MIXED: list[tuple[Any, Any]] = [
    (messages([answer(HI), HI]), messages([answer(HI)], READ, [HI])),
    (messages([HI, USE, USE], [answer(HI)], first="assistant"),
     messages([HI], CONTINUE, [USE, USE], [answer(HI)], first="assistant")),
    (messages([HI], [USE], [answer(HI), POINT]), {}), (messages("hi", [], None), {}),
    ({"messages": "hi"}, {}), ({"messages": [None, {"role": "system", "content": [USE, HI]}]}, {}),
]  # fmt: skip
UNDECLARED: list[tuple[Any, Any]] = [
    (messages([HI], [USE, USE], [answer(HI)]), declared("f")),
    ({**messages([HI], [USE]), "toolConfig": {"tools": [{}]}}, {}),
    (messages([HI], [{"toolUse": {"name": 7}}, {"toolUse": "x"}, "x"], "hi"), {}), ({"messages": ["x"]}, {}),
    ({"messages": "hi"}, {}),
]  # fmt: skip


@each_row(
    ("path", "body", "changed"),
    [
        ((":texts" if kind == "blank" else ":calls", kind), *row)
        for kind, rows in (("blank", BLANKS), ("turns", MIXED), ("tools", UNDECLARED))
        for row in rows
    ],
)
def test_converse_gets_turns_that_it_accepts(path, body, changed):
    assert OTHER_SHAPES[path].change(body) == changed


# Names of tools

LONG = "mcp__server__" + "x" * 60
SHORT = short_name(LONG, STRICT)


def test_names_are_shortened_everywhere_and_nothing_else_changes():
    reference = {"type": "tool_reference", "tool_name": LONG}
    same = {"type": "tool_use", "id": "a", "input": {"name": LONG}, "name": "f"}
    body = {
        "model": LONG,
        "tools": [{"name": LONG, "description": LONG, "input_schema": {"properties": {"name": {"default": LONG}}}}],
        "tool_choice": {"type": "tool", "name": LONG},
        "messages": [
            {"role": "user", "content": [{"type": "document", "name": "A report, with numbers.pdf"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "input": {}, "name": "gone." + LONG}, same]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "b", "content": [reference]}]},
        ],
    }  # fmt: skip
    gone = short_name("gone." + LONG, STRICT)
    changed = shorten(body)
    assert changed.keys() == {"tools", "tool_choice", "messages"}
    assert changed["tools"] == [{**body["tools"][0], "name": SHORT}]
    assert changed["tool_choice"]["name"] == SHORT
    first, second, third = changed["messages"]
    assert first == body["messages"][0]
    assert [block["name"] for block in second["content"]] == [gone, "f"]
    assert second["content"][1] == same
    assert third["content"][0]["content"][0]["tool_name"] == SHORT
    assert shorten({**body, **changed}) == {}
    names = own_names({name: body[name] for name in changed})
    assert json.loads(restore_in_json(json.dumps(changed).encode(), names)) == {name: body[name] for name in changed}


def test_only_a_long_name_is_searched_for():
    assert LONG_NAME.search(b'{"name" : "%b"}' % (b"x" * 65))
    assert not LONG_NAME.search(b'{"name":"%b","description":"%b"}' % (b"x" * 64, b"y" * 90))
