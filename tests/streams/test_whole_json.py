"""The end of JSON that arrives in pieces."""

import json
import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.whole_json import JsonEnd

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('{}[]",: x\\'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('{}"\\', max_size=2), inner, max_size=3),
    max_leaves=8,
)


def ends(*pieces: bytes) -> bool:
    end = JsonEnd()
    for piece in pieces:
        end.feed(piece)
    return end.is_complete


@given(st.lists(VALUES, max_size=3) | st.dictionaries(st.text(max_size=3), VALUES, max_size=3), st.data())
def test_json_ends_with_its_last_bracket(value, data):
    text = json.dumps(value).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[start:end] for start, end in pairwise((0, *cuts, len(text)))]
    assert ends(b"", b"\n", *pieces)
    assert ends(*pieces, b"\n", b"")
    for size in range(len(text)):
        assert not ends(text[:size])
        assert not ends(*pieces, text[:size]) or not size


def test_objects_in_an_object_cost_no_more_than_their_length():
    """A provider may send each element as a piece of its own, and white space while it works."""
    before = time.process_time()
    assert not ends(b'{"a":[{}', *[b",{}"] * 100_000, *[b" "] * 100_000)
    assert time.process_time() - before < 5


def test_other_text_does_not_end():
    for text in (b"", b"\n", b"null", b'"{}"', b"null}", b"}", b"data: {}", b"<html>{}", b"{}}"):
        assert not ends(text), text
        assert not ends(*(text[at : at + 1] for at in range(len(text)))), text
