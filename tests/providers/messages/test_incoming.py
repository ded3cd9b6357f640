"""The reader of Messages requests."""

import hashlib

from providers.neutral.request import (
    FilePart,
    ImagePart,
    MediaSource,
    Message,
    Parameter,
    Reasoning,
    TextPart,
)
from tests.support.each_row import each_row
from tests.support.messages_requests import HELLO, blocks, read, rejection_of, write


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


def test_files_and_nested_media_are_read():
    linked = {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}}
    pdf = {
        "type": "document",
        "title": "T",
        "source": {"type": "file", "file_id": "file_1"},
        "citations": {"enabled": 1},
    }
    text = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}, linked]}}
    at = "messages[0].content"
    assert blocks(pdf, text) == (
        FilePart(MediaSource("file_id", "file_1"), "T", f"{at}[0]", {"citations": {"enabled": 1}}),
        FilePart(MediaSource("text", "a", "text/plain"), None, f"{at}[1]"),
        ImagePart(MediaSource("url", "https://a.example/x.png"), at=f"{at}[1].source.content[1]"),
    )


def test_each_text_of_a_search_result_is_read():
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = {"type": "search_result", "title": "T", "source": "https://a.example", "content": texts}
    assert blocks(found) == (TextPart("T\nhttps://a.example\n\na\n\nb", "messages[0].content[0]"),)


def test_a_broken_seal_is_removed_and_reported():
    content = [{"type": "thinking", "thinking": "hm", "signature": "tg1.broken"}, {"type": "text", "text": "a"}]
    call = read(messages=[*HELLO, {"role": "assistant", "content": content}])
    assert [part.text for part in call.messages[1].parts] == ["a"]
    assert call.dropped == ("messages[].content[]",)


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
