"""The count of JSON elements before decoding (CWE-409; Envoy allows a factor of 100)."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import structure
from streams.structure import has_more_elements
from tests.support.each_row import each_row

_LEAVES = st.none() | st.integers() | st.text(alphabet=[*'[]{},:"\\ax', "é", "\u2028"])
JSON = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='"\\,['), inner))


def count_by_pattern(data: bytes) -> int:
    """Count by a pattern that matches whole strings."""
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", data, flags=re.DOTALL)
    return sum(bare.count(mark) for mark in (b"[", b"{", b","))


@given(value=JSON, ascii=st.booleans())
def test_marks_in_strings_do_not_count(value: Any, ascii: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii).encode()
    expected = count_by_pattern(data)
    assert not has_more_elements(data, expected)
    assert expected == 0 or has_more_elements(data, expected - 1)


_EMPTY = st.just([]) | st.just({}) | st.integers(0, 9)
DENSE = st.recursive(_EMPTY, lambda inner: st.lists(inner, max_size=40))


@given(value=DENSE)
def test_an_element_has_at_least_a_byte_and_a_half(value: Any) -> None:
    """``ALWAYS_FEW`` relies on it."""
    data = json.dumps(value, separators=(",", ":")).encode()
    assert count_by_pattern(data) <= len(data) * structure.MAX_ELEMENTS / structure.UNSCANNED_BYTES


@pytest.mark.parametrize("piece", range(1, 12))
def test_pieces_may_end_anywhere(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "PIECE", piece)
    data = rb'{"a\\\\":["\",[{\\",{"\\\"":[]},"\n,"],"b":"\\","c":[1,2]}'
    assert not has_more_elements(data, count_by_pattern(data))
    assert has_more_elements(data, count_by_pattern(data) - 1)


@each_row("data", [b'"' * 99, b"\\" * 99, b"[" * 99, b',"\\' * 33, b"\xff,\x00" * 33])
def test_elements_of_invalid_json_are_counted(data) -> None:
    assert has_more_elements(data, 98) is (data == b"[" * 99)


def test_counting_stops_at_the_limit() -> None:
    class Watched(bytes):
        sliced = 0

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, slice):
                Watched.sliced += len(range(len(self))[index])
            return super().__getitem__(index)

    assert has_more_elements(Watched(b"[]," * 2**20), 1000)
    assert Watched.sliced <= 3 * structure.PIECE


def test_a_large_number_of_elements_is_counted_exactly() -> None:
    data = json.dumps([{"text": "f(a, [b], {c})" * 100}] * 50).encode()
    assert structure.count_elements(data, 10_000, 50) == count_by_pattern(data)
    assert structure.count_elements(data, 10, 5) > 10
    assert structure.count_elements(data, 10_000, 30_000) == sum(data.count(mark) for mark in (b"[", b"{", b","))
