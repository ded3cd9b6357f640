"""The reader of Messages requests."""

import hashlib

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.request import (
    FilePart,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    NativeTool,
    Parameter,
    Reasoning,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
)
from providers.neutral.seal import Seal, seal
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.messages_requests import HELLO, OTHER, OURS, THOUGHT, blocks, read, rejection_of, write


def test_a_plain_request_is_read():
    call = read(system="Be brief.", stream=True, temperature=0.5, stop_sequences=["###"])
    assert (call.api, call.model, call.stream) == ("messages", "m", True)
    assert call.messages == (
        Message("system", (TextPart("Be brief.", "system"),), "system"),
        Message("user", (TextPart("hello", "messages[0].content"),), "messages[0]"),
    )
    assert {name: control.value for name, control in call.parameters.items()} == {
        "max_tokens": 10, "temperature": 0.5, "stop": ["###"],
    }  # fmt: skip
    assert call.dropped == ()


def test_a_thread_is_refused_so_that_the_tool_runner_tries_without():
    failed = rejection_of(thread={"type": "create"})
    assert failed.kind == "invalid_request"
    assert failed.details == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def test_the_billing_block_is_removed_and_reported():
    """It changes with every request (anthropics/claude-code#68900, vllm-project/vllm#36829)."""
    system = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1;"},
        {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
    ]
    call = read(system=system)
    marks = {"cache_control": {"type": "ephemeral"}}
    assert call.messages[0].parts == (TextPart("You are an agent.", "system[1]", marks),)
    assert call.dropped == ("system[]",)


def test_the_billing_line_of_a_string_goes_alone():
    assert read(system="x-anthropic-billing-header: a;\nBe brief.").messages[0].parts == (
        TextPart("Be brief.", "system"),
    )
    assert [message.role for message in read(system="x-anthropic-billing-header: a;").messages] == ["user"]


def test_system_messages_in_the_middle_stay_there():
    """Claude Code sends them for models that it does not know (recorded)."""
    call = read(messages=[*HELLO, {"role": "system", "content": "Agents: none"}, *HELLO])
    assert [message.role for message in call.messages] == ["user", "system", "user"]


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
        ImagePart(MediaSource("base64", "iVBO", "image/png"), at=f"{at}[0]"),
        ImagePart(MediaSource("url", "https://a.example/x.png"), at=f"{at}[1]"),
        FilePart(MediaSource("file_id", "file_1"), "T", f"{at}[2]", {"citations": {"enabled": 1}}),
        FilePart(MediaSource("text", "a", "text/plain"), None, f"{at}[3]"),
        ImagePart(MediaSource("url", "https://a.example/x.png"), at=f"{at}[3].source.content[1]"),
    )


def test_a_search_result_keeps_its_words():
    (part,) = blocks({"type": "search_result", "title": "T", "source": "https://a.example",
                      "content": [{"type": "text", "text": "found"}]})  # fmt: skip
    assert part.text == "T\nhttps://a.example\n\nfound"


def test_a_call_with_a_direct_caller_is_an_ordinary_call():
    """Anthropic says so of every call, and clients send it back; only a program as caller would be lost elsewhere."""
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    program = {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}
    own, programmed = (
        read(messages=[*HELLO, {"role": "assistant", "content": [call | {"caller": caller}]}])
        for caller in ({"type": "direct"}, program)
    )
    for api in ("chat", "responses"):
        assert CODECS[api].write_request(own, Recipient("m", OURS)).dropped == ()
        assert CODECS[api].write_request(programmed, Recipient("m", OURS)).dropped == ("messages[].content[].caller",)


def test_thinking_is_native_unless_we_sealed_it():
    item = {"field": "reasoning_content"}
    native, redacted, ours, hidden = blocks(
        THOUGHT,
        {"type": "redacted_thinking", "data": "b3Bh", "thinking": 1},  # a member of the other type may be anything
        {"type": "thinking", "thinking": "hm", "signature": seal(OTHER, "chat", item)},
        {"type": "redacted_thinking", "data": seal(OTHER, "responses", {"id": "rs"})},
        role="assistant",
    )
    assert (native.text, native.native, native.seal) == ("hm", THOUGHT, None)
    assert redacted.native == {"type": "redacted_thinking", "data": "b3Bh", "thinking": 1}
    assert (ours.text, ours.seal, ours.native) == ("hm", Seal(OTHER, "chat", item), None)
    assert hidden.seal == Seal(OTHER, "responses", {"id": "rs"})


def test_a_broken_seal_is_removed_and_reported():
    content = [{"type": "thinking", "thinking": "hm", "signature": "tg1.broken"}, {"type": "text", "text": "a"}]
    call = read(messages=[*HELLO, {"role": "assistant", "content": content}])
    assert [part.text for part in call.messages[1].parts] == ["a"]
    assert call.dropped == ("messages[].content[]",)


def test_calls_and_results_are_read():
    call = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "f",
        "input": {"z": 1.0, "a": []},
        "toolset_name": "s",
    }
    assert blocks(call, role="assistant") == (
        ToolCallPart("toolu_1", "f", '{"z":1.0,"a":[]}', at="messages[0].content[0]", marks={"toolset_name": "s"}),
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
    """(anthropics/claude-code#89211, router-for-me/CLIProxyAPI#1892)"""
    assert [tool.name for tool in read(tools=[SEARCH, *LATER]).tools] == ["search"]
    assert [tool.name for tool in read(tools=[SEARCH, *LATER], messages=FOUND).tools] == ["search", "called", "found"]


def test_deferred_tools_are_all_sent_where_anthropic_was_to_search():
    server = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    assert len(read(tools=[server, *LATER]).tools) == 4


def test_tool_choice_is_read():
    for choice, read_as, serial in [
        ({"type": "auto"}, ToolChoice("auto", at="tool_choice"), False),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required", at="tool_choice"), True),
        ({"type": "tool", "name": "f"}, ToolChoice("tool", "f", at="tool_choice"), False),
        ({"type": "none"}, ToolChoice("none", at="tool_choice"), False),
    ]:
        with case((choice, read_as, serial)):
            call = read(tool_choice=choice)
            assert call.tool_choice == read_as
            assert (call.parallel_tools is not None and call.parallel_tools.value is False) == serial


@each_row(
    "members, read_as",
    [
        ({"thinking": {"type": "disabled"}}, Reasoning("disabled", at="thinking")),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, Reasoning("enabled", budget=31999, at="thinking")),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
            Reasoning("adaptive", "high", summary=Parameter("auto", "thinking.display"), at="thinking"),
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


@each_row("place", ["output_config", "output_format"])
def test_structured_output_is_read_in_both_places(place):
    format = {"type": "json_schema", "schema": {"type": "object"}}
    call = read(**({place: {"format": format}} if place == "output_config" else {place: format}))
    assert (call.format.kind, call.format.schema, call.format.name) == ("json_schema", {"type": "object"}, None)


def test_a_long_user_id_becomes_a_stable_hash():
    """Claude Code sends JSON, and OpenAI takes 64 characters (maximhq/bifrost#1000)."""
    long = '{"device_id":"0"}'
    assert read(metadata={"user_id": long}).parameters["user"].value == hashlib.sha256(long.encode()).hexdigest()
    assert read(metadata={"user_id": "u-1"}).parameters["user"] == Parameter("u-1", "metadata.user_id")
    assert len(read(metadata={"user_id": "x" * 65}).parameters["user"].value) == 64


def test_members_that_only_this_api_has_are_listed():
    """No other API has a twin of these."""
    call = read(
        container="c", context_management={"edits": []}, mcp_servers=[], service_tier="standard_only",
        cache_control={"type": "ephemeral"}, output_config={"effort": "low", "task_budget": {}},
        messages=[{"role": "user", "content": [{"type": "text", "text": "x", "new": 1}], "clear_at": 1}],
    )  # fmt: skip
    assert set(call.dropped) == {
        "container", "context_management", "mcp_servers", "service_tier", "cache_control", "output_config.task_budget",
        "messages[].content[].new", "messages[].clear_at",
    }  # fmt: skip
    assert "service_tier" not in call.parameters
    assert read(service_tier="auto").parameters["service_tier"].value == "auto"


def test_fields_of_only_this_api_are_returned_to_its_providers():
    """Named as dropped for every other (API reference of Anthropic)."""
    own = {
        "cache_control": {"type": "ephemeral"}, "container": {"id": "c", "skills": []}, "speed": "fast",
        "metadata": {"user_id": "bob@a.example"}, "service_tier": "standard_only", "inference_geo": "us",
        "mcp_servers": [{"type": "url", "name": "x", "url": "https://a.example"}], "diagnostics": {},
    }  # fmt: skip
    body, dropped = write(read(**own))
    assert {name: body[name] for name in own} == own
    assert dropped == ()


def test_effort_alone_leaves_it_to_the_model_whether_to_think():
    """`output_config.effort` is legal without `thinking` (API reference of Anthropic)."""
    body, _ = write(read(output_config={"effort": "low"}), adaptive_thinking=True)
    assert (body["output_config"], "thinking" in body) == ({"effort": "low"}, False)
    body, _ = write(read(output_config={"effort": "low"}, thinking={"type": "adaptive"}), adaptive_thinking=True)
    assert (body["output_config"], body["thinking"]) == ({"effort": "low"}, {"type": "adaptive"})


def test_request_members_are_written_unchanged():
    for members in [
        {"max_tokens": 0},
        {"thinking": {"type": "disabled"}},
        {"tool_choice": {"type": "none"}, "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
        {"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "string"}}}},
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]},
    ]:
        with case(members):
            body, dropped = write(read(**members))
            assert {name: body[name] for name in members} == members
            assert dropped == ()
