"""Pieces that are a whole JSON object."""

import json

from hypothesis import given
from hypothesis import strategies as st

from streams.whole_json import ends_like_object, is_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('{}[]",: x\\'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("{}a", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), st.data())
def test_only_all_of_an_object_is_whole(value, data):
    text = json.dumps(value).encode()
    cut = data.draw(st.integers(0, len(text)))
    assert is_object((text[:cut], text[cut:], b"\n", b""))
    assert is_object((text[:cut],)) == (cut == len(text))
    assert not is_object((text, text))


def test_other_texts_are_not_whole():
    for text in (b"", b"\n", b"[{}]", b"null}", b"}", b'{"a":}', b"data: {}", b"{}\n{}"):
        assert not is_object((text,))
    assert not is_object(())
    assert ends_like_object((b'{"a":{}', b" "))
