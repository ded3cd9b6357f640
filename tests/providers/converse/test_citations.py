"""Pages that the answer of another API cites, for Converse clients."""

import json
from typing import Any

import pytest

from providers.converse.writer import write_citation
from providers.grammar import judge
from streams.events import AnswerEnd, AnswerStart, BlockEnd, Citation, Event, TextDelta, Usage
from streams.fold import fold
from tests.support.made_images import read_events, stream_for, whole_for

pytest.importorskip("botocore", reason="Amazon's SDK, whose parser reads what is written here, is not installed")
from tests.support.cases import case
from tests.support.converse_sdk import join_blocks
from tests.support.each_row import each_row

URL = "https://www.example.org/a?b=c"
LINKS: dict[str, Any] = {
    "chat": {"type": "url_citation", "url_citation": {"url": URL, "title": "T", "start_index": 0, "end_index": 2}},
    "messages": {
        "type": "web_search_result_location", "url": URL, "title": "T", "encrypted_index": "x", "cited_text": "a fact",
    },
    "responses": {"type": "url_citation", "url": URL, "title": "T", "start_index": 0, "end_index": 2},
    "gemini": {"url": URL, "title": "T"},
    "interactions": {"type": "url_citation", "url": URL, "title": "T"},
}  # fmt: skip
PAGE = {"location": {"web": {"url": URL, "domain": "www.example.org"}}, "title": "T"}


def answer_with(*cited: Citation) -> list[Event]:
    return [AnswerStart(), TextDelta(0, "Hi"), *cited, BlockEnd(0), Usage(input=3, output=4), AnswerEnd("stop")]


def citation_of(provider: str) -> dict[str, Any]:
    return PAGE | ({"sourceContent": [{"text": "a fact"}]} if provider == "messages" else {})


@each_row("provider", LINKS)
def test_a_cited_page_is_in_a_whole_answer(provider):
    body = whole_for("converse", answer_with(Citation(0, provider, LINKS[provider])))
    (block,) = json.loads(body)["output"]["message"]["content"]
    assert block == {"citationsContent": {"content": [{"text": "Hi"}], "citations": [citation_of(provider)]}}


@each_row("provider", LINKS)
def test_the_sdk_reads_a_cited_page_in_a_stream(provider):
    out = stream_for("converse", answer_with(Citation(0, provider, LINKS[provider])))
    (block,) = join_blocks(out)
    assert block == {"citationsContent": {"content": [{"text": "Hi"}], "citations": [citation_of(provider)]}}
    verdict = judge("converse", out)
    assert (verdict.outcome, verdict.broken) == ("complete", None)


@each_row("write", [whole_for, stream_for])
@each_row("provider", LINKS)
def test_a_reader_finds_the_page_that_a_writer_wrote(provider, write):
    body = write("converse", answer_with(Citation(0, provider, LINKS[provider])))
    (block,) = fold(read_events("converse", body)).blocks
    assert [(one.item["url"], one.item["title"]) for one in block.citations] == [(URL, "T")]
    again = write("converse", answer_with(*block.citations))
    assert again == body


def test_the_domain_is_that_of_the_url():
    for url, domain in [
        ("https://e.org", "e.org"), ("http://user@e.org:80/x", "e.org"), ("https://E.org?q=//x", "E.org"),
        ("gs://bucket/a", "bucket"), ("/a", None), ("https://", None), ("https://[x/a", None), ("mailto:a@b", None),
        ("https://[::1]:80/x", "[::1]"), ("https://e.org@@other.org/", "other.org"), ("https://e.org@:80/", None),
        ("https://user:e.org@f@other.org:80/", "other.org"), ("https://e.org:x@@", None), ("https://@", None),
        ("https://e.org\\@other.org", "e.org"), ("https://e.org:80", "e.org"),
    ]:  # fmt: skip
        with case((url, domain)):
            found = write_citation(Citation(0, "gemini", {"url": url}))
            assert found == {"location": {"web": {"url": url} | ({"domain": domain} if domain else {})}}
