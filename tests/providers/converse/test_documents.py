"""Documents, images and cache marks in requests for Bedrock's Converse."""

import json
import re
from typing import Any

import attrs
import pytest

from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    MediaSource,
    ReasoningPart,
    TextPart,
)
from providers.neutral.seal import Seal
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.converse_requests import (
    CLAUDE,
    LLAMA,
    NOVA,
    OURS,
    PIXEL,
    WEATHER,
    assistant,
    chat,
    messages,
    system,
    user,
    write,
)

SIGNED = {"reasoningText": {"text": "hm", "signature": "c2ln"}}
MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def content(*parts: Any, model: str = CLAUDE) -> list[Any]:
    """Return the content of one user's message."""
    return list(messages(user(*parts), model=model)[0]["content"])


# Documents and pictures


def pdf(filename: str | None = None, **marks: Any) -> FilePart:
    return FilePart(MediaSource("base64", "JVBERi0=", "application/pdf"), filename, "messages[1].content[0]", marks)


def test_documents_have_unique_names_and_a_text_next_to_them():
    """Two untitled documents were refused, always (maximhq/bifrost#7003, archestra-ai/archestra#4220)."""
    titled = ("Q3: report_final.v2.pdf", "q3 report final v2.docx", "Документ.pdf")
    blocks = content(pdf(), pdf(), *map(pdf, titled))
    names = [block["document"]["name"] for block in blocks if "document" in block]
    assert names == ["Document 1", "Document 2", "Q3 report final v2", "q3 report final v2 (2)", "Document 3"]
    assert all(re.fullmatch(r"[A-Za-z0-9\-()\[\]]+( [A-Za-z0-9\-()\[\]]+)*", name) for name in names)
    assert blocks[-1]["text"].strip()
    assert [kind for block in content("Look.", pdf()) for kind in block] == ["text", "document"]


def test_documents_keep_their_context_and_citation_settings():
    (document, _) = content(pdf("a.pdf", context="HR", citations={"enabled": True}))
    assert document["document"]["context"] == "HR"
    assert document["document"]["citations"] == {"enabled": True}


def png(value: str = PIXEL, media_type: str | None = "image/png") -> MediaSource:
    return MediaSource("base64", value, media_type)


def test_media_are_sent_as_bytes_or_from_s3():
    for part, written in [
        (ImagePart(png()), {"image": {"format": "png", "source": {"bytes": PIXEL}}}),
        (ImagePart(png(media_type="image/jpeg")), {"image": {"format": "png", "source": {"bytes": PIXEL}}}),
        (
            ImagePart(MediaSource("url", "s3://bucket/a.jpg")),
            {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/a.jpg"}}}},
        ),
        (
            FilePart(MediaSource("base64", "YSxi", "text/csv"), "a.csv"),
            {"document": {"format": "csv", "name": "a", "source": {"bytes": "YSxi"}}},
        ),
    ]:
        with case((part, written)):
            assert content("Look.", part)[1] == written


def test_media_that_no_provider_accepts_are_refused_with_their_path():
    for part, words in [
        (ImagePart(MediaSource("base64", "AAAA", "image/bmp"), at="messages[0].content[0]"), "image/bmp"),
        (FilePart(MediaSource("base64", "AAAA", "video/ogg"), at="messages[0].content[0]"), "video/ogg"),
        (FilePart(MediaSource("text", ""), at="messages[0].content[0]"), "empty"),
        (AudioPart("AAAA", "midi", at="messages[0].content[0]"), "midi"),
    ]:
        with case((part, words)):
            with pytest.raises(GatewayError, match=words) as raised:
                write(chat(user(part)))
            assert raised.value.info.param == "messages[0].content[0]"


# Cache marks


def test_models_that_do_not_cache_get_no_marks():
    """Claude Code's marks killed every model that cannot cache (BerriAI/litellm#39210)."""
    request = chat(system(TextPart("r", "system", MARK)), user(TextPart("a", "messages[0].content[0]", MARK)))
    body, dropped = write(request, LLAMA)
    assert "cachePoint" not in json.dumps(body)
    assert dropped == ("system.cache_control", "messages[].content[].cache_control")
    assert write(request, "anthropic.claude-3-haiku-20240307-v1:0")[1] == dropped  # pensarai/apex#943
    tool = attrs.evolve(WEATHER, marks=MARK)
    assert write(chat(tools=(tool,)), NOVA)[1] == ("tools[].cache_control",)
    assert "cachePoint" in json.dumps(write(request, NOVA)[0])


def test_there_are_at_most_four_marks_and_their_lifetimes_never_increase():
    parts = [TextPart(f"t{n}", f"messages[{n}]", HOUR if n % 2 else MARK) for n in range(6)]
    body, dropped = write(chat(user(*parts)))
    kinds = [block.get("cachePoint", {}).get("ttl", "5m" if "cachePoint" in block else "-")
             for block in body["messages"][0]["content"]]  # fmt: skip
    assert kinds == ["-", "-", "-", "5m", "-", "5m", "-", "5m", "-", "5m"]
    assert dropped == ("messages[].cache_control", "messages[].cache_control.ttl")


def test_no_mark_is_repeated_or_follows_reasoning():
    part = ReasoningPart("", Seal(OURS, "converse", SIGNED))
    blank = TextPart(" ", "messages[1].content", MARK)
    turns = messages(user("a"), assistant(part, blank, TextPart("b", marks=MARK), blank), user("c"))
    assert [next(iter(block)) for block in turns[1]["content"]] == ["reasoningContent", "text", "cachePoint"]
