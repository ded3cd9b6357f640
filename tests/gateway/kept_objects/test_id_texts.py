"""Ids in JSON: found wherever they stand, however members are spelled, and replaced with every other byte kept."""

import json
import time

from hypothesis import given
from hypothesis import strategies as st

from gateway.kept_objects.id_texts import IdPlaces, id_texts, with_texts

PLACES = IdPlaces(
    frozenset(("file_id", "file_ids", "vector_store_ids", "container")),
    frozenset((("id",), ("data", "id"), ("file", "id"))),
    frozenset((("container", "id"),)),
)


def found(text: str) -> list[tuple[str, str]]:
    return [(".".join(one.path), one.text) for one in id_texts(text.encode(), PLACES)]


def test_ids_are_found_in_members_lists_and_deep_within():
    assert found('{"file_id": "a", "file_ids":["b" , "c"], "data":[{"id":"d","x":{"file_id":"e"}},{"id":"f"}]}') == [
        ("file_id", "a"), ("file_ids", "b"), ("file_ids", "c"), ("data.id", "d"), ("data.x.file_id", "e"),
        ("data.id", "f"),
    ]  # fmt: skip
    tools = '{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["a"]}},{"container":"b"}]}'
    assert found(tools) == [("tools.container.file_ids", "a"), ("tools.container", "b")]
    assert found('{"container":{"id":"a","skills":[{"id":"no"}]}}') == [("container.id", "a")]


def test_a_name_is_the_same_however_it_is_spelled_and_counts_each_time():
    assert found(r'{"file\u005fid":"a","File_ID":"b","file_id":"c","file_id" : "d"}') == [
        ("file_id", "a"), ("file_id", "b"), ("file_id", "c"), ("file_id", "d"),
    ]  # fmt: skip


def test_what_is_said_is_no_member():
    for text in (
        r'{"content":"{\"file_id\": \"a\"}"}',
        r'{"content":"\\\"file_id\":\"a\""}',
        '{"content":"file_id","x":["file_id","a"]}',
        '{"x":"\\\\","y":["file_id"]}',
    ):
        json.loads(text)
        assert found(text) == [], text


def test_what_programs_put_into_a_schema_or_a_call_is_theirs():
    for text in (
        '{"tools":[{"input_schema":{"properties":{"file_id":{"default":"a"}},"examples":[{"file_id":"a"}]}}]}',
        '{"tools":[{"function":{"parameters":{"file_id":"a"}}}]}',
        '{"messages":[{"content":[{"type":"tool_use","input":{"file_id":"a"}}]}]}',
        '{"metadata":{"file_id":"a"}}',
        '{"contents":[{"parts":[{"functionCall":{"args":{"file_id":"a"}}}]}]}',
    ):
        assert found(text) == [], text
    assert found('{"metadata":{"x":{"y":1}},"file_id":"b"}') == [("file_id", "b")]
    assert found('{"input":[{"content":[{"type":"input_file","file_id":"a"}]}]}') == [("input.content.file_id", "a")]


def test_every_other_byte_stays():
    body = b' {"a" : 1.0,"file_id":\t"x" , "id":"y","b":"\\u00e9\\/", "file_ids":["p","q"]}\n'
    changes = [(one, one.text.upper() + '"') for one in id_texts(body, PLACES)]
    assert with_texts(body, changes) == (
        b' {"a" : 1.0,"file_id":\t"X\\"" , "id":"Y\\"","b":"\\u00e9\\/", "file_ids":["P\\"","Q\\""]}\n'
    )
    assert with_texts(body, []) is body


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("file_id", "a", "x")), inner, max_size=3)
    ),
    max_leaves=12,
)


def walked(value, name=None):
    match value:
        case dict():
            for key, one in value.items():
                yield from walked(one, key)
        case list():
            for one in value:
                yield from walked(one, name)
        case str() if name == "file_id":
            yield value


@given(VALUES, st.sampled_from((None, 1)), st.booleans())
def test_it_finds_what_a_decoder_finds(value, indent, ascii_only):
    text = json.dumps({"top": value}, indent=indent, ensure_ascii=ascii_only)
    assert [one.text for one in id_texts(text.encode("utf-8", "surrogatepass"), IdPlaces(frozenset(("file_id",))))] == [
        one if len(one) < 4000 else "" for one in walked(value)
    ]


@given(st.binary(max_size=60))
def test_what_is_no_json_raises_nothing(body):
    list(id_texts(body, PLACES))


def test_nesting_takes_no_quadratic_time():
    begun = time.process_time()
    assert list(id_texts(b'{"a":' * 100_000, IdPlaces(frozenset(("file_id",))))) == []
    assert time.process_time() - begun < 1
