"""The kind ``regex`` searches in linear time, and refuses patterns that have no linear search."""

import random
import re
import time
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configfile.wording import Wrong
from gateway.features.steps.kinds.linear import LinearPattern
from gateway.features.steps.kinds.regex import RegexSettings, RegexStep
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.step_pieces import check_cuts, find_texts

PATTERNS: Final = (
    {"a": r"falcon-\d+", "b": r"\bcat\b"},
    {"a": r"project [a-z]+ \d{2,4}"},
    {"a": r"x.*y"},
    {"a": r"(?i)top secret", "b": r"[A-Z]{3}-\d+"},
    {"a": "проект-\\d+"},
)


@each_row(("pattern", "text"), [
    (r"falcon-\d+", "a falcon-12 and falcon-345x"), (r"\bcat\b", "cat cats concat cat"), (r"a+b", "aaab aab b"),
    (r"(?i)secret\s+project", "The SECRET  Project."), (r"(a+)+b", "aaaab"), (r"[^x]{2,3}y", "aaay"),
    (r"\w+@corp\.com", "joe@corp.com bob@corp.com"), (r"(?:ab|cd){2}", "abcdabab"), (r"\Bend", "end bend"),
    (r"[а-я]+-\d", "проект-7 x"), (r"(?s)a.b", "a\nb"), (r"a.b", "a\nb"), (r"é", "café"),
])  # fmt: skip
def test_matches_are_the_same_as_in_python(pattern, text):
    found = [text[start:end] for start, end in LinearPattern(pattern).spans(text, 0, len(text))]
    assert found == [one[0] for one in re.finditer(pattern, text)]


@settings(max_examples=examples(200))
@given(
    pattern=st.sampled_from(("a+b", "(a|b)+c", "ab?c", "a{2,3}", r"\ba", "a|b|ca", "[^a]b", "c(ab)*")),
    text=st.text(alphabet="abc ", max_size=12),
)
def test_a_match_is_found_where_python_finds_one(pattern, text):
    spans = list(LinearPattern(pattern).spans(text, 0, len(text)))
    assert bool(spans) == (re.search(pattern, text) is not None)
    for start, end in spans:
        assert re.compile(pattern).fullmatch(text, start, end) or re.search(pattern, text[max(0, start - 1) : end])


@settings(max_examples=examples(100))
@given(
    pattern=st.sampled_from(("^a", "b$", "^a+b?$", r"^\Ba|\bb$", "(a|^b)c", "c(a|b$)", "a+b")),
    text=st.text(alphabet="abc ", max_size=12),
)
def test_anchors_match_only_at_the_edges_of_the_text(pattern, text):
    assert LinearPattern(pattern, has_edges=True).is_in(text) == (re.search(pattern, text) is not None)


@each_row(("pattern", "fault"), [
    (r"(a)\1", "a backreference"), ("(?=a)b", "a lookaround"), ("(?<!a)b", "a lookaround"), ("^a", "`^` or `$`"),
    ("a*+", "a possessive repeat"), ("a{1,5000}", "too long"), ("(a|b)*a(a|b){12}", "too complex"),
    ("(", "is not a pattern"), ("a*", "matches the empty text"),
])  # fmt: skip
def test_a_pattern_without_linear_search_is_refused(pattern, fault):
    with pytest.raises(Wrong) as wrong:
        RegexStep(RegexSettings({"x": pattern}))
    assert "'x'" in wrong.value.found
    assert fault in wrong.value.found


@each_row("pattern", [r"(a+)+b", r"(a|aa)+b", r"\w+@corp\.com", r".*=.*;", r"(x+x+)+y", "a[ab]{400}c"], every=3)
def test_adversarial_text_takes_linear_time(pattern):
    """https://owasp.org/www-community/attacks/Regular_expression_Denial_of_Service_-_ReDoS. The limit is far above the
    time on a busy machine; an exponential or quadratic search takes hours."""
    found = LinearPattern(pattern)
    for text in ("a" * 2**20, "=" * 2**20, "x" * 2**20):
        began = time.process_time()
        assert not found.is_in(text)
        assert time.process_time() - began < 2


@pytest.mark.parametrize(("pattern", "text"), [("a.*b|a", "a"), ("a(b|a*c)?", "a")])
def test_matches_with_long_vain_trials_take_linear_time(pattern, text):
    """Each match could be longer up to the end of the text, and is not. Without memory of vain trials, this takes
    minutes: https://doi.org/10.1145/276393.276394."""
    found, size = LinearPattern(pattern), 2**13
    began = time.process_time()
    assert list(found.spans(text * size, 0, size)) == [(at, at + 1) for at in range(size)]
    assert time.process_time() - began < 10


LONG_PATTERNS: Final = ("a+b", "(a|b)+c", "ab?c", "a{2,3}", r"\ba\b", "a|b|ca", "[^a]b{2}", "c(ab)*", "(?:ab){1,9}c")


@pytest.mark.parametrize("pattern", LONG_PATTERNS)
@settings(max_examples=examples(12))
@given(seed=st.integers(0, 10**6), size=st.integers(1, 200), alphabet=st.sampled_from(("abc ", "abc", "ab", "abcé中")))
def test_reading_whole_words_finds_the_same_matches_as_single_characters(pattern, seed, size, alphabet):
    """Python's matches are the longest ones for these patterns."""
    text = "".join(random.Random(seed).choices(alphabet, k=size))
    found = LinearPattern(pattern)
    expected = [one.span() for one in re.finditer(pattern, text)]
    assert list(found.spans(text, 0, size)) == expected
    opened = found.open_from(text, 0, size)
    first = next((at for at in range(size) if _may_continue(found, text[at:])), size)
    assert opened == first or "\\b" in pattern


def _may_continue(pattern: LinearPattern, text: str) -> bool:
    """Return whether a match is all of ``text``, or begins with it."""
    return any(
        start == 0 and end >= len(text)
        for more in ("", "b", "c", "ab", "bc", "bb", "abc", "babc", "aab")
        for start, end in pattern.spans(text + more, 0, len(text) + len(more))
    )


pieces = st.lists(
    st.sampled_from(
        ("falcon-", "12", "cat", "s", " ", "project ", "abc", " 1", "23", "x", "y", "\n", "A" * 3000, "x" * 5000, "TOP",
         " secret", "ABC-", "9" * 600, "é", "\u200b", "\x7f", "проект-", "-", "dGhlIGNhdCBmYWxjb24tMTIgeA")
    ),
    max_size=12,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("patterns", PATTERNS, ids=str)
@settings(max_examples=examples(50))
@given(text=pieces, cuts=st.lists(st.integers(0, 20000), max_size=20))
def test_findings_do_not_depend_on_how_a_stream_is_cut(patterns, text, cuts):
    check_cuts(RegexStep(RegexSettings(patterns)), text, cuts, shortest=100)


def test_hidden_and_encoded_matches_are_found():
    step = RegexStep(RegexSettings({"project": r"falcon-\d+"}))
    assert find_texts(step, "é fal\u200bcon-１２") == [("project", "fal\u200bcon-１２")]
    assert find_texts(step, "dGhlIGNhdCBmYWxjb24tMTIgeA") == [("project", "dCBmYWxjb24tMTIg")]
    assert step.open_tail("see falcon-1") == 4
