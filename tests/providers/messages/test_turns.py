"""The writer of a request's messages for a Messages provider."""

import attrs
import pytest

from providers.neutral.request import (
    FilePart,
    ImagePart,
    MediaSource,
    Message,
    NativePart,
    RefusalPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.messages_requests import assistant, chat, messages, user, write


def test_results_keep_their_error_and_their_media():
    """The mark of an error and images survive (agentgateway/agentgateway#909, CommandCodeAI/command-code#850)."""
    image = ImagePart(MediaSource("base64", "iVBORw0", None))
    written = messages(user(
        ToolResultPart("a", ()), ToolResultPart("b", (TextPart(" "),), True),
        ToolResultPart("c", (TextPart("x"), image)),
    ))  # fmt: skip
    assert written[0]["content"] == [
        {"type": "tool_result", "tool_use_id": "a"},
        {"type": "tool_result", "tool_use_id": "b", "content": " ", "is_error": True},
        {"type": "tool_result", "tool_use_id": "c", "content": [
            {"type": "text", "text": "x"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0"}}]},
    ]  # fmt: skip


def test_the_cache_mark_of_an_empty_text_moves_to_the_block_before():
    """(anthropics/claude-code#59812, anthropics/anthropic-sdk-python#461)"""
    mark = {"cache_control": {"type": "ephemeral"}}
    assert messages(user("go", TextPart("", marks=mark)))[0]["content"] == [{"type": "text", "text": "go"} | mark]
    assert write(chat(user(TextPart(" ", "messages[0]", mark), "go")))[1] == ("messages[].cache_control",)


def test_invalid_ids_are_replaced_alike_in_call_and_result():
    id = "call|" + "9" * 80
    written = messages(user("go"), assistant(ToolCallPart(id, "f", "{}")), user(ToolResultPart(id, ())))
    mapped = written[1]["content"][0]["id"]
    assert mapped == written[2]["content"][0]["tool_use_id"]
    assert mapped.startswith("toolu_")
    assert len(mapped) <= 64
    assert messages(assistant(ToolCallPart("call_1", "f", "")))[0]["content"][0]["id"] == "call_1"


def test_the_type_of_an_image_is_read_from_its_bytes_then_its_label():
    """OpenAI takes any label; Anthropic wants one of four (anthropics/claude-code#8184,
    NousResearch/hermes-agent#55432), and the one that fits the bytes (home-assistant/core#167208)."""
    for label, data, written in [
        ("image/jpg", "/9j/4AAQ", "image/jpeg"),
        ("image/jpg", "QUJD", "image/jpeg"),
        ("IMAGE/PNG", "QUJD", "image/png"),
        ("image/png", "/9j/4AAQ", "image/jpeg"),
        ("application/octet-stream", "UklGRg", "image/webp"),
        ("image/bmp", "Qk0", "image/bmp"),
        ("", "QUJD", "image/png"),
    ]:
        with case((label, data, written)):
            image = ImagePart(MediaSource("base64", data, label or None))
            assert messages(user(image))[0]["content"][0]["source"] == {
                "type": "base64", "media_type": written, "data": data,
            }  # fmt: skip


def test_a_text_file_that_is_no_text_is_a_400_with_the_path():
    with pytest.raises(GatewayError, match="must be base64 of UTF-8 text") as raised:
        write(chat(user(FilePart(MediaSource("base64", "!!", "text/plain"), at="messages[1].content[0]"))))
    assert (raised.value.info.status, raised.value.info.param) == (400, "messages[1].content[0]")


def test_hints_that_the_api_does_not_have_are_reported():
    """Else "name: Extra inputs are not permitted" (BerriAI/litellm#13609)."""
    image = ImagePart(MediaSource("url", "https://a.example"), "high", "messages[0].content[0]")
    text = TextPart("x", "messages[0].content[1]", {"new_hint": 1, "citations": []})
    turn = Message("user", (image, text, NativePart("responses", "x", {}, "input[3]")), "messages[0]", name="bob")
    body, dropped = write(chat(turn, assistant(RefusalPart("no"))))
    assert body["messages"][1]["content"] == "no"
    assert set(dropped) == {
        "messages[].content[].detail", "messages[].content[].new_hint", "messages[].content[].citations", "input[]",
        "messages[].name",
    }  # fmt: skip


@each_row("mark, sent", [
    ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, {"ttl": "1h"}),
    ({"prompt_cache_breakpoint": {"mode": "explicit"}}, {}),
    ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"ttl": "1h"}),
])  # fmt: skip
def test_breakpoints_get_the_nearest_lifetime_of_this_api(mark, sent):
    """Without a lifetime, each API's default applies: 30 minutes at OpenAI, 5 at Anthropic
    (garrytan/gbrain#2442)."""
    part = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"} | sent}
    assert messages(user(TextPart("x", marks=mark)))[0]["content"] == [part]


def test_only_the_last_four_cache_marks_are_sent():
    """More are a 400 (CaddyGlow/ccproxy-api#61, Portkey-AI/gateway#1140)."""
    mark = {"cache_control": {"type": "ephemeral"}}
    tool = Tool("f", at="tools[0]", marks=mark)
    parts = [TextPart(text, f"messages[0].content[{i}]", mark) for i, text in enumerate("abcd")]
    body, dropped = write(chat(user(*parts), tools=(tool,)))
    assert "cache_control" not in body["tools"][0]
    assert all("cache_control" in block for block in body["messages"][0]["content"])
    assert dropped == ("tools[].cache_control",)


def test_marks_on_server_side_blocks_count_among_the_four():
    """(Portkey-AI/gateway#1140)"""
    mark = {"cache_control": {"type": "ephemeral"}}
    item = {"type": "container_upload", "file_id": "f"} | mark
    parts = [TextPart(text, f"messages[1].content[{i}]", mark) for i, text in enumerate("abcd")]
    call = attrs.evolve(chat(user(NativePart("messages", item["type"], item, "messages[0].content[0]"), *parts)),
                        api="messages")  # fmt: skip
    body, dropped = write(call)
    marked = ["cache_control" in block for block in body["messages"][0]["content"]]
    assert (marked, dropped) == ([False, True, True, True, True], ("messages[].content[].cache_control",))
    assert "cache_control" in item, "the client's own value stays as it is"


def test_instructions_between_a_call_and_its_result_follow_the_result():
    """The result must come first, and the instructions stay in their place otherwise (timothy-agent/timothy#33)."""
    late = Message("developer", (TextPart("C"),))
    written = messages(user("go"), assistant(ToolCallPart("a", "f", "{}")), late, user(ToolResultPart("a", ())))
    assert [block["type"] for block in written[2]["content"]] == ["tool_result", "text"]
    assert written[2]["content"][1]["text"] == "<system>\nC\n</system>"


def test_separate_results_of_one_turn_are_joined():
    """(diegosouzapw/OmniRoute#4882, rowboatlabs/rowboat#378)"""
    calls = assistant(ToolCallPart("a", "f", "{}")), assistant(ToolCallPart("b", "f", "{}"))
    results = user("one", ToolResultPart("a", ())), user("two", ToolResultPart("b", ()))
    written = messages(user("go"), *calls, *results)
    assert [block["id"] for block in written[1]["content"]] == ["a", "b"]
    assert [block.get("tool_use_id") or block["text"] for block in written[2]["content"]] == ["a", "b", "one", "two"]


def test_assistant_messages_have_no_documents_and_user_texts_no_citations():
    """Both are a 400 since 2026-10-21 (API migration page)."""
    file = FilePart(MediaSource("text", "x", "text/plain"), at="messages[1].content[0]")
    cited = TextPart("q", "messages[0].content[0]", {"citations": [{"type": "char_location"}]})
    body, dropped = write(chat(user(cited), assistant(file, "a")), anthropic_version="2026-10-21")
    assert body["messages"] == [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert dropped == ("messages[].content[].citations", "messages[].content[]")
