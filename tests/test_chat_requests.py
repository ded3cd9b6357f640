"""Chat requests: read from clients, written for providers, their seals resolved. Pure values."""

import json
from pathlib import Path

import attrs
import msgspec
import pytest

from providers.call import (
    AudioPart,
    Call,
    CallPart,
    Control,
    FilePart,
    Format,
    ImagePart,
    NativePart,
    NativeTool,
    Reasoning,
    RefusalPart,
    ResultPart,
    Source,
    TextPart,
    ThinkingPart,
    Tool,
    ToolChoice,
    Turn,
)
from providers.chat import CHAT
from providers.codec import Recipient
from providers.quirks import Quirks
from providers.seal import Issuer, Seal, seal
from streams.errors import GatewayError

OWN, OTHER = Issuer("deepseek", "aaa"), Issuer("anthropic", "bbb")
COMPATIBLE = Quirks(max_tokens_field="max_tokens", developer_role=False)
USER = Turn("user", (TextPart("hi", "messages[0].content"),), "messages[0]")
CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "openai_chat"
RECORDED = sorted(CORPUS.glob("*.request.json"))


def read(*messages: dict, **fields) -> Call:
    return CHAT.read_request(
        {"model": "m", "messages": list(messages) or [{"role": "user", "content": "hi"}], **fields}
    )


def sent(call: Call, **quirks) -> tuple[dict, tuple[str, ...]]:
    """The body as it goes out, and what was dropped."""
    out = CHAT.write_request(call, Recipient("gpt", OWN, Quirks(**quirks)))
    return json.loads(out.body), out.dropped


def messages(*turns: Turn, api="messages", **quirks) -> list[dict]:
    return sent(Call(api, "m", turns), **quirks)[0]["messages"]


def user(*parts) -> Turn:
    return Turn("user", parts)


def assistant(*parts) -> Turn:
    return Turn("assistant", parts)


def refused(body: dict) -> str:
    with pytest.raises(GatewayError) as caught:
        CHAT.read_request({"model": "m"} | body)
    assert caught.value.failed.status == 400
    assert caught.value.failed.param in caught.value.failed.message
    return caught.value.failed.param


def test_each_role_becomes_a_turn_where_it_stands():
    call = read(
        {"role": "system", "content": "A"},
        {"role": "user", "content": "B", "name": "ann"},
        {"role": "developer", "content": [{"type": "text", "text": "C"}]},
        {"role": "assistant", "content": None, "refusal": "no"},
    )
    assert call.turns == (
        Turn("system", (TextPart("A", "messages[0].content"),), "messages[0]"),
        Turn("user", (TextPart("B", "messages[1].content"),), "messages[1]", "ann"),
        Turn("developer", (TextPart("C", "messages[2].content[0]"),), "messages[2]"),
        Turn("assistant", (RefusalPart("no", "messages[3].refusal"),), "messages[3]"),
    )
    assert call.dropped == ()


def test_parts_of_a_user_message_are_read():
    content = [
        {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/PNG;base64,QUJD"}},
        {"type": "image_url", "image_url": "data:image/svg+xml;utf8,%3Csvg%3E"},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "QUJD", "filename": "notes.txt"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    parts = read({"role": "user", "content": content}).turns[0].parts
    assert [attrs.evolve(part, at="") for part in parts] == [
        TextPart("t", marks={"cache_control": {"type": "ephemeral"}}),
        ImagePart(Source("url", "https://a/b.png"), "low"),
        ImagePart(Source("base64", "QUJD", "image/png")),
        ImagePart(Source("base64", "PHN2Zz4=", "image/svg+xml")),
        AudioPart("QUJD", "wav"),
        FilePart(Source("base64", "QUJD", "application/pdf"), "a.pdf"),
        FilePart(Source("base64", "QUJD", "text/plain"), "notes.txt"),
        FilePart(Source("file_id", "file-1")),
    ]
    assert [part.at for part in parts] == [f"messages[0].content[{i}]" for i in range(len(content))]


def test_calls_and_results_keep_their_kind():
    call = read(
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "b", "type": "custom", "custom": {"name": "g", "input": "raw"}},
            ],
        },
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "B"}]},
        {"role": "tool", "tool_call_id": "a", "content": "A"},
    )
    assert call.turns[0].parts[1:] == (
        CallPart("a", "f", "{}", at="messages[0].tool_calls[0]"),
        CallPart("b", "g", "raw", "custom", at="messages[0].tool_calls[1]"),
    )
    assert [turn.parts[0].kind for turn in call.turns[1:]] == ["custom", "function"]
    assert call.turns[1].parts[0].parts == (TextPart("B", "messages[1].content[0]"),)
    assert {turn.role for turn in call.turns[1:]} == {"user"}


def test_legacy_functions_are_paired_by_name():
    call = read(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "1"}},
        {"role": "function", "name": "f", "content": "one"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "2"}},
        {"role": "function", "name": "f", "content": "two"},
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    ids = [call.turns[i].parts[0].id for i in (0, 2)]
    assert [call.turns[i].parts[0].call_id for i in (1, 3)] == ids
    assert len(set(ids)) == 2
    assert call.tools == (Tool("f", schema={"type": "object"}, at="functions[0]"),)
    assert call.tool_choice == ToolChoice("tool", "f", at="function_call")
    assert call.dropped == ()


def test_a_mark_beside_the_role_counts_for_the_last_part():
    mark = {"type": "ephemeral"}
    call = read({"role": "system", "content": [{"type": "text", "text": "A"}] * 2, "cache_control": mark})
    assert [part.marks for part in call.turns[0].parts] == [{}, {"cache_control": mark}]
    assert call.dropped == ()


def test_tools_of_every_form_are_read():
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}
    call = read(
        tools=[
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema, "strict": True}},
            {"type": "custom", "custom": {"name": "g", "format": grammar}},
            {"type": "custom", "name": "h"},
            {"type": "web_search", "depth": 2},
            {"type": "function", "function": {"name": "i", "new": 1}, "cache_control": {"type": "ephemeral"}},
        ]
    )
    assert call.tools == (
        Tool("f", "d", schema, strict=True, at="tools[0]"),
        Tool(
            "g",
            kind="custom",
            format={"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
            at="tools[1]",
        ),
        Tool("h", kind="custom", at="tools[2]"),
        NativeTool("chat", "web_search", {"type": "web_search", "depth": 2}, "tools[3]"),
        Tool("i", at="tools[4]", marks={"cache_control": {"type": "ephemeral"}}),
    )
    assert call.dropped == ("tools[].function.new",)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ("any", ToolChoice("required")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("tool", "f")),
        ({"function": {"name": "f"}}, ToolChoice("tool", "f")),
        ({"type": "function", "name": "f"}, ToolChoice("tool", "f")),
        ({"type": "custom", "custom": {"name": "g"}}, ToolChoice("tool", "g", "custom")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "name": "g"}],
                },
            },
            ToolChoice("required", allowed=("f", "g")),
        ),
    ],
)
def test_tool_choice_of_every_form_is_read(choice, expected):
    assert read(tool_choice=choice).tool_choice == attrs.evolve(expected, at="tool_choice")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reasoning_effort": "high"}, Reasoning("enabled", "high", at="reasoning_effort")),
        ({"reasoning_effort": "none"}, Reasoning("disabled", "none", at="reasoning_effort")),
        ({"reasoning": {"effort": "low"}}, Reasoning("enabled", "low", at="reasoning.effort")),
        ({"reasoning": {"max_tokens": 99}}, Reasoning("enabled", budget=99, at="reasoning")),
        ({"reasoning": {"enabled": False}}, Reasoning("disabled", at="reasoning")),
        ({"reasoning_effort": None}, None),
    ],
)
def test_reasoning_of_every_form_is_read(fields, expected):
    assert read(**fields).reasoning == expected


def test_settings_are_read_by_their_neutral_names():
    call = read(
        max_tokens=5,
        max_completion_tokens=7,
        stop="END",
        temperature=1.0,
        verbosity="low",
        parallel_tool_calls=False,
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False, "new": 1},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
        top_k=3,
        seed=None,
    )
    assert {name: control.value for name, control in call.controls.items()} == {
        "max_tokens": 7,
        "stop": ["END"],
        "temperature": 1.0,
        "verbosity": "low",
    }
    assert call.parallel_tools == Control(False, "parallel_tool_calls")
    assert (call.stream, call.include_usage) == (True, True)
    assert call.format == Format("json_schema", "n", {}, True, at="response_format")
    assert call.dropped == ("stream_options.new", "top_k")
    assert read(max_tokens=5).controls["max_tokens"] == Control(5, "max_tokens")
    assert read(response_format={"type": "text"}).format is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "god", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {}]}]},
            "messages[0].content[1].type",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "messages[0].content[0].file"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "x"}]}]}, "messages[0].tool_calls[0].type"),
        ({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"messages": [{"role": "user", "content": "a"}], "tool_choice": "maybe"}, "tool_choice"),
        ({"messages": [{"role": "user", "content": "a"}], "tool_choice": {"type": "x"}}, "tool_choice.type"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": "5"}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "a"}], "stream": 1}, "stream"),
        ({"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
def test_a_mistake_is_a_400_that_names_the_place(body, param):
    assert refused(body) == param


def test_reasoning_that_comes_back_is_a_seal_or_native():
    thinking = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "r"}]
    sealed = {"type": "reasoning.encrypted", "data": seal(OTHER, "messages", thinking)}
    call = read(
        {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": [sealed]},
        {"role": "assistant", "content": "b", "reasoning_content": "hm"},
        {"role": "assistant", "content": "c", "reasoning": "hm", "reasoning_details": [{"type": "reasoning.text"}]},
        {"role": "assistant", "content": "d", "reasoning_details": [{"data": "tg1.broken!"}]},
    )
    thoughts = [[part for part in turn.parts if isinstance(part, ThinkingPart)] for turn in call.turns]
    place = "messages[0].reasoning_details[0]"
    assert thoughts == [
        [
            ThinkingPart("hm", Seal(OTHER, "messages", thinking[0]), at=place),
            ThinkingPart("", Seal(OTHER, "messages", thinking[1]), at=place),
        ],
        [ThinkingPart("hm", native={"reasoning_content": "hm"}, at="messages[1].reasoning_content")],
        [
            ThinkingPart(
                "hm",
                native={"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text"}]},
                at="messages[2].reasoning",
            )
        ],
        [],
    ]
    assert call.dropped == ("messages[].reasoning_details[]",)


ROUND_TRIP = {
    "model": "gpt",
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "developer", "content": "D"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "image_url", "image_url": {"url": "https://a", "detail": "high"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
            ],
            "name": "ann",
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1.0}'}},
                {"id": "b", "type": "custom", "custom": {"name": "g", "input": "raw"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "A"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": t} for t in "XY"]},
        {"role": "assistant", "content": "done", "reasoning_content": ""},
        {"role": "assistant", "content": None, "refusal": "no", "reasoning_content": ""},
        {"role": "user", "content": "more"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}, "strict": False}},
        {
            "type": "custom",
            "custom": {
                "name": "g",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}},
            },
        },
        {"type": "browser"},
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "auto",
            "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}],
        },
    },
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
    "reasoning_effort": "xhigh",
    "max_completion_tokens": 9,
    "stop": ["a", "b"],
    "temperature": 0.5,
    "seed": 4,
    "verbosity": "low",
    "metadata": {"k": "v"},
    "user": "u",
    "service_tier": "flex",
    "stream": True,
    "stream_options": {"include_usage": True},
}


def test_what_a_chat_client_asks_reaches_a_chat_provider_as_it_was():
    # Two assistant messages in a row become one, which every server takes; the rest is untouched.
    body, dropped = sent(CHAT.read_request(ROUND_TRIP))
    merged = {"role": "assistant", "content": "done", "refusal": "no", "reasoning_content": ""}
    assert body == ROUND_TRIP | {"messages": [*ROUND_TRIP["messages"][:6], merged, ROUND_TRIP["messages"][8]]}
    assert dropped == ()


def test_the_members_come_in_a_sensible_order():
    body = CHAT.write_request(CHAT.read_request(ROUND_TRIP), Recipient("gpt", OWN)).body
    assert list(msgspec.json.decode(body))[:4] == ["model", "messages", "tools", "tool_choice"]


def test_results_follow_their_calls_in_order_before_anything_else():
    turns = (
        assistant(TextPart("calling"), CallPart("a", "f", "")),
        assistant(CallPart("b", "g", "{}")),
        user(TextPart("first"), ResultPart("b", (TextPart("B"),))),
        user(ResultPart("a", (TextPart("A"),)), TextPart("second")),
        user(ResultPart("z", (TextPart("orphan"),))),
    )
    assert messages(*turns) == [
        {
            "role": "assistant",
            "content": "calling",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "A"},
        {"role": "tool", "tool_call_id": "b", "content": "B"},
        {"role": "tool", "tool_call_id": "z", "content": "orphan"},
        {"role": "user", "content": "first"},
        {"role": "user", "content": "second"},
    ]


def test_images_of_results_come_in_one_message_after_all_results():
    image = ImagePart(Source("base64", "QUJD", "image/png"))
    turns = (
        assistant(CallPart("a", "f", "{}"), CallPart("b", "f", "{}")),
        user(ResultPart("a", (TextPart("see"), image)), ResultPart("b", (image,)), TextPart("and?")),
    )
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert messages(*turns)[1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "see"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Image from tool a:"},
                url,
                {"type": "text", "text": "Image from tool b:"},
                url,
            ],
        },
        {"role": "user", "content": "and?"},
    ]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((TextPart("boom"),), "Error: boom"),
        ((), "Error: "),
        ((TextPart("a"), TextPart("b")), [{"type": "text", "text": "Error: a"}, {"type": "text", "text": "b"}]),
    ],
)
def test_a_failed_tool_says_so_in_words(parts, expected):
    turns = (assistant(CallPart("a", "f", "{}")), user(ResultPart("a", parts, is_error=True)))
    assert messages(*turns)[1]["content"] == expected


def test_empty_parts_and_turns_are_left_out():
    turns = (
        Turn("system", (TextPart(""),)),
        user(TextPart(""), TextPart("hi")),
        assistant(TextPart("")),
        assistant(),
        user(),
    )
    assert messages(*turns) == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(("knows", "role"), [(True, "developer"), (False, "system")])
def test_developer_is_system_where_the_role_is_unknown(knows, role):
    turns = (Turn("system", (TextPart("A"),)), Turn("developer", (TextPart("B"),)), USER)
    assert [one["role"] for one in messages(*turns, developer_role=knows)] == ["system", role, "user"]


def test_reasoning_goes_back_only_to_who_issued_it():
    field, details = {"field": "reasoning_content"}, [{"type": "reasoning.text", "text": "t"}]
    turns = (
        assistant(ThinkingPart("hm", Seal(OWN, "chat", field), at="messages[0].content[0]"), TextPart("a")),
        USER,
        assistant(ThinkingPart("", Seal(OWN, "chat", {"reasoning_details": details})), TextPart("b")),
        USER,
        assistant(ThinkingPart("hm", Seal(OTHER, "chat", field), at="messages[4].content[0]"), TextPart("c")),
        USER,
        assistant(ThinkingPart("hm", Seal(OWN, "messages", {}), at="messages[6].content[0]"), TextPart("d")),
        USER,
        assistant(ThinkingPart("hm", native={"reasoning_content": "x"}, at="input[0]"), TextPart("e")),
        USER,
        assistant(ThinkingPart("hm", Seal(OWN, "chat", {"field": "role"}), at="output[0]"), TextPart("f")),
    )
    body, dropped = sent(Call("messages", "m", turns))
    assert [one for one in body["messages"] if one["role"] == "assistant"] == [
        {"role": "assistant", "content": "a", "reasoning_content": "hm"},
        {"role": "assistant", "content": "b", "reasoning_details": details, "reasoning_content": ""},
        {"role": "assistant", "content": "c", "reasoning_content": ""},
        {"role": "assistant", "content": "d", "reasoning_content": ""},
        {"role": "assistant", "content": "e", "reasoning_content": ""},
        {"role": "assistant", "content": "f", "reasoning_content": ""},
    ]
    assert dropped == ("messages[].content[]", "input[]", "output[]")


def test_no_reasoning_field_is_invented():
    turns = (assistant(ThinkingPart("hm", native={}, at="x"), TextPart("a")), USER, assistant(TextPart("b")))
    assert all("reasoning_content" not in one for one in messages(*turns))


def test_a_message_of_nothing_but_reasoning_is_left_out():
    thought = ThinkingPart("hm", Seal(OWN, "chat", {"field": "reasoning"}), at="messages[0].content[0]")
    body, dropped = sent(Call("messages", "m", (USER, assistant(thought))))
    assert [one["role"] for one in body["messages"]] == ["user"]
    assert dropped == ("messages[].content[]",)


def test_what_only_other_apis_know_is_dropped_by_name():
    mark = {"cache_control": {"type": "ephemeral"}}
    turns = (
        user(TextPart("a", "messages[0].content[0]", mark)),
        assistant(NativePart("messages", "server_tool_use", {}, "messages[1].content[0]"), TextPart("b")),
    )
    call = Call(
        "messages",
        "m",
        turns,
        tools=(Tool("f", at="tools[0]", marks=mark), NativeTool("messages", "bash", {}, "tools[1]")),
        controls={"top_k": Control(3, "top_k"), "service_tier": Control("standard_only", "service_tier")},
        dropped=("speed",),
    )
    body, dropped = sent(call)
    assert dropped == (
        "speed", "messages[].content[].cache_control", "messages[].content[]", "tools[].cache_control", "tools[]",
        "service_tier", "top_k",
    )  # fmt: skip
    assert body["messages"][0] == {"role": "user", "content": "a"}
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    ]


@pytest.mark.parametrize(
    "part",
    [
        FilePart(Source("url", "https://a/b.pdf"), at="messages[0].content[0]"),
        FilePart(Source("file_id", "file_1"), at="messages[0].content[0]"),
        ImagePart(Source("file_id", "file_1"), at="messages[0].content[0]"),
    ],
)
def test_what_chat_cannot_say_and_must_not_be_lost_is_a_400(part):
    with pytest.raises(GatewayError) as caught:
        messages(user(part))
    assert (caught.value.failed.status, caught.value.failed.param) == (400, "messages[0].content[0]")


def test_documents_are_files_and_plain_ones_are_text():
    pdf = FilePart(Source("base64", "QUJD", "application/pdf"))
    assert messages(user(pdf, FilePart(Source("text", "plain"))))[0]["content"] == [
        {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
        {"type": "text", "text": "plain"},
    ]


@pytest.mark.parametrize(
    ("choice", "expected", "dropped"),
    [
        (ToolChoice("auto", at="tool_choice"), "auto", ()),
        (ToolChoice("tool", "f", at="tool_choice"), {"type": "function", "function": {"name": "f"}}, ()),
        (ToolChoice("tool", "g", at="tool_choice"), {"type": "custom", "custom": {"name": "g"}}, ()),
        (ToolChoice("tool", "gone", at="tool_choice"), None, ("tool_choice",)),
    ],
)
def test_tool_choice_names_only_tools_that_are_there(choice, expected, dropped):
    call = Call("messages", "m", (USER,), tools=(Tool("f"), Tool("g", kind="custom")), tool_choice=choice)
    body, lost = sent(call)
    assert body.get("tool_choice") == expected
    assert lost == dropped


def test_nothing_is_said_about_tools_when_there_are_none():
    call = Call("chat", "m", (USER,), tool_choice=ToolChoice("auto"), parallel_tools=Control(True, "p"))
    assert sent(call)[0].keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        (Reasoning(effort="max"), "max"),
        (Reasoning(budget=2048), "low"),
        (Reasoning(budget=2049), "medium"),
        (Reasoning(budget=8192), "medium"),
        (Reasoning(budget=24000), "high"),
        (Reasoning(budget=24001), "xhigh"),
        (Reasoning("disabled", "none"), "none"),
        (Reasoning("disabled"), None),
        (Reasoning("adaptive"), None),
        (Reasoning("adaptive", "low"), "low"),
        (Reasoning(), None),
    ],
)
def test_a_budget_comes_to_an_effort(reasoning, expected):
    call = Call("messages", "m", (USER,), reasoning=attrs.evolve(reasoning, at="thinking"))
    body, dropped = sent(call)
    assert body.get("reasoning_effort") == expected
    assert dropped == (("thinking",) if reasoning == Reasoning("disabled") else ())
    body, dropped = sent(call, reasoning_effort=False)
    assert "reasoning_effort" not in body
    assert dropped == (("thinking",) if expected or reasoning.mode == "disabled" else ())


def test_a_format_without_a_name_gets_one():
    call = Call("messages", "m", (USER,), format=Format("json_schema", schema={"type": "object"}))
    assert sent(call)[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": {"type": "object"}},
    }


def test_quirks_decide_the_names_and_what_is_left_out():
    call = attrs.evolve(read(max_tokens=5, store=True, stream=True), stream=True)
    assert sent(call)[0]["max_completion_tokens"] == 5
    assert sent(call, max_tokens_field="max_tokens")[0]["max_tokens"] == 5
    assert "stream_options" not in sent(call, stream_usage=False)[0]
    body, dropped = sent(call, refused_fields=("store",))
    assert "store" not in body
    assert dropped == ("store",)


@pytest.mark.parametrize(("name", "value"), [("n", 2), ("max_tokens", 0)])
def test_what_would_be_another_answer_is_a_400(name, value):
    with pytest.raises(GatewayError) as caught:
        sent(Call("messages", "m", (USER,), controls={name: Control(value, name)}))
    assert (caught.value.failed.status, caught.value.failed.param) == (400, name)


def test_settings_whose_answer_cannot_be_carried_are_dropped():
    call = read(n=1, logprobs=True, top_logprobs=2, modalities=["text", "audio"], audio={"voice": "x"}, stop=[])
    body, dropped = sent(call)
    assert body.keys() == {"model", "messages"}
    assert set(dropped) == {"logprobs", "top_logprobs", "modalities", "audio"}


def sealed(issuer: Issuer, api: str, item) -> dict:
    return {"type": "reasoning.encrypted", "data": seal(issuer, api, item)}


def test_the_byte_lane_restores_its_own_seals_and_removes_the_others():
    native = [{"type": "reasoning.text", "text": "t"}]
    plain = {"role": "user", "content": "hi"}
    body = {
        "model": "m",
        "messages": [
            plain,
            {"role": "assistant", "reasoning_details": [sealed(OWN, "chat", [{"reasoning_details": native}])]},
            {
                "role": "assistant",
                "content": "a",
                "reasoning_content": "hm",
                "reasoning_details": [sealed(OTHER, "messages", [{"type": "thinking"}])],
            },
            {
                "role": "assistant",
                "reasoning_content": "hm",
                "reasoning_details": [sealed(OWN, "chat", {"field": "reasoning"})],
            },
            {"role": "assistant", "reasoning_details": [*native, {"data": "tg1.broken"}, "odd"]},
        ],
    }
    before = json.dumps(body)
    changed, dropped = CHAT.restore(body, OWN)
    assert changed == {
        "messages": [
            plain,
            {"role": "assistant", "reasoning_details": native},
            {"role": "assistant", "content": "a"},
            {"role": "assistant", "reasoning": "hm"},
            {"role": "assistant", "reasoning_details": [*native, "odd"]},
        ]
    }
    assert dropped == ("messages[].reasoning_details[]", "messages[].reasoning_content")
    assert json.dumps(body) == before


@pytest.mark.parametrize(
    "body",
    [{}, {"messages": 3}, {"messages": [None, {"reasoning_details": 1}, {"reasoning_details": [{"data": "gAAA"}]}]}],
)
def test_a_body_without_seals_stays_as_it_is(body):
    assert CHAT.restore(body, OWN) == ({}, ())


@pytest.mark.skipif(not RECORDED, reason="the recorded provider traffic is not beside this checkout")
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name[-40:])
def test_recorded_requests_are_read_and_written(path):
    source = json.loads(path.read_bytes())
    if "file_url" in json.dumps(source):
        assert refused(source) == "messages[0].content[1]"
        return
    if source.get("n", 1) > 1:
        with pytest.raises(GatewayError, match="n must be 1"):
            sent(CHAT.read_request(source))
        return
    body, _ = sent(CHAT.read_request(source))
    assert [one["role"] for one in body["messages"]] == [one["role"] for one in source["messages"]]
    assert len(body.get("tools", [])) == len(source.get("tools") or source.get("functions") or [])
    assert body.get("temperature") == source.get("temperature")
    assert body.get("response_format") == source.get("response_format")
    assert body.get("stream", False) == (source.get("stream") or False)
