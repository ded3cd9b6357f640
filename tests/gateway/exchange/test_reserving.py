"""The tokens estimated from a request's size."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.exchange.reserving import FILE_TOKENS, base64_lengths, expected_tokens, sent_size_of, size_of
from gateway.request.prepared import Prepared
from providers.neutral.codec import Outgoing
from streams.events import APIS
from tests.support.growth import TRIES, seconds

SIZE = 300_000


def test_a_file_counts_as_one_and_not_by_its_characters():
    assert expected_tokens(b'"' + b"A" * 400_000 + b'"' + b"words " * 100) == (602 // 4) + FILE_TOKENS
    assert expected_tokens(b"A" * 1999) == 1999 // 4


LIMITED = (
    b'{"max_tokens": 9, "maxOutputTokens": 9, "n": 3, "service_tier": "flex", "models": ["a"], "background": true,'
    b'"tools": [{"type": "web_search_20250305", "max_uses": 4}, {"type": "image_generation"}]}'
)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("body", [LIMITED, LIMITED[:-1] + b', "input": "' + b"A" * 20_000 + b'"}', b"[]"], ids=len)
def test_the_output_that_a_conversation_allows_adds_nothing_to_the_estimate_of_what_was_sent(api, body):
    """So a failed attempt is billed without decoding the request, which takes long in the event loop."""
    prepared = Prepared(Outgoing(body))
    whole, sent = size_of(prepared, api), sent_size_of(prepared)
    assert (sent.input, sent.requests) == (whole.input, whole.requests)
    assert (sent.output.units, sent.output.media) == (whole.output.units, whole.output.media)


def test_text_that_resembles_base64_is_estimated_as_fast_as_base64():
    # Each character started a new scan: one second for a megabyte, which blocked every other request.
    def time(text: bytes) -> float:
        return min(seconds(lambda: expected_tokens(text)) for _ in range(TRIES))

    assert time((b"A" * 1999 + b" ") * (SIZE // 2000)) < 10 * time(b"A" * SIZE)
    assert time(b"words " * (SIZE // 6)) < time(b"A" * SIZE)


PIECES = (b"A", b"AAA", b"/9=", 63 * b"A", b" ", b'","', b"\xe2\x82\xac")


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.integers(1, 6) | st.sampled_from((63, 66, 126)))
@example(b" " + 63 * b"A", 63)
def test_every_long_run_is_found_and_nothing_else(body, least):
    runs = [len(run) for run in re.findall(rb"[A-Za-z0-9+/=_-]+", body)]
    assert list(base64_lengths(body, least)) == [run for run in runs if run >= least]
