"""Messages requests: what clients ask read into a ``Call``, a ``Call`` written for a provider, seals, errors."""

import hashlib
import json
from pathlib import Path

import attrs
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
from providers.codec import Recipient
from providers.messages import MESSAGES
from providers.quirks import Quirks
from providers.seal import Issuer, Seal, seal
from streams.errors import GatewayError
from streams.events import Failed

SHARED = Path(__file__).parent.parent.parent / "shared"
OURS = Issuer("anthropic", "a1")
OTHER = Issuer("openai", "b2")
HELLO = [{"role": "user", "content": "hello"}]
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


def read(**members):
    return MESSAGES.read_request({"model": "m", "max_tokens": 10, "messages": HELLO} | members)


def refused(**members):
    with pytest.raises(GatewayError) as raised:
        read(**members)
    assert raised.value.failed.status == 400
    return raised.value.failed


def blocks(*content, role="user"):
    """The parts that the blocks of one message become."""
    return read(messages=[{"role": role, "content": list(content)}]).turns[0].parts


def write(call, **quirks):
    outgoing = MESSAGES.write_request(call, Recipient("claude", OURS, Quirks(**quirks)))
    return json.loads(outgoing.body), outgoing.dropped


def user(*parts):
    return Turn("user", tuple(TextPart(part) if isinstance(part, str) else part for part in parts), "messages[1]")


def assistant(*parts):
    return attrs.evolve(user(*parts), role="assistant")


def chat(*turns, **fields):
    return Call("chat", "m", turns or (user("hello"),), **fields)


def messages(*turns, **fields):
    return write(chat(*turns, **fields))[0]["messages"]


def controls(**values):
    return {name: Control(value, name) for name, value in values.items()}


# Reading


def test_a_plain_request_is_read():
    call = read(system="Be brief.", stream=True, temperature=0.5, stop_sequences=["###"])
    assert (call.api, call.model, call.stream) == ("messages", "m", True)
    assert call.turns == (
        Turn("system", (TextPart("Be brief.", "system"),), "system"),
        Turn("user", (TextPart("hello", "messages[0].content"),), "messages[0]"),
    )
    assert {name: control.value for name, control in call.controls.items()} == {
        "max_tokens": 10, "temperature": 0.5, "stop": ["###"],
    }  # fmt: skip
    assert call.dropped == ()


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "video"}}]}]},
            "messages[0].content[0].source.type",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "loud"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"stop_sequences": 7}, "stop_sequences"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_mistake_is_refused_with_its_path(members, param):
    failed = refused(**members)
    assert failed.param == param
    assert param in failed.message


def test_a_thread_is_refused_so_that_the_tool_runner_tries_without():
    failed = refused(thread={"type": "create"})
    assert failed.kind == "invalid_request"
    assert failed.details == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def test_the_billing_block_is_removed_and_named():
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1;"},
        {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
    ]
    call = read(system=system)
    marks = {"cache_control": {"type": "ephemeral"}}
    assert call.turns[0].parts == (TextPart("You are an agent.", "system[1]", marks),)
    assert call.dropped == ("system[]",)


def test_the_billing_line_of_a_string_goes_alone():
    assert read(system="x-anthropic-billing-header: a;\nBe brief.").turns[0].parts == (TextPart("Be brief.", "system"),)
    assert [turn.role for turn in read(system="x-anthropic-billing-header: a;").turns] == ["user"]


def test_system_messages_in_the_middle_stay_there():
    call = read(messages=[*HELLO, {"role": "system", "content": "Agents: none"}, *HELLO])
    assert [turn.role for turn in call.turns] == ["user", "system", "user"]


def test_media_are_read_from_every_source():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}}
    pdf = {
        "type": "document",
        "title": "T",
        "source": {"type": "file", "file_id": "file_1"},
        "citations": {"enabled": 1},
    }
    text = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}, linked]}}
    at = "messages[0].content"
    assert blocks(image, linked, pdf, text) == (
        ImagePart(Source("base64", "iVBO", "image/png"), at=f"{at}[0]"),
        ImagePart(Source("url", "https://a.example/x.png"), at=f"{at}[1]"),
        FilePart(Source("file_id", "file_1"), "T", f"{at}[2]", {"citations": {"enabled": 1}}),
        FilePart(Source("text", "a", "text/plain"), None, f"{at}[3]"),
        ImagePart(Source("url", "https://a.example/x.png"), at=f"{at}[3].source.content[1]"),
    )


def test_a_search_result_keeps_its_words():
    (part,) = blocks({"type": "search_result", "title": "T", "source": "https://a.example",
                      "content": [{"type": "text", "text": "found"}]})  # fmt: skip
    assert part.text == "T\nhttps://a.example\n\nfound"


def test_thinking_is_native_unless_we_sealed_it():
    item = {"field": "reasoning_content"}
    native, redacted, ours, hidden = blocks(
        THOUGHT,
        {"type": "redacted_thinking", "data": "b3Bh"},
        {"type": "thinking", "thinking": "hm", "signature": seal(OTHER, "chat", item)},
        {"type": "redacted_thinking", "data": seal(OTHER, "responses", {"id": "rs"})},
        role="assistant",
    )
    assert (native.text, native.native, native.seal) == ("hm", THOUGHT, None)
    assert redacted.native == {"type": "redacted_thinking", "data": "b3Bh"}
    assert (ours.text, ours.seal, ours.native) == ("hm", Seal(OTHER, "chat", item), None)
    assert hidden.seal == Seal(OTHER, "responses", {"id": "rs"})


def test_a_broken_seal_is_removed_and_named():
    content = [{"type": "thinking", "thinking": "hm", "signature": "tg1.broken"}, {"type": "text", "text": "a"}]
    call = read(messages=[*HELLO, {"role": "assistant", "content": content}])
    assert [part.text for part in call.turns[1].parts] == ["a"]
    assert call.dropped == ("messages[].content[]",)


def test_calls_and_results_are_read():
    call = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "f",
        "input": {"z": 1.0, "a": []},
        "caller": {"type": "direct"},
    }
    assert blocks(call, role="assistant") == (
        CallPart("toolu_1", "f", '{"z":1.0,"a":[]}', at="messages[0].content[0]", marks={"caller": {"type": "direct"}}),
    )
    plain, failed, many = blocks(
        {"type": "tool_result", "tool_use_id": "a"},
        {"type": "tool_result", "tool_use_id": "b", "content": "no", "is_error": True},
        {"type": "tool_result", "tool_use_id": "c", "content": [
            {"type": "text", "text": "x"},
            {"type": "image", "source": {"type": "url", "url": "https://a.example"}},
            {"type": "tool_reference", "tool_name": "grep"},
            {"type": "browser_state", "tabs": 1}]},
    )  # fmt: skip
    assert (plain.parts, plain.is_error) == ((), False)
    assert (failed.parts[0].text, failed.is_error) == ("no", True)
    texts = [part.text if isinstance(part, TextPart) else "image" for part in many.parts]
    assert texts == ["x", "image", "The tool grep is available now.", '{"type":"browser_state","tabs":1}']


def test_blocks_that_only_this_api_knows_are_kept_whole():
    item = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    assert blocks(item, role="assistant") == (
        NativePart("messages", "server_tool_use", item, "messages[0].content[0]"),
    )


def test_tools_are_read_with_their_schema_untouched():
    schema = {"$schema": "x", "type": "object", "properties": {}}
    own = {"name": "f", "description": "d", "input_schema": schema, "strict": True, "cache_control": {"type": "e"}}
    typed = {"type": "web_search_20250305", "name": "web_search"}
    call = read(tools=[own, typed])
    marks = {"cache_control": {"type": "e"}}
    assert call.tools == (
        Tool("f", "d", schema, strict=True, at="tools[0]", marks=marks),
        NativeTool("messages", "web_search_20250305", typed, "tools[1]"),
    )
    assert read(tools=[]).tools == ()


SEARCH = {"name": "search", "input_schema": {"type": "object"}}
LATER = [
    {"name": name, "input_schema": {"type": "object"}, "defer_loading": True} for name in ("found", "called", "no")
]
FOUND = [
    *HELLO,
    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "called", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [
        {"type": "tool_reference", "tool_name": "found"}]}]},
]  # fmt: skip


def test_deferred_tools_are_sent_once_the_client_has_found_them():
    assert [tool.name for tool in read(tools=[SEARCH, *LATER]).tools] == ["search"]
    assert [tool.name for tool in read(tools=[SEARCH, *LATER], messages=FOUND).tools] == ["search", "found", "called"]


def test_deferred_tools_are_all_sent_where_anthropic_was_to_search():
    server = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    assert len(read(tools=[server, *LATER]).tools) == 4


@pytest.mark.parametrize(
    ("choice", "read_as", "serial"),
    [
        ({"type": "auto"}, ToolChoice("auto", at="tool_choice"), False),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required", at="tool_choice"), True),
        ({"type": "tool", "name": "f"}, ToolChoice("tool", "f", at="tool_choice"), False),
        ({"type": "none"}, ToolChoice("none", at="tool_choice"), False),
    ],
)
def test_tool_choice_is_read(choice, read_as, serial):
    call = read(tool_choice=choice)
    assert call.tool_choice == read_as
    assert (call.parallel_tools is not None and call.parallel_tools.value is False) == serial


@pytest.mark.parametrize(
    ("members", "read_as"),
    [
        ({"thinking": {"type": "disabled"}}, Reasoning("disabled", at="thinking")),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 31999}},
            Reasoning("enabled", budget=31999, at="thinking"),
        ),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
            Reasoning("adaptive", "high", summary="auto", at="thinking"),
        ),
        ({"thinking": {"type": "between_tools"}}, Reasoning("adaptive", at="thinking")),
        ({"output_config": {"effort": "low"}}, Reasoning("adaptive", "low", at="output_config.effort")),
        ({}, None),
    ],
)
def test_thinking_and_effort_are_one_thing(members, read_as):
    call = read(**members)
    assert call.reasoning == read_as
    assert call.dropped == ()


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_structured_output_is_read_in_both_places(place):
    format = {"type": "json_schema", "schema": {"type": "object"}}
    call = read(**({place: {"format": format}} if place == "output_config" else {place: format}))
    assert (call.format.kind, call.format.schema, call.format.name) == ("json_schema", {"type": "object"}, None)


def test_a_long_user_id_becomes_a_stable_hash():
    long = '{"device_id":"0"}'
    assert read(metadata={"user_id": long}).controls["user"].value == hashlib.sha256(long.encode()).hexdigest()
    assert read(metadata={"user_id": "u-1"}).controls["user"] == Control("u-1", "metadata.user_id")
    assert len(read(metadata={"user_id": "x" * 65}).controls["user"].value) == 64


def test_what_only_this_api_has_is_named():
    call = read(
        container="c", context_management={"edits": []}, mcp_servers=[], service_tier="standard_only",
        cache_control={"type": "ephemeral"}, output_config={"effort": "low", "task_budget": {}},
        messages=[{"role": "user", "content": [{"type": "text", "text": "x", "new": 1}], "clear_at": 1}],
    )  # fmt: skip
    assert set(call.dropped) == {
        "container", "context_management", "mcp_servers", "service_tier", "cache_control", "output_config.task_budget",
        "messages[].content[].new", "messages[].clear_at",
    }  # fmt: skip
    assert "service_tier" not in call.controls
    assert read(service_tier="auto").controls["service_tier"].value == "auto"


# Writing turns


def test_a_plain_call_is_written():
    call = chat(Turn("system", (TextPart("Be brief."),)), user("hello"), stream=True)
    outgoing = MESSAGES.write_request(call, Recipient("claude", OURS))
    assert outgoing.body == (
        b'{"model":"claude","max_tokens":8192,"system":"Be brief.",'
        b'"messages":[{"role":"user","content":"hello"}],"stream":true}'
    )
    assert outgoing.headers == (("anthropic-version", "2023-06-01"),)
    assert outgoing.dropped == ()


def test_leading_instructions_are_hoisted_and_later_ones_stay_in_place():
    instructions = [Turn("system", (TextPart("A"),)), Turn("developer", (TextPart("B"),))]
    late = Turn("system", (TextPart("C"),))
    body, _ = write(chat(*instructions, user("hello"), assistant("hi"), late, user("go")))
    assert body["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    assert body["messages"][2]["content"] == [
        {"type": "text", "text": "<system>\nC\n</system>"}, {"type": "text", "text": "go"},
    ]  # fmt: skip


def test_instructions_alone_are_still_a_conversation():
    body, _ = write(chat(Turn("system", (TextPart("Say hi."),))))
    assert "system" not in body
    assert body["messages"] == [{"role": "user", "content": "<system>\nSay hi.\n</system>"}]


def test_all_results_of_one_turn_come_first_in_one_user_message():
    calls = assistant(CallPart("a", "f", "{}"), CallPart("b", "f", "{}"))
    results = [user(ResultPart(id, (TextPart(id),))) for id in "ab"]
    written = messages(user("go"), calls, results[0], user("and now"), results[1])
    assert [message["role"] for message in written] == ["user", "assistant", "user"]
    assert [block.get("tool_use_id", "text") for block in written[2]["content"]] == ["a", "b", "text"]


def test_results_keep_their_error_and_their_media():
    image = ImagePart(Source("base64", "iVBORw0", None))
    written = messages(user(
        ResultPart("a", ()), ResultPart("b", (TextPart(" "),), True), ResultPart("c", (TextPart("x"), image)),
    ))  # fmt: skip
    assert written[0]["content"] == [
        {"type": "tool_result", "tool_use_id": "a"},
        {"type": "tool_result", "tool_use_id": "b", "content": " ", "is_error": True},
        {"type": "tool_result", "tool_use_id": "c", "content": [
            {"type": "text", "text": "x"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0"}}]},
    ]  # fmt: skip


def test_empty_texts_and_turns_are_not_sent():
    assert messages(user("go"), assistant("", CallPart("a", "f", "{}")), user(" \n"), assistant("")) == [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
    ]


def test_the_cache_mark_of_an_empty_text_moves_to_the_block_before():
    mark = {"cache_control": {"type": "ephemeral"}}
    assert messages(user("go", TextPart("", marks=mark)))[0]["content"] == [{"type": "text", "text": "go"} | mark]
    assert write(chat(user(TextPart(" ", "messages[0]", mark), "go")))[1] == ("messages[].cache_control",)


def test_ids_that_are_refused_are_mapped_alike_in_call_and_result():
    id = "call|" + "9" * 80
    written = messages(user("go"), assistant(CallPart(id, "f", "{}")), user(ResultPart(id, ())))
    mapped = written[1]["content"][0]["id"]
    assert mapped == written[2]["content"][0]["tool_use_id"]
    assert mapped.startswith("toolu_")
    assert len(mapped) <= 64
    assert messages(assistant(CallPart("call_1", "f", "")))[0]["content"][0]["id"] == "call_1"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('{"z": 1.0, "a": 12345678901234567890123}', b'"input":{"z": 1.0, "a": 12345678901234567890123}'),
        ("", b'"input":{}'),
        ("[1]", b'"input":{"_raw":"[1]"}'),
        ('{"a":', b'"input":{"_raw":"{\\"a\\":"}'),
    ],
)
def test_arguments_are_an_object_and_keep_their_spelling(text, written):
    call = chat(assistant(CallPart("a", "f", text)))
    assert written in MESSAGES.write_request(call, Recipient("claude", OURS)).body


def test_the_free_text_of_a_custom_call_is_wrapped_as_its_tool_declares():
    tool = Tool("patch", "d", kind="custom", format={"type": "grammar", "syntax": "lark", "definition": "start: x"})
    body, dropped = write(chat(assistant(CallPart("a", "patch", "*** Begin", "custom")), tools=(tool,)))
    assert body["messages"][0]["content"][0]["input"] == {"input": "*** Begin"}
    (written,) = body["tools"]
    assert written["input_schema"]["required"] == ["input"]
    assert "start: x" in written["description"]
    assert dropped == ("format",)


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            ImagePart(Source("url", "data:image/gif;base64,R0lG")),
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lG"}},
        ),
        (
            ImagePart(Source("url", "https://a.example/x")),
            {"type": "image", "source": {"type": "url", "url": "https://a.example/x"}},
        ),
        (
            FilePart(Source("base64", "JVBE", "application/pdf"), "a.pdf"),
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
             "title": "a.pdf"},
        ),
        (
            FilePart(Source("base64", "aGk=", "text/plain")),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
        ),
    ],
)  # fmt: skip
def test_media_are_written(part, block):
    assert messages(user(part))[0]["content"] == [block]


@pytest.mark.parametrize(
    "part",
    [
        AudioPart("x", "wav", at="messages[1].content[0]"),
        ImagePart(Source("file_id", "file_1"), at="messages[1].content[0]"),
        FilePart(Source("file_id", "file_1"), at="messages[1].content[0]"),
        ImagePart(Source("url", "data:image/png,raw"), at="messages[1].content[0]"),
        FilePart(Source("base64", "!!", "text/plain"), at="messages[1].content[0]"),
    ],
)
def test_what_the_api_cannot_hold_is_refused_with_its_path(part):
    with pytest.raises(GatewayError) as raised:
        write(chat(user(part)))
    assert (raised.value.failed.status, raised.value.failed.param) == (400, "messages[1].content[0]")


def test_hints_that_the_api_does_not_have_are_named():
    image = ImagePart(Source("url", "https://a.example"), "high", "messages[0].content[0]")
    text = TextPart("x", "messages[0].content[1]", {"new_hint": 1, "citations": []})
    turn = Turn("user", (image, text, NativePart("responses", "x", {}, "input[3]")), "messages[0]", name="bob")
    body, dropped = write(chat(turn, assistant(RefusalPart("no"))))
    assert body["messages"][1]["content"] == "no"
    assert set(dropped) == {
        "messages[].content[].detail", "messages[].content[].new_hint", "messages[].content[].citations", "input[]",
        "messages[].name",
    }  # fmt: skip


def test_breakpoints_of_openai_are_cache_marks():
    marked = TextPart("x", marks={"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}})
    assert messages(user(marked))[0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def test_at_most_four_cache_marks_are_sent_the_last_ones():
    mark = {"cache_control": {"type": "ephemeral"}}
    tool = Tool("f", at="tools[0]", marks=mark)
    parts = [TextPart(text, f"messages[0].content[{i}]", mark) for i, text in enumerate("abcd")]
    body, dropped = write(chat(user(*parts), tools=(tool,)))
    assert "cache_control" not in body["tools"][0]
    assert all("cache_control" in block for block in body["messages"][0]["content"])
    assert dropped == ("tools[].cache_control",)


# Reasoning that comes back


def test_thoughts_return_only_to_who_made_them():
    at = "messages[1].content[0]"
    ours = ThinkingPart("hm", Seal(OURS, "messages", THOUGHT), at=at)
    listed = ThinkingPart("hm", Seal(OURS, "messages", [THOUGHT, {"type": "redacted_thinking", "data": "x"}]), at=at)
    body, dropped = write(chat(user("go"), assistant(ours, "a"), user("b"), assistant(listed)))
    assert body["messages"][1]["content"][0] == THOUGHT
    assert [block["type"] for block in body["messages"][3]["content"]] == ["thinking", "redacted_thinking"]
    assert dropped == ()


@pytest.mark.parametrize(
    "part",
    [
        ThinkingPart("hm", Seal(OTHER, "messages", THOUGHT), at="messages[1].content[0]"),
        ThinkingPart("hm", Seal(OURS, "chat", {"field": "x"}), at="messages[1].content[0]"),
        ThinkingPart("hm", Seal(OURS, "messages", None), at="messages[1].content[0]"),
        ThinkingPart("hm", Seal(OURS, "messages", {"type": "text"}), at="messages[1].content[0]"),
        ThinkingPart("hm", native={"type": "reasoning"}, at="messages[1].content[0]"),
    ],
)
def test_thoughts_of_others_are_removed_and_named(part):
    body, dropped = write(chat(user("go"), assistant(part, "a")))
    assert body["messages"][1] == {"role": "assistant", "content": "a"}
    assert dropped == ("messages[].content[]",)


def test_native_thoughts_stay_where_the_client_speaks_the_same_api():
    call = attrs.evolve(chat(user("go"), assistant(ThinkingPart("hm", native=THOUGHT))), api="messages")
    assert write(call)[0]["messages"][1]["content"] == [THOUGHT]


# Tools and choice


def test_tools_are_written_in_order_with_a_schema():
    schema = {"type": "object", "properties": {"z": {}, "a": {}}}
    tools = (Tool("f", "d", schema, strict=True), Tool("g"), NativeTool("responses", "mcp", {}, "tools[2]"))
    body, dropped = write(chat(tools=tools))
    assert body["tools"] == [
        {"name": "f", "description": "d", "input_schema": schema, "strict": True},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert dropped == ("tools[]",)


@pytest.mark.parametrize(
    ("choice", "serial", "written"),
    [
        (None, False, None),
        (None, True, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), False, {"type": "auto"}),
        (ToolChoice("required"), True, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("tool", "f"), False, {"type": "tool", "name": "f"}),
        (ToolChoice("none"), True, {"type": "none"}),
        (ToolChoice("tool", "gone", at="tool_choice"), False, {"type": "auto"}),
    ],
)
def test_tool_choice_is_written(choice, serial, written):
    parallel = Control(False, "parallel_tool_calls") if serial else None
    body, _ = write(chat(tools=(Tool("f"),), tool_choice=choice, parallel_tools=parallel))
    assert body.get("tool_choice") == written


def test_a_choice_without_tools_is_left_out():
    assert "tool_choice" not in write(chat(tool_choice=ToolChoice("auto")))[0]


def test_allowed_tools_are_the_only_ones_sent():
    body, _ = write(chat(tools=(Tool("f"), Tool("g")), tool_choice=ToolChoice("required", allowed=("g",))))
    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any"}


# Reasoning, formats and settings


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 2048), ("low", 2048), ("medium", 8192), ("high", 16384), ("xhigh", 32768), ("max", 32768),
     (None, 16384)],
)  # fmt: skip
def test_effort_becomes_a_budget_below_max_tokens(effort, budget):
    body, _ = write(chat(reasoning=Reasoning(effort=effort), controls=controls(max_tokens=1000)))
    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert body["max_tokens"] == budget + 1000


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        (Reasoning(effort="minimal"), "low"), (Reasoning(effort="xhigh"), "xhigh"), (Reasoning("adaptive"), None),
        (Reasoning(budget=2048), "low"), (Reasoning(budget=8192), "medium"), (Reasoning(budget=24000), "high"),
        (Reasoning(budget=31999), "xhigh"),
    ],
)  # fmt: skip
def test_adaptive_models_get_an_effort(reasoning, effort):
    body, _ = write(chat(reasoning=reasoning), adaptive_thinking=True)
    assert body["thinking"] == {"type": "adaptive"}
    assert body.get("output_config", {}).get("effort") == effort


def test_a_budget_is_never_below_the_least():
    assert write(chat(reasoning=Reasoning(budget=500)))[0]["thinking"]["budget_tokens"] == 1024


def test_a_summary_that_is_asked_for_is_shown():
    assert write(chat(reasoning=Reasoning(effort="low", summary="auto")))[0]["thinking"]["display"] == "summarized"


@pytest.mark.parametrize("reasoning", [None, Reasoning(effort="none"), Reasoning("disabled")])
def test_no_effort_is_no_thinking(reasoning):
    body, dropped = write(chat(reasoning=reasoning, controls=controls(temperature=0.5)))
    assert "thinking" not in body
    assert body["temperature"] == 0.5
    assert dropped == ()


def test_a_forced_tool_turns_thinking_off():
    call = chat(tools=(Tool("f"),), tool_choice=ToolChoice("required"), reasoning=Reasoning(effort="high", at="effort"))
    body, dropped = write(call)
    assert "thinking" not in body
    assert body["tool_choice"] == {"type": "any"}
    assert dropped == ("effort",)


def test_a_tool_loop_whose_thoughts_are_lost_goes_on_without_thinking():
    turns = [user("go"), assistant(CallPart("a", "f", "{}")), user(ResultPart("a", ()))]
    body, dropped = write(chat(*turns, reasoning=Reasoning(effort="high", at="reasoning_effort")))
    assert "thinking" not in body
    assert dropped == ("reasoning_effort",)
    kept = assistant(ThinkingPart("hm", Seal(OURS, "messages", THOUGHT)), *turns[1].parts)
    body, dropped = write(chat(turns[0], kept, turns[2], reasoning=Reasoning(effort="high")))
    assert "thinking" in body


def test_sampling_is_left_out_while_thinking_and_named_unless_default():
    settings = controls(temperature=1, top_p=0.9)
    body, dropped = write(chat(reasoning=Reasoning(effort="low"), controls=settings))
    assert not {"temperature", "top_p"} & set(body)
    assert dropped == ("top_p",)


def test_sampling_is_left_out_for_the_version_that_refuses_it():
    body, dropped = write(chat(controls=controls(temperature=0.5)), anthropic_version="2026-10-21")
    assert "temperature" not in body
    assert dropped == ("temperature",)


def test_a_temperature_above_one_becomes_one():
    body, dropped = write(chat(controls=controls(temperature=1.7)))
    assert (body["temperature"], dropped) == (1, ("temperature",))


def test_temperature_and_top_p_do_not_go_together():
    body, dropped = write(chat(controls=controls(temperature=0.3, top_p=0.9)))
    assert (body["temperature"], "top_p" in body, dropped) == (0.3, False, ("top_p",))
    assert write(chat(controls=controls(top_p=0.9)))[0]["top_p"] == 0.9


def test_a_schema_becomes_native_structured_output_beside_the_users_tools():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "object"}},
        "$defs": {"b": {"anyOf": [{"type": "object"}]}},
    }
    call = chat(
        tools=(Tool("f"),), format=Format("json_schema", "out", schema, True), reasoning=Reasoning(effort="low")
    )
    body, dropped = write(call, adaptive_thinking=True)
    closed = {"type": "object", "additionalProperties": False}
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": closed | {
            "properties": {"a": closed}, "$defs": {"b": {"anyOf": [closed]}}}},
    }  # fmt: skip
    assert len(body["tools"]) == 1
    assert body["thinking"] == {"type": "adaptive"}
    assert dropped == ()


def test_json_mode_is_asked_for_in_words():
    body, dropped = write(chat(format=Format("json_object", at="response_format")))
    assert "JSON" in body["system"]
    assert dropped == ("response_format",)


def test_stop_strings_of_white_space_are_left_out():
    body, dropped = write(chat(controls=controls(stop=["\n", "###"])))
    assert (body["stop_sequences"], dropped) == (["###"], ("stop",))
    assert "stop_sequences" not in write(chat(controls=controls(stop=["\n"])))[0]


@pytest.mark.parametrize("value", ["bob@a.example", "+49 170 1234567"])
def test_a_user_who_could_be_recognised_is_not_told(value):
    body, dropped = write(chat(controls=controls(user=value)))
    assert ("metadata" in body, dropped) == (False, ("user",))


@pytest.mark.parametrize("name", ["user", "safety_identifier"])
def test_a_pseudonym_is_the_user_id(name):
    assert write(chat(controls=controls(**{name: "u_7f"})))[0]["metadata"] == {"user_id": "u_7f"}


def test_settings_without_a_twin_are_named():
    settings = controls(seed=1, logprobs=True, frequency_penalty=0, service_tier="flex", metadata={"a": "b"}, n=1)
    body, dropped = write(chat(controls=settings))
    assert set(dropped) == {"seed", "logprobs", "service_tier", "metadata"}
    assert set(body) == {"model", "max_tokens", "messages"}


def test_more_than_one_answer_is_refused():
    with pytest.raises(GatewayError) as raised:
        write(chat(controls=controls(n=2)))
    assert (raised.value.failed.status, raised.value.failed.param) == (400, "n")


def test_warming_the_cache_is_never_a_paid_answer():
    body, dropped = write(chat(controls=controls(prompt_cache_options={"prewarm": True}), reasoning=Reasoning()))
    assert (body["max_tokens"], "thinking" in body, dropped) == (0, False, ())
    assert write(chat(controls=controls(prompt_cache_options={"mode": "implicit"})))[1] == ("prompt_cache_options",)


def test_fields_that_the_server_refuses_are_removed_and_named():
    body, dropped = write(chat(controls=controls(top_k=5)), refused_fields=("top_k", "metadata"))
    assert ("top_k" in body, dropped) == (False, ("top_k",))


def test_what_reading_has_dropped_is_named_too():
    assert write(chat(dropped=("n[0].x",)))[1] == ("n[].x",)


# Seals in the byte lane


def sealed(*parts):
    return {"model": "m", "messages": [*HELLO, {"role": "assistant", "content": list(parts)}]}


def test_a_request_without_seals_does_not_change():
    assert MESSAGES.restore(sealed(THOUGHT, {"type": "text", "text": "tg1."}), OURS) == ({}, ())
    assert MESSAGES.restore({"messages": "odd"}, OURS) == ({}, ())
    assert MESSAGES.restore({"messages": [1, {"content": [2]}]}, OURS) == ({}, ())


@pytest.mark.parametrize("items", [THOUGHT, [THOUGHT, {"type": "redacted_thinking", "data": "x"}]])
def test_our_seals_become_the_native_blocks_again(items):
    text = {"type": "text", "text": "a"}
    body = sealed({"type": "redacted_thinking", "data": seal(OURS, "messages", items)}, text)
    changed, dropped = MESSAGES.restore(body, OURS)
    native = items if isinstance(items, list) else [items]
    assert changed["messages"] == [*HELLO, {"role": "assistant", "content": [*native, text]}]
    assert (set(changed), dropped) == ({"messages"}, ())


@pytest.mark.parametrize("text", [seal(OTHER, "messages", THOUGHT), seal(OURS, "chat", {}), "tg1.broken"])
def test_seals_of_others_are_removed_and_no_message_is_left_empty(text):
    body = sealed({"type": "thinking", "thinking": "hm", "signature": text})
    changed, dropped = MESSAGES.restore(body, OURS)
    assert (changed["messages"], dropped) == (HELLO, ("messages[].content[]",))


# Errors


def test_an_error_is_written_with_its_details_and_its_id():
    failed = Failed("invalid_request", "no", details={"error_code": "x"})
    assert json.loads(MESSAGES.write_error(failed, "req_1")) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "no", "details": {"error_code": "x"}},
        "request_id": "req_1",
    }


# Recorded traffic

RECORDED = pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traffic of clients is not here")


def recorded():
    found = list((SHARED / "corpus" / "anthropic_messages").glob("*.request.json"))
    found += (SHARED / "clients").glob("*/*.request.json")
    for path in sorted(found):
        value = json.loads(path.read_bytes())
        if "clients" in path.parts:
            value = value["body"] if value["path"].partition("?")[0] == "/v1/messages" else None
        if value is not None:
            yield path.name if "corpus" in path.parts else f"{path.parent.name}/{path.name}", value


@RECORDED
def test_every_recorded_request_is_read_and_can_be_written_again():
    count = 0
    for name, body in recorded():
        if "thread" in body:
            with pytest.raises(GatewayError):
                MESSAGES.read_request(body)
            continue
        call = MESSAGES.read_request(body)
        again, _ = write(call)
        texts = [text for text in _texts(body["messages"]) if text.strip()]
        written = "\n".join(_texts(again["messages"]))
        assert all(text in written for text in texts), name
        assert [message["role"] for message in again["messages"]] == _roles(body["messages"]), name
        count += 1
    assert count > 90


def _texts(messages):
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        yield from (part["text"] for part in parts if part["type"] == "text")


def _roles(messages):
    """The roles in turn, system messages counted as the user's."""
    roles = ["assistant" if message["role"] == "assistant" else "user" for message in messages]
    return [role for i, role in enumerate(roles) if i == 0 or role != roles[i - 1]]


@RECORDED
def test_two_requests_of_claude_code_share_their_system_text():
    paths = sorted((SHARED / "clients" / "claude-code").glob("*.request.json"))
    bodies = [json.loads(path.read_bytes())["body"] for path in paths]
    first, second = [write(MESSAGES.read_request(body))[0] for body in bodies if body][:2]
    assert first["system"] == second["system"]
    assert "billing" not in json.dumps(first["system"])
