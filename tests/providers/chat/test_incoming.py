"""The reader of Chat requests, as clients send them. Pure values."""

import attrs

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.request import (
    AudioPart,
    FilePart,
    Format,
    ImagePart,
    MediaSource,
    Parameter,
    Reasoning,
    TextPart,
    Tool,
    ToolChoice,
)
from tests.support.cases import case
from tests.support.chat_wire import OWN, chat_request


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
    parts = chat_request({"role": "user", "content": content}).messages[0].parts
    assert [attrs.evolve(part, at="") for part in parts] == [
        TextPart("t", marks={"cache_control": {"type": "ephemeral"}}),
        ImagePart(MediaSource("url", "https://a/b.png"), "low"),
        ImagePart(MediaSource("base64", "QUJD", "image/png")),
        ImagePart(MediaSource("base64", "PHN2Zz4=", "image/svg+xml")),
        AudioPart("QUJD", "wav"),
        FilePart(MediaSource("base64", "QUJD", "application/pdf"), "a.pdf"),
        FilePart(MediaSource("base64", "QUJD", "text/plain"), "notes.txt"),
        FilePart(MediaSource("file_id", "file-1")),
    ]
    assert [part.at for part in parts] == [f"messages[0].content[{i}]" for i in range(len(content))]


def test_legacy_functions_are_paired_by_name():
    call = chat_request(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "1"}},
        {"role": "function", "name": "f", "content": "one"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "2"}},
        {"role": "function", "name": "f", "content": "two"},
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    ids = [call.messages[i].parts[0].id for i in (0, 2)]
    assert [call.messages[i].parts[0].call_id for i in (1, 3)] == ids
    assert len(set(ids)) == 2
    assert call.tools == (Tool("f", schema={"type": "object"}, at="functions[0]"),)
    assert call.tool_choice == ToolChoice("tool", "f", at="function_call")
    assert call.dropped == ()


def test_the_function_in_a_result_is_no_loss_elsewhere():
    """CrewAI and LangChain for JavaScript add it. Calls and results match by id."""
    function = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    call = chat_request(
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [function]},
        {"role": "tool", "tool_call_id": "c", "name": "f", "content": "b"},
    )
    for api, codec in CODECS.items():
        with case(api):
            assert codec.write_request(call, Recipient("m", OWN)).dropped == ()


def test_a_mark_next_to_the_role_counts_for_the_last_part():
    mark = {"type": "ephemeral"}
    call = chat_request({"role": "system", "content": [{"type": "text", "text": "A"}] * 2, "cache_control": mark})
    assert [part.marks for part in call.messages[0].parts] == [{}, {"cache_control": mark}]
    assert call.dropped == ()


def test_tool_choices_in_other_forms_are_read():
    for choice, expected in [
        ("any", ToolChoice("required")),
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
    ]:
        with case((choice, expected)):
            assert chat_request(tool_choice=choice).tool_choice == attrs.evolve(expected, at="tool_choice")


def test_reasoning_of_every_form_is_read():
    for fields, expected in [
        ({"reasoning_effort": "high"}, Reasoning("enabled", "high", at="reasoning_effort")),
        ({"reasoning_effort": "none"}, Reasoning("disabled", "none", at="reasoning_effort")),
        ({"reasoning": {"effort": "low"}}, Reasoning("enabled", "low", at="reasoning.effort")),
        ({"reasoning": {"max_tokens": 99}}, Reasoning("enabled", budget=99, at="reasoning")),
        ({"reasoning": {"enabled": False}}, Reasoning("disabled", at="reasoning")),
        ({"reasoning_effort": None}, None),
    ]:
        with case((fields, expected)):
            assert chat_request(**fields).reasoning == expected


def test_settings_are_read_by_their_neutral_names():
    """Of two limits, that of the newer name counts (decolua/9router#560, maximhq/bifrost#6457)."""
    call = chat_request(
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
    assert {name: control.value for name, control in call.parameters.items()} == {
        "max_tokens": 7,
        "stop": ["END"],
        "temperature": 1.0,
        "verbosity": "low",
    }
    assert call.parallel_tools == Parameter(False, "parallel_tool_calls")
    assert (call.stream, call.include_usage) == (True, True)
    assert call.format == Format("json_schema", "n", {}, True, at="response_format")
    assert call.dropped == ("stream_options.new", "top_k")
    assert chat_request(max_tokens=5).parameters["max_tokens"] == Parameter(5, "max_tokens")
    assert chat_request(response_format={"type": "text"}).format is None
