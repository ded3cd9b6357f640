"""Patterns take linear time in any text (CWE-1333), because a provider's error may quote a client."""

from providers.errors.failures import read_failure, rejects_reasoning
from providers.errors.overflow import with_anthropic_message
from providers.errors.rejected import find_rejected
from streams.events import ErrorInfo
from tests.support.each_row import each_row
from tests.support.growth import LONG, Work, assert_time_grows_linearly

LOOKED_AT = 4000  # characters of a message: more are left out, so that this is the longest input there is

BEGINNINGS = ("", "Unknown parameter: '", "property '", 'Unknown name "x" at \'', "Unexpected value(s) ", "#",
              "maximum context length is 1 tokens ", "cannot be modified could not be verified ")  # fmt: skip
UNITS = (
    "a", "1", ".", "/", "#", "-", "`", "'", " ", "\n", "(", "[", "a.", "a[", "a]", "a-", "a[].", "[]", "'a", "a'",
    "'a, ", "1,", "1 ", "/a", "#/a", "body.", "a: ", "'a: ", "'a' : property '", "#a: extraneous key [",
    ", a", "unknown field ", "Unknown parameter: a, ", "Unexpected value(s) a, ", 'Unknown name "a', "thinking ",
    "`thinking` ", "`redacted_",
    "encrypted content ", "Invalid `signature` in ", "maximum context length is 1 tokens, ", "requested 1 tokens (",
    "maximum context length is 1 tokens, you requested a total of 1 tokens: 1 tokens of ", "1 tokens ", "context ",
    "exceeds ", "longer than ", "prompt contains 1 tokens ", "total number of tokens ", "input token count (1",
    "must be <= 1. Given: 1 `inputs` tokens and ", "range of input length should be [1, ", "prompt is too long: 1, ",
    "File ", "file_a", "Permission 'a", "/models/", "Please try again in 1s", "Please retry in 1", "s.",
)  # fmt: skip


def judging_work(text: str) -> Work:
    body = text.encode()
    failed = ErrorInfo("invalid_request", text, code="context_length_exceeded")

    def work() -> None:
        for status in (400, 404, 429):
            read_failure(status, b'{"error":{"message":"%b"}}' % body.replace(b"\n", b" ").replace(b'"', b"'"))
        find_rejected(failed)
        rejects_reasoning(failed)
        with_anthropic_message(failed)

    return work


TEXTS = [beginning + unit * LOOKED_AT for i, unit in enumerate(UNITS) for beginning in BEGINNINGS[i % 4 :: 4]]
"""Similar units are next to each other, and follow different beginnings."""


@each_row("text", TEXTS, ids=[text[:80] for text in TEXTS])
def test_refusals_are_judged_in_time_linear_in_their_words(text):
    few = LOOKED_AT // LONG
    assert_time_grows_linearly(lambda n: judging_work(text[:n]), few, few)


def test_long_quoted_paths_are_still_read():
    failed = ErrorInfo("invalid_request", f"{'a.' * 90}cache_control: Extra inputs are not permitted", param=None)
    assert find_rejected(failed) == ((*"a" * 90, "cache_control"),)
    failed = ErrorInfo("invalid_request", "[.tools.0.strict: Extra inputs are not permitted")
    assert find_rejected(failed) == (("tools", "[]", "strict"),)
