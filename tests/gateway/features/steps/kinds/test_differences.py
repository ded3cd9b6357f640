"""The changes between two texts are small, and give exactly the new text."""

import time

from hypothesis import given
from hypothesis import strategies as st

from gateway.features.steps.kinds.differences import changes_between
from tests.support.each_row import each_row


def apply(old: str, changes: list[tuple[int, int, str]]) -> str:
    parts, at = [], 0
    for start, end, text in changes:
        assert at <= start < end <= len(old)
        parts += [old[at:start], text]
        at = end
    return "".join([*parts, old[at:]])


@each_row(
    ("old", "new", "changes"),
    [
        ("a b", "a b", []),
        ("call Ann Lee now please", "call <NAME> now please", [(5, 12, "<NAME>")]),
        ("it is 12 and 34 today", "it is * and * today", [(6, 8, "*"), (13, 15, "*")]),
        ("secret", "", [(0, 6, "")]),
        ("a b", "a b and more", [(2, 3, "b and more")]),
        ("one two three four", "one new two three four", [(4, 7, "new two")]),
    ],
)
def test_changes_are_the_changed_words(old, new, changes):
    assert changes_between(old, new) == changes


@given(st.text(alphabet="ab ,\n", min_size=1, max_size=40), st.text(alphabet="ab ,\n", max_size=40))
def test_changes_give_the_new_text(old, new):
    assert apply(old, changes_between(old, new)) == new


@given(st.text(min_size=1, max_size=60), st.text(max_size=60))
def test_changes_of_any_texts_give_the_new_text(old, new):
    assert apply(old, changes_between(old, new)) == new


@each_row("new", ["b " * 40_000, "a x " * 20_000, ""], every=3)
def test_long_texts_take_little_time(new):
    old = "a " * 40_000
    began = time.process_time()
    assert apply(old, changes_between(old, new)) == new
    assert time.process_time() - began < 5
