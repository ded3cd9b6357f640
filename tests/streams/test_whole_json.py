"""Pieces that are a whole JSON object."""

import json
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.whole_json import ObjectEnd

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('{}[]",: x\\'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("{}a", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def is_object(*pieces: bytes) -> bool:
    end = ObjectEnd()
    for piece in pieces:
        end.feed(piece)
    return end.is_likely and end.is_reached(pieces)


def ends(pieces: Iterable[bytes]) -> list[int]:
    """Return the numbers of the pieces after which there is an end."""
    end, before, found = ObjectEnd(), [], []
    for number, piece in enumerate(pieces):
        before.append(piece)
        end.feed(piece)
        if end.is_likely and end.is_reached(before):
            found.append(number)
    return found


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), st.data())
def test_only_all_of_an_object_is_whole(value, data):
    text = json.dumps(value).encode()
    cut = data.draw(st.integers(0, len(text)))
    assert is_object(text[:cut], text[cut:], b"\n", b"")
    assert is_object(text[:cut]) == (cut == len(text))
    assert not is_object(text, text)


@pytest.mark.parametrize("text", [b"", b"\n", b"[{}]", b"null}", b"}", b'{"a":}', b'{"a":{}', b"data: {}", b"{}\n{}"])
def test_other_texts_are_not_whole(text):
    assert not is_object(text)


def test_an_incomplete_object_may_end_like_a_whole_one():
    assert ends([b'{"a":{}', b",", b'"b":{}', b"}", b" "]) == [3, 4]


def test_objects_in_an_object_cost_no_more_than_a_few_times_its_length():
    """A provider may send each element as a piece of its own, and white space while it works."""
    before = time.process_time()
    assert ends([b'{"a":[{}', *[b",{}"] * 100_000, *[b" "] * 100_000]) == []
    assert time.process_time() - before < 5
