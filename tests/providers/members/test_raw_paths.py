"""Edits of undecoded JSON at a path."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from providers.members.raw_paths import EVERY, change_member, encode, has_member, remove_members
from providers.neutral.draft import Draft
from tests.support.each_row import each_row

NAMES = st.sampled_from(["a", "b", "c", "käse", 'q"uote', "model"])
NUMBERS = st.sampled_from(["0", "-1.50e1", "1E400", "12345678901234567890123", "true", "null", '"\\u00e9\\/x"', '""'])
SPACES = st.sampled_from(["", " ", "\n\t", "  "])


@st.composite
def objects(draw: st.DrawFn, depth: int = 3) -> str:
    """Return an object as JSON text with white space and spellings that an encoder would not choose."""
    names = draw(st.lists(NAMES, unique=True, max_size=4))
    space = draw(SPACES)
    values = [draw(values_of(depth)) for _ in names]
    inside = ",".join(f"{space}{json.dumps(name)}{space}:{value}" for name, value in zip(names, values, strict=True))
    return "{" + inside + space + "}"


def values_of(depth: int) -> st.SearchStrategy[str]:
    if depth == 0:
        return NUMBERS
    lists = st.lists(objects(depth=depth - 1), max_size=3).map(lambda items: "[" + " , ".join(items) + "]")
    return NUMBERS | objects(depth=depth - 1) | lists


PATHS = st.lists(NAMES | st.just(EVERY), max_size=3).flatmap(lambda rest: NAMES.map(lambda first: (first, *rest)))


def members_of(body: bytes) -> dict[str, bytes]:
    return {name: bytes(raw) for name, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}


@given(objects(), PATHS)
def test_only_members_on_the_path_change_and_new_ones_follow_the_last(text, path):
    before = members_of(text.encode())
    draft = Draft.of(text.encode())
    changed = change_member(draft, path, lambda raw: encode({"new": 1}))
    if not changed:
        assert draft.encode() == text.encode()
        return
    after = members_of(draft.encode())
    assert list(after) == list(dict.fromkeys((*before, path[0])))
    assert {name: raw for name, raw in after.items() if name != path[0]} == {
        name: raw for name, raw in before.items() if name != path[0]
    }
    if path[0] in before and len(path) > 1 and before[path[0]].startswith(b"{"):
        inner, own = members_of(before[path[0]]), members_of(after[path[0]])
        assert {name: raw for name, raw in own.items() if name != path[1]} == {
            name: raw for name, raw in inner.items() if name != path[1]
        }


@given(objects(), PATHS)
def test_a_removed_member_is_gone_and_nothing_else_is(text, path):
    draft = Draft.of(text.encode())
    if change_member(draft, path, lambda raw: None):
        assert not has_member(Draft.of(draft.encode()), path)
    else:
        assert draft.encode() == text.encode()
        assert path[-1] == EVERY or not has_member(draft, path)


@each_row(
    ("body", "path", "after"),
    [
        ({"a": {"b": 1, "c": 2}}, ("a", "b"), {"a": {"c": 2}}),
        ({"a": {"b": 1}, "z": 0}, ("a", "b"), {"z": 0}),
        ({"a": [{"b": 1, "c": 2}, {"b": 3}, "x"]}, ("a", EVERY, "b"), {"a": [{"c": 2}, {}, "x"]}),
        ({"a": [[{"b": 1}]]}, ("a", EVERY, EVERY, "b"), {"a": [[{}]]}),
        ({"a": [1, 2]}, ("a", EVERY), {"a": []}),
        ({"a": "text"}, ("a", "b"), {"a": "text"}),
        ({"a": None}, ("a", "b"), {"a": None}),
    ],
)
def test_removal(body, path, after):
    draft = Draft.of(json.dumps(body).encode())
    change_member(draft, path, lambda raw: None)
    assert json.loads(draft.encode()) == after


def test_missing_objects_are_created_but_text_is_never_replaced():
    draft = Draft.of(b'{"a": null, "b": "text"}')
    assert change_member(draft, ("a", "c", "d"), lambda raw: encode(1))
    assert not change_member(draft, ("b", "c"), lambda raw: encode(1))
    assert json.loads(draft.encode()) == {"a": {"c": {"d": 1}}, "b": "text"}


def test_a_name_with_escapes_is_removed_too():
    draft = Draft.of(b'{"tools": [{"name": "f", "str\\u0069ct": true}, {"name": "g"}]}')
    assert remove_members(draft, [("tools", EVERY, "strict"), ("tools", EVERY, "other"), ("absent", EVERY, "x")])
    assert json.loads(draft.encode()) == {"tools": [{"name": "f"}, {"name": "g"}]}
