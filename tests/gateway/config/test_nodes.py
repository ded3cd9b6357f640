"""YAML is read the same by libyaml's scanner and by the one in Python."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configfile.nodes import compose
from tests.support.each_row import each_row

PIECES = (
    "a", "é", "😀", "1", "-", "- ", ": ", ":", "\n", "  ", "[", "]", "{", "}", ", ", "'", '"', "# ", "&x ", "*x",
    "!!str ", "|\n", ">-\n", "? ", "<<: ", "%", "@", "\\", "~", "---\n", "\u2028", "0x1F", "2026-11-28", "null",
)  # fmt: skip


def describe(node: yaml.Node) -> tuple[Any, ...]:
    """Return the type, tag, place and content of a node and of all below it; anchors may contain themselves.

    The place of a missing value has no meaning, because mistakes are reported at its key."""
    found: list[tuple[Any, ...]] = []
    seen: set[int] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        is_missing = isinstance(one, yaml.ScalarNode) and not one.value and not one.style
        content = one.value if isinstance(one, yaml.ScalarNode) else len(one.value)
        place = None if is_missing else (one.start_mark.line, one.start_mark.column)
        found.append((type(one), one.tag, place, content))
        if id(one) not in seen:
            seen.add(id(one))
            if isinstance(one, yaml.MappingNode):
                todo += [half for pair in one.value for half in pair]
            elif isinstance(one, yaml.SequenceNode):
                todo += one.value
    return tuple(found)


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_both_scanners_find_the_same_nodes_in_the_same_places(text: str) -> None:
    try:
        expected = yaml.SafeLoader(text).get_single_node()
    except yaml.YAMLError:
        return
    found = compose(text)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert describe(found) == describe(expected)


@each_row("text", ["[" * 100_000, "- " * 100_000, '{"a":' * 100_000, "? " * 100_000])
def test_deep_nesting_raises_an_error_and_does_not_end_the_process(text: str) -> None:
    with pytest.raises(RecursionError):
        compose(text)
