"""YAML is read the same by libyaml's scanner and by the one in Python."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from yaml.constructor import ConstructorError

from configfile.document import ConfigError, Document, Places, convert, parse
from tests.support.each_row import each_row

PIECES = (
    "a", "é", "😀", "1", "-", "- ", ": ", ":", "\n", "  ", "[", "]", "{", "}", ", ", "'", '"', "# ", "&x ", "*x",
    "!!str ", "|\n", ">-\n", "? ", "<<: ", "%", "@", "\\", "~", "---\n", "\u2028", "0x1F", "2026-11-28", "null",
    "a: &x {a: 1}\n", "b: {<<: *x, a: 2}\n",
)  # fmt: skip

TEXTS = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)


def places_of_values(document: Document) -> Places:
    """Return the places of values. That of a missing value has no meaning, because mistakes are reported at its key."""
    return {path: place for path, place in document.find_places().items() if document.at(path) is not None}


@given(TEXTS)
def test_both_scanners_find_the_same_values_in_the_same_places(text: str) -> None:
    try:
        expected = convert(text, "", loaders=(yaml.SafeLoader,))
    except yaml.YAMLError:
        return
    found = parse(text.encode(), "")
    assert found == expected
    assert places_of_values(found) == places_of_values(expected)


@given(TEXTS)
def test_an_invalid_text_has_the_error_of_pyyaml(text: str) -> None:
    try:
        yaml.compose(text, yaml.SafeLoader)
        return
    except yaml.YAMLError as error:
        expected = error
    with pytest.raises(yaml.YAMLError) as found:
        convert(text, "")
    if isinstance(expected, yaml.MarkedYAMLError) and not isinstance(found.value, ConstructorError):
        assert isinstance(found.value, yaml.MarkedYAMLError)
        assert (found.value.context, found.value.problem) == (expected.context, expected.problem)
        assert str(found.value.problem_mark) == str(expected.problem_mark)


@each_row("text", ["[" * 100_000, "- " * 100_000, '{"a":' * 100_000])
def test_deep_nesting_raises_an_error_and_does_not_end_the_process(text: str) -> None:
    with pytest.raises(ConfigError, match="the nesting is too deep"):
        parse(text.encode(), "")


def test_a_deep_key_is_a_mistake() -> None:
    (mistake,) = parse(b"? " * 100_000, "").mistakes
    assert "cannot be a key" in str(mistake)
