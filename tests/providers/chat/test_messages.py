"""The writer of a Chat request's messages. Pure values."""

import json

from providers.catalog.provider import COMPATIBLE
from providers.chat import CHAT
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    FilePart,
    ImagePart,
    MediaSource,
    NativePart,
    NativeTool,
    Parameter,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from tests.support.chat_wire import OWN, assistant, encode_request, messages, user


def test_images_in_original_size_are_of_high_detail_where_that_is_unknown():
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


def test_documents_are_files_and_plain_ones_are_text():
    pdf = FilePart(MediaSource("base64", "QUJD", "application/pdf"))
    assert messages(user(pdf, FilePart(MediaSource("text", "plain"))))[0]["content"] == [
        {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
        {"type": "text", "text": "plain"},
    ]


EPHEMERAL = {"cache_control": {"type": "ephemeral"}}


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
