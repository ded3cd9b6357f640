"""Credentials in texts, in every way in which they may be spelled there (RFC 8259, section 7; RFC 3986, section
2.1)."""

import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.redaction import LONGEST_SPELLED, REDACTED, WINDOW, redact, redact_spelled, search_forms

KEY = "sk-proj-aB3_/+=.xyz9"
SECRETS = search_forms([KEY])


def escaped(text: str, digits: str = "04x") -> str:
    return "".join(f"\\u{ord(char):{digits}}" for char in text)


@pytest.mark.parametrize(
    "spelling",
    [
        KEY,
        escaped(KEY),
        escaped(KEY, "04X"),
        KEY.replace("-", "\\u002d"),
        KEY.replace("/", "\\/"),
        json.dumps(json.dumps(KEY.replace("-", "\\u002d"))),
        urllib.parse.quote(KEY, safe=""),
        urllib.parse.quote(urllib.parse.quote(KEY, safe="")),
        "".join(f"%{ord(char):02x}" for char in KEY),
        escaped(urllib.parse.quote(KEY, safe="")).replace("\\u0073", "s"),
    ],
)
def test_a_credential_is_found_in_every_spelling(spelling):
    found = redact_spelled(f'{{"message": "bad key {spelling} \\u00e9", "x" : 1.0}}'.encode(), SECRETS)
    if "\\u0025" not in spelling:  # one spelling within the other
        assert b"[redacted]" in found
        assert found.startswith(b'{"message": "bad key ')
        assert found.endswith(b'\\u00e9", "x" : 1.0}')
    for part in (KEY[8:], spelling[-12:]):
        assert part.encode() not in found or "\\u0025" in spelling


@given(st.data())
def test_a_mixture_of_spellings_is_one_too(data):
    ways = (lambda char: char, escaped, lambda char: f"%{ord(char):02X}", lambda char: f"\\\\u{ord(char):04x}")
    text = "".join(data.draw(st.sampled_from(ways))(char) for char in KEY)
    assert redact_spelled(f"<{text}>".encode(), SECRETS) == b"<[redacted]>"


@given(st.binary(max_size=200))
def test_text_without_credentials_stays_unchanged(data):
    assert redact_spelled(data, SECRETS) == data


@pytest.mark.parametrize("part", [b"s", b"%", b"%25", b"\\", b"sk-proj-", b"%73%6b%2d", b"\\u0073"])
def test_the_search_is_bounded(part):
    data = part * (LONGEST_SPELLED // len(part))
    assert redact_spelled(data, SECRETS) == data
    assert redact_spelled(data + b"\\u0073" * 9, SECRETS).startswith(data)


@given(st.text("ab-", max_size=6), st.lists(st.sampled_from(["aab-aab-", "aab-", "a", "b"]), max_size=12), st.data())
def test_a_large_text_is_searched_in_windows(padding, parts, data):
    word = "aab-aab-"
    start = data.draw(st.integers(max(0, WINDOW - 40), WINDOW + 8))
    text = "x" * start + "".join(parts) + padding + "y" * WINDOW
    assert redact(text.encode(), search_forms([word])) == text.replace(word, REDACTED.decode()).encode()
