"""Pages that the answer of another API cites, for Converse clients."""

from typing import Any

import pytest

from providers.grammar import judge
from streams.events import AnswerEnd, AnswerStart, BlockEnd, Citation, Event, TextDelta, Usage
from tests.support.made_images import stream_for

pytest.importorskip("botocore", reason="Amazon's SDK, whose parser reads what is written here, is not installed")
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
def test_the_sdk_reads_a_cited_page_in_a_stream(provider):
    out = stream_for("converse", answer_with(Citation(0, provider, LINKS[provider])))
    (block,) = join_blocks(out)
    assert block == {"citationsContent": {"content": [{"text": "Hi"}], "citations": [citation_of(provider)]}}
    verdict = judge("converse", out)
    assert (verdict.outcome, verdict.broken) == ("complete", None)
