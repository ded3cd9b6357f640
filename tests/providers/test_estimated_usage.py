"""Usage that the provider did not report is estimated alike in every API, streamed and whole."""

import json
from collections.abc import Sequence
from itertools import product
from typing import Any

import attrs

from providers.apis import CODECS
from providers.neutral.codec import complete_usage
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    ErrorInfo,
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streams.events import ToolCallStart as CallStart
from streams.fold import fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.lanes import reply_for
from tests.support.provider_streams import read_pieces, read_stream
from tests.support.scripts import Script, Tokens
from tests.support.upstreams import render

ANSWER: list[Event] = [
    AnswerStart(),
    ReasoningDelta(0, "Let me see."),
    BlockEnd(0),
    TextDelta(1, "Hello, "),
    TextDelta(1, "this is "),
    TextDelta(1, "a longer text."),
    BlockEnd(1),
    CallStart(2, "call_1", "look"),
    ToolCallDelta(2, '{"at":'),
    ToolCallDelta(2, '"the sky"}'),
    BlockEnd(2),
    AnswerEnd("stop"),
]
CHARACTERS = len('Let me see.Hello, this is a longer text.{"at":"the sky"}')


@each_row("client", CODECS)
def test_the_output_of_an_answer_without_usage_is_estimated(client) -> None:
    """Zero makes the costs that clients show wrong, and Cline needs integers (cline/cline#4346). Codex never compacts
    without input tokens (duolahypercho/codex-router#95)."""
    codec, reply = CODECS[client], reply_for(client)
    reply = attrs.evolve(reply, request=attrs.evolve(reply.request, include_usage=True))
    streamed = read_pieces(codec, map(codec.writer(reply).send, ANSWER))
    whole = codec.read_answer(codec.write_answer(fold(ANSWER), reply))
    for name, events in (("streamed", streamed), ("whole", whole)):
        usage = [event for event in events if isinstance(event, Usage)][-1]
        assert (usage.prompt, usage.output) == (reply.input_estimate, -(-CHARACTERS // 4)), name


ZERO_TOTALS = {
    "chat": ("usage", "total_tokens"),
    "messages": ("usage", "total_tokens"),
    "responses": ("usage", "total_tokens"),
    "gemini": ("usageMetadata", "totalTokenCount"),
    "converse": ("usage", "totalTokens"),
    "interactions": ("usage", "total_tokens"),
}


@each_row("provider", CODECS)
def test_a_total_of_zero_for_an_answer_with_text_is_ignored(provider) -> None:
    codec, (member, total) = CODECS[provider], ZERO_TOTALS[provider]
    answer = json.loads(codec.write_answer(fold(ANSWER), reply_for(provider)))
    events = codec.read_answer(json.dumps({**answer, member: {total: 0}}).encode())
    assert not [event for event in events if isinstance(event, ErrorInfo)]
    usage = fold(events).usage
    assert usage is None or not usage.estimated
    completed = complete_usage(usage, 7, CHARACTERS, trusts_zeros=False)
    assert (completed.prompt, completed.output, completed.estimated) == (7, -(-CHARACTERS // 4), True)


def test_clients_get_a_providers_report_of_no_tokens() -> None:
    reported = Usage(input=0, output=0)
    assert complete_usage(reported, 7, CHARACTERS) is reported


def test_an_estimated_usage_without_output_is_completed() -> None:
    usage = complete_usage(Usage(estimated=True), 7, CHARACTERS)
    assert (usage.prompt, usage.output) == (7, -(-CHARACTERS // 4))
    only_a_total = Usage(output=30, estimated=True)
    assert complete_usage(only_a_total, 7, CHARACTERS) is only_a_total


COUNTS = {
    "chat": ("prompt_tokens", "completion_tokens", "total_tokens"),
    "messages": ("input_tokens", "output_tokens"),
    "responses": ("input_tokens", "output_tokens", "total_tokens"),
    "gemini": ("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
    "converse": ("inputTokens", "outputTokens", "totalTokens"),
    "interactions": ("total_input_tokens", "total_output_tokens", "total_tokens"),
}
"""The counts of input, output and both, which a provider must send; the others are parts of them."""


def read_usage(provider: str, stream: bool, values: Sequence[object]) -> Usage | None:
    """Return the usage of an answer whose counts are ``values``; those that are ``ABSENT`` are left out."""
    sent = dict(zip(COUNTS[provider], values, strict=False))

    def edit(usage: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in (usage | sent).items() if value is not ABSENT}

    codec, request = CODECS[provider], {"model": "m", "stream": stream, "stream_options": {"include_usage": True}}
    body = b"".join(render(Script(text="Hello", tokens=Tokens(edit=edit)), provider, request).pieces)
    return fold(read_stream(codec, body) if stream else codec.read_answer(body)).usage


ABSENT = object()


@each_row("provider, stream", product(CODECS, [False, True]))
def test_invalid_counts_are_replaced_by_estimates_in_every_api(provider: str, stream: bool) -> None:
    """Parts of 0, such as cached tokens, made them a report of 0 tokens in some APIs."""
    for missing in (None, ABSENT, "7", -1, True, [], {}):
        with case(missing):
            usage = read_usage(provider, stream, [missing] * 3)
            for trusts_zeros in (True, False):
                found = complete_usage(usage, 100, 5, trusts_zeros=trusts_zeros)
                assert (found.prompt, found.output, found.estimated) == (100, 2, True)
            found = complete_usage(read_usage(provider, stream, [11, missing, missing]), 100, 5)
            assert (found.prompt, found.output, found.estimated) == (11, 2, True)
            found = complete_usage(read_usage(provider, stream, [missing, 7, missing]), 100, 5)
            assert (found.prompt, found.output, found.estimated) == (100, 7, True)


@each_row("provider, stream", product((api for api, counts in COUNTS.items() if len(counts) == 3), [False, True]))
def test_a_total_has_the_output_that_a_provider_does_not_count(provider: str, stream: bool) -> None:
    """Converse and Interactions providers were not read this way."""
    for missing in (None, ABSENT):
        usage = read_usage(provider, stream, [11, missing, 18])
        assert (usage.prompt, usage.output, usage.estimated) == (11, 7, False)
        only_a_total = read_usage(provider, stream, [missing, missing, 18])
        assert (only_a_total.prompt, only_a_total.output, only_a_total.estimated) == (0, 18, True)
