"""Placeholders of masked values."""

from itertools import count

import pytest

from gateway.steps.kinds.pii import PiiSettings, PiiStep
from gateway.steps.masks import PLACEHOLDER, Placeholders
from trigate.steps import Check, Passage


@pytest.fixture(scope="module")
def looks_like_a_phone() -> str:
    """Return a value whose digest begins like a phone number, as that of one in a thousand does."""
    placeholders = Placeholders(b"k" * 32, "client")
    for number in count():
        value = f"ana{number}@example.com"
        digest = placeholders.placeholder("email", value).removeprefix("[EMAIL_")[:10]
        if digest.isdecimal() and digest[0] == "0" and digest[1] != "0":
            return value
    raise AssertionError


def test_a_placeholder_is_no_finding_in_a_later_turn(looks_like_a_phone):
    text = Placeholders(b"k" * 32, "client").placeholder("email", looks_like_a_phone)
    assert PLACEHOLDER.fullmatch(text)
    assert PiiStep(PiiSettings())(Check("request", (Passage("user", "", f"Write to {text}."),))) == []


def test_no_digest_consists_of_digits_alone():
    placeholders = Placeholders(b"k" * 32, "client")
    texts = [placeholders.placeholder("email", f"{number}@example.com") for number in range(5000)]
    digests = [text.removeprefix("[EMAIL_").removesuffix("]") for text in texts]
    assert not [one for one in digests if one.isdecimal()]
    assert {len(one) for one in digests} >= {10, 11}
