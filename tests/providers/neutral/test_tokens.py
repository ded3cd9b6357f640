"""The offline estimate of input tokens, compared with providers' counts (recorded traffic)."""

import json
from pathlib import Path
from statistics import median

import pytest

from providers.apis import CODECS
from providers.catalog.models import letters_per_token, plain_name
from providers.neutral.request import ImagePart, MediaSource, Message, Request, TextPart, Tool
from providers.neutral.tokens import estimate
from streams.events import ReasoningDelta, TextDelta, ToolCallStart, Usage
from tests.support.each_row import each_row
from tests.support.provider_streams import read_stream
from tests.support.repository import SHARED

MOST = letters_per_token("")  # for models without a row
CORPUS = SHARED / "corpus"
FOLDERS = {"messages": "anthropic_messages", "chat": "openai_chat", "responses": "openai_responses"}
# The estimate cannot count tokens of data outside the request: results of server tools, stored prompts, and media that
# the recordings truncate.
UNCOUNTABLE = {"server_tool", "audio_input", "document_input", "file_input", "image_input"}
UNCOUNTABLE_NAMES = (
    "mixed-prompt-url", "web-search", "reads-pdfs", "citations-with",
    "perplexity-sonar-pro-understands-docx",  # its own `file_url` part, which no API of ours has
)  # fmt: skip


def recorded_requests(api: str):
    folder = CORPUS / FOLDERS[api]
    for request in sorted(folder.glob("*.request.json")):
        name = request.name.removesuffix(".request.json")
        meta = json.loads((folder / f"{name}.meta.json").read_text())
        if UNCOUNTABLE & set(meta["features"]) or any(word in name for word in UNCOUNTABLE_NAMES):
            continue
        usage = [event for event in answer(api, folder, name) if isinstance(event, Usage)]
        if usage and usage[-1].prompt:
            yield name, CODECS[api].read_request(json.loads(request.read_bytes())), usage[-1].prompt


def answer(api: str, folder: Path, name: str):
    codec, whole = CODECS[api], folder / f"{name}.response.json"
    if whole.exists():
        return codec.read_answer(whole.read_bytes())
    return read_stream(codec, (folder / f"{name}.response.sse").read_bytes())


@pytest.mark.skipif(not CORPUS.exists(), reason="the recorded traffic is not beside this checkout")
@pytest.mark.parametrize(
    ("api", "least", "usual"), [("messages", 0.95, 2.5), ("chat", 0.95, 7), ("responses", 0.95, 8)]
)
def test_the_estimate_errs_high_on_recorded_requests(api, least, usual):
    ratios = {
        name: estimate(call, letters_per_token(plain_name(call.model))) / counted
        for name, call, counted in recorded_requests(api)
    }
    assert len(ratios) >= 30
    assert {name: ratio for name, ratio in ratios.items() if ratio < least} == {}
    assert median(ratios.values()) < usual  # most recordings are of a few words, where the fixed part rules


def recorded_prose():
    """Yield recorded answers that are only text, with the tokens that their models counted.

    Some have fewer than 3.4 bytes for each token: their models thought, too, and did not show it."""
    for api, folder in (*FOLDERS.items(), ("gemini", "gemini"), ("converse", "bedrock_converse")):
        for whole in sorted((CORPUS / folder).glob("*.response.json")):
            events = answer(api, whole.parent, whole.name.removesuffix(".response.json"))
            usage = [event for event in events if isinstance(event, Usage)]
            text = "".join(event.text for event in events if isinstance(event, TextDelta))
            only_text = not any(isinstance(event, ToolCallStart | ReasoningDelta) for event in events)
            if usage and only_text and usage[-1].output >= 80 and 3.4 < len(text.encode()) / usage[-1].output < 6:
                yield text, usage[-1].output


@pytest.mark.skipif(not CORPUS.exists(), reason="the recorded traffic is not beside this checkout")
def test_the_estimate_of_prose_is_a_little_above_the_counts_of_models():
    def tokens(text):
        return estimate(Request("chat", "m", (Message("user", (TextPart(text),)),)), MOST)

    ratios = [(tokens(text) - tokens("")) / counted for text, counted in recorded_prose()]
    assert len(ratios) >= 20
    assert min(ratios) >= 0.99
    assert median(ratios) < 1.25


@each_row(
    ("model", "most"),
    [("gpt-5.6-sol", 1.2), ("claude-sonnet-4-5", 1.2), ("claude-opus-4-8", 1.6), ("claude-sonnet-5", 1.6)],
)
def test_the_estimate_of_long_prose_is_too_high_by_a_bounded_factor(model, most):
    prose = "The quick brown fox jumps over the lazy dog, and nobody minds it at all. " * 2000
    tokens = len(prose) / 4.2  # what common tokenizers make of English
    request = Request("chat", "m", (Message("user", (TextPart(prose),)),))
    assert tokens < estimate(request, letters_per_token(model)) < most * tokens


def test_hashes_and_code_count_more_than_prose():
    def tokens(text):
        return estimate(Request("chat", "m", (Message("user", (TextPart(text),)),)), MOST)

    prose = "the lazy dog sleeps " * 200
    assert tokens("0123456789abcdef" * 250) > 1.5 * tokens(prose)
    assert tokens("abcdefghijklmnopqrst" * 200) > 1.3 * tokens(prose)
    assert tokens('{"a":[1,2],"b":{}}\n' * 200) > 1.5 * tokens(prose)


def test_everything_that_is_sent_counts():
    def count(*parts, tools=()):
        return estimate(Request("chat", "m", (Message("user", parts),), tools=tools), MOST)

    nothing = count()
    assert nothing > 0  # a 0 switches a client's compaction off (Wei-Shaw/sub2api#657)
    assert count(TextPart("日本語" * 100)) - nothing > 300
    assert count(ImagePart(MediaSource("url", "https://x.example/y.png"))) - nothing > 1000
    assert count(tools=(Tool("f", "does it", {"type": "object", "properties": {}}),)) - nothing > 300
