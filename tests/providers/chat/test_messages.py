"""The writer of a Chat request's messages. Pure values."""

import json

from providers.catalog.provider import COMPATIBLE
from providers.chat import CHAT
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    NativeTool,
    Parameter,
    RefusalPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from providers.responses import RESPONSES
from tests.support.chat_wire import OWN, assistant, encode_request, messages, user
from tests.support.each_row import each_row


def test_results_follow_their_calls_in_order_before_anything_else():
    turns = (
        assistant(TextPart("calling"), ToolCallPart("a", "f", "")),
        assistant(ToolCallPart("b", "g", "{}")),
        user(TextPart("first"), ToolResultPart("b", (TextPart("B"),))),
        user(ToolResultPart("a", (TextPart("A"),)), TextPart("second")),
        user(ToolResultPart("z", (TextPart("orphan"),))),
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


def test_each_refusal_of_a_message_is_sent():
    assert messages(assistant(RefusalPart("No"), TextPart("a"), RefusalPart(", never"))) == [
        {"role": "assistant", "content": "a", "refusal": "No, never"}
    ]


def test_images_of_original_size_get_high_detail_for_compatible_servers():
    """Codex requests it (farion1231/cc-switch#7555, farion1231/cc-switch#6569); only OpenAI knows it."""
    image = ImagePart(MediaSource("url", "https://a"), "original", at="input[0].content[0]")
    turns = user(image), assistant(ToolCallPart("a", "f", "{}")), user(ToolResultPart("a", (image,)))
    call = Request("responses", "m", turns)
    for quirks, detail, dropped in [
        (Quirks(), "original", ()),
        (COMPATIBLE, "high", ("input[].content[].detail",)),
    ]:
        out = CHAT.write_request(call, Recipient("m", OWN, quirks))
        assert [image["detail"] for image in images_of(json.loads(out.body))] == [detail, detail]
        assert out.dropped == dropped


def images_of(body):
    parts = [part for message in body["messages"] for part in message["content"] or () if isinstance(part, dict)]
    return [part["image_url"] for part in parts if part["type"] == "image_url"]


def test_images_of_results_are_in_one_message_after_all_results():
    image = ImagePart(MediaSource("base64", "QUJD", "image/png"))
    turns = (
        assistant(ToolCallPart("a", "f", "{}"), ToolCallPart("b", "f", "{}")),
        user(ToolResultPart("a", (TextPart("see"), image)), ToolResultPart("b", (image,)), TextPart("and?")),
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


@each_row(
    ("parts", "expected"),
    [
        ((TextPart("boom"),), "Error: boom"),
        ((), "Error: "),
        ((TextPart("a"), TextPart("b")), "Error: a\nb"),
    ],
)
def test_a_failed_tool_is_reported_in_words(parts, expected):
    turns = (assistant(ToolCallPart("a", "f", "{}")), user(ToolResultPart("a", parts, is_error=True)))
    assert messages(*turns)[1]["content"] == expected


def test_parts_of_other_apis_are_dropped_and_reported():
    mark = {"cache_control": {"type": "ephemeral"}}
    turns = (
        user(TextPart("a", "messages[0].content[0]", mark)),
        assistant(NativePart("messages", "server_tool_use", {}, "messages[1].content[0]"), TextPart("b")),
    )
    call = Request(
        "messages",
        "m",
        turns,
        tools=(Tool("f", at="tools[0]", marks=mark), NativeTool("messages", "bash", {}, "tools[1]")),
        parameters={"top_k": Parameter(3, "top_k"), "service_tier": Parameter("standard_only", "service_tier")},
        dropped=("speed",),
    )
    body, dropped = encode_request(call)
    assert dropped == (
        "speed", "messages[].content[].cache_control", "messages[].content[]", "tools[].cache_control", "tools[]",
        "tools[]: bash",
        "service_tier", "top_k",
    )  # fmt: skip
    assert body["messages"][0] == {"role": "user", "content": "a"}
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    ]


def test_instructions_of_a_responses_client_come_before_its_developer_messages():
    """Neither overwrites the other (MetaFARS/codex-relay#65, theopenco/llmgateway#1807, mnfst/llm-gateway#1900)."""
    body = {
        "model": "m",
        "instructions": "A",
        "input": [{"role": "developer", "content": "B"}, {"role": "user", "content": "C"}],
    }
    out, _ = encode_request(RESPONSES.read_request(body), developer_role=False)
    assert [(one["role"], one["content"]) for one in out["messages"]] == [
        ("system", "A"),
        ("system", "B"),
        ("user", "C"),
    ]


EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
OWN_MARK = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}


@each_row(
    ("marks", "expected"),
    [
        (EPHEMERAL, {"mode": "explicit"}),
        ({"cache_control": {"type": "ephemeral", "ttl": "5m"}}, {"mode": "explicit"}),
        (HOUR, {"mode": "explicit", "ttl": "12h"}),
        (OWN_MARK, {"mode": "explicit", "ttl": "30m"}),
    ],
)
@each_row(
    "turn",
    [
        lambda marks: Message("system", (TextPart("a", "x", marks),)),
        lambda marks: user(TextPart("a", "x", marks)),
        lambda marks: assistant(TextPart("a", "x", marks)),
        lambda marks: user(ImagePart(MediaSource("url", "https://a"), at="x", marks=marks)),
        lambda marks: user(ToolResultPart("a", (TextPart("a", "x", marks),))),
        lambda marks: user(ToolResultPart("a", (TextPart("a"), TextPart("b")), at="x", marks=marks)),
    ],
)
def test_cache_marks_become_breakpoints_where_the_model_has_them(turn, marks, expected):
    """CaddyGlow/ccproxy-api#61, Portkey-AI/gateway#1140, garrytan/gbrain#2442."""
    call = Request("messages", "m", (turn(marks),))
    body, dropped = encode_request(call, cache_breakpoints=True)
    assert body["messages"][0]["content"][-1]["prompt_cache_breakpoint"] == expected
    assert dropped == ()
    body, dropped = encode_request(call)
    assert "prompt_cache_breakpoint" not in json.dumps(body)
    assert dropped == (f"x.{next(iter(marks))}",)


def test_cache_marks_without_content_are_reported():
    turns = (
        user(TextPart("", "a", EPHEMERAL), TextPart("hi")),
        assistant(ToolCallPart("x", "f", "{}", at="b", marks=EPHEMERAL)),
        user(ToolResultPart("x", (), at="c", marks=EPHEMERAL)),
    )
    call = Request("messages", "m", turns, tools=(Tool("f", at="d", marks=EPHEMERAL),))
    assert set(encode_request(call, cache_breakpoints=True)[1]) == {f"{at}.cache_control" for at in "abcd"}
    odd = Request("messages", "m", (user(TextPart("a", "x", {"cache_control": 3})),))
    assert encode_request(odd, cache_breakpoints=True)[1] == ("x.cache_control",)
