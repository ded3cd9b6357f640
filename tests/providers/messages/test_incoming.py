"""The reader of Messages requests."""

import hashlib

from providers.neutral.request import (
    FilePart,
    ImagePart,
    MediaSource,
    Parameter,
    TextPart,
)
from tests.support.messages_requests import HELLO, blocks, read, rejection_of


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


def test_a_broken_seal_is_removed_and_reported():
    content = [{"type": "thinking", "thinking": "hm", "signature": "tg1.broken"}, {"type": "text", "text": "a"}]
    call = read(messages=[*HELLO, {"role": "assistant", "content": content}])
    assert [part.text for part in call.messages[1].parts] == ["a"]
    assert call.dropped == ("messages[].content[]",)


def test_a_long_user_id_becomes_a_stable_hash():
    """Claude Code sends JSON, and OpenAI takes 64 characters (maximhq/bifrost#1000)."""
    long = '{"device_id":"0"}'
    assert read(metadata={"user_id": long}).parameters["user"].value == hashlib.sha256(long.encode()).hexdigest()
    assert read(metadata={"user_id": "u-1"}).parameters["user"] == Parameter("u-1", "metadata.user_id")
    assert len(read(metadata={"user_id": "x" * 65}).parameters["user"].value) == 64
