"""Ids that contain the provider that has an object, and its owner."""

import json
import time

from hypothesis import given
from hypothesis import strategies as st

from gateway.kept_objects.id_texts import IdPlaces, id_texts, replace_texts
from gateway.kept_objects.ids import PREFIXES, AccountMark, parse_tagged_id, short_digest, tagged_id
from tests.support.each_row import each_row

HERE = AccountMark(short_digest("openai"), short_digest("main"))
SECRET = b"s" * 32
NATIVE = (
    "file-abc123", "file_011CNha8iCJcU1wXNR6q4V8w", "vs_6789", "upload_1", "batch_x-y", "msgbatch_01", "cntr_9",
    "8f14e45f-ceea-467f-a8d6-3a1f0d3a7b21", "files/k3vz1-abc", "odd/id with:marks ü", "", "T", "file-",
    "vs_T" + "A" * 40,
)  # fmt: skip


def test_an_id_keeps_its_prefix_and_works_only_for_its_owner():
    for native in NATIVE:
        text = tagged_id(native, "team-a", HERE, SECRET)
        assert text.isascii(), native
        assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-/"), native
        prefix = next((one for one in PREFIXES if native.startswith(one)), "")
        assert text.startswith(prefix + "T"), native
        found = parse_tagged_id(text)
        assert found is not None, native
        assert (found.native, found.mark) == (native, HERE)
        assert found.is_signed("team-a", (b"another" * 5, SECRET)), native
        assert not found.is_signed("team-b", (SECRET,)), native
        assert not found.is_signed("team-a", (b"another" * 5,)), native
        assert not found.is_signed("team-a", ()), native


def test_an_id_of_a_provider_has_no_tag():
    for native in NATIVE:
        found = parse_tagged_id(native)
        assert found is None or not found.is_signed("", (SECRET,)), native


def test_every_changed_character_makes_an_id_invalid():
    text = tagged_id("file-abc123", "team-a", HERE, SECRET)
    for at in range(len(text)):
        for other in "AQgwx-_9z":
            changed = text[:at] + other + text[at + 1 :]
            found = parse_tagged_id(changed)
            assert changed == text or found is None or not found.is_signed("team-a", (SECRET,)), changed
    for changed in (text + "A", text[:-1], text.replace("file-", "vs_"), text.replace("file-", "file_"), text + "="):
        found = parse_tagged_id(changed)
        assert found is None or not found.is_signed("team-a", (SECRET,)), changed


def test_owner_and_id_cannot_be_shifted_into_one_another():
    text = tagged_id("file-abc", "team", HERE, SECRET)
    other = parse_tagged_id(tagged_id("file-abc", "teamfile-", HERE, SECRET))
    assert not other.is_signed("team", (SECRET,))
    assert text != other.text


@given(st.text(max_size=60), st.text(max_size=10))
def test_any_text_is_an_id(native, owner):
    found = parse_tagged_id(tagged_id(native, owner, HERE, SECRET))
    assert found.native == native
    assert found.is_signed(owner, (SECRET,))


@given(st.text(max_size=80))
def test_parsing_an_invalid_tagged_id_raises_nothing(text):
    assert parse_tagged_id(text) is None or not parse_tagged_id(text).is_signed("", (SECRET,))


@each_row("text", ["", "file-", "T" * 28, "file-" + "T" * 28, "vs_" + "T" * 2000, "file-TÄ" + "A" * 40])
def test_texts_that_look_a_little_like_one_are_none(text):
    found = parse_tagged_id(text)
    assert found is None or not found.is_signed("", (SECRET,))


# Ids in JSON: found wherever they stand, however members are spelled, and replaced with every other byte kept


PLACES = IdPlaces(
    frozenset(("file_id", "file_ids", "vector_store_ids", "container")),
    frozenset((("id",), ("data", "id"), ("file", "id"))),
    frozenset((("container", "id"),)),
)


def ids_in(text: str) -> list[tuple[str, str]]:
    return [(".".join(one.path), one.text) for one in id_texts(text.encode(), PLACES)]


def test_ids_are_found_in_members_lists_and_deep_within():
    assert ids_in('{"file_id": "a", "file_ids":["b" , "c"], "data":[{"id":"d","x":{"file_id":"e"}},{"id":"f"}]}') == [
        ("file_id", "a"), ("file_ids", "b"), ("file_ids", "c"), ("data.id", "d"), ("data.x.file_id", "e"),
        ("data.id", "f"),
    ]  # fmt: skip
    tools = '{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["a"]}},{"container":"b"}]}'
    assert ids_in(tools) == [("tools.container.file_ids", "a"), ("tools.container", "b")]
    assert ids_in('{"container":{"id":"a","skills":[{"id":"no"}]}}') == [("container.id", "a")]


def test_a_name_is_the_same_however_it_is_spelled_and_counts_each_time():
    assert ids_in(r'{"file\u005fid":"a","File_ID":"b","file_id":"c","file_id" : "d"}') == [
        ("file_id", "a"), ("file_id", "b"), ("file_id", "c"), ("file_id", "d"),
    ]  # fmt: skip


def test_member_names_inside_texts_are_not_mistaken_for_ids():
    for text in (
        r'{"content":"{\"file_id\": \"a\"}"}',
        r'{"content":"\\\"file_id\":\"a\""}',
        '{"content":"file_id","x":["file_id","a"]}',
        '{"x":"\\\\","y":["file_id"]}',
    ):
        json.loads(text)
        assert ids_in(text) == [], text


def test_ids_in_schemas_and_tool_calls_stay_unchanged():
    for text in (
        '{"tools":[{"input_schema":{"properties":{"file_id":{"default":"a"}},"examples":[{"file_id":"a"}]}}]}',
        '{"tools":[{"function":{"parameters":{"file_id":"a"}}}]}',
        '{"messages":[{"content":[{"type":"tool_use","input":{"file_id":"a"}}]}]}',
        '{"metadata":{"file_id":"a"}}',
        '{"contents":[{"parts":[{"functionCall":{"args":{"file_id":"a"}}}]}]}',
    ):
        assert ids_in(text) == [], text
    assert ids_in('{"metadata":{"x":{"y":1}},"file_id":"b"}') == [("file_id", "b")]
    assert ids_in('{"input":[{"content":[{"type":"input_file","file_id":"a"}]}]}') == [("input.content.file_id", "a")]


def test_every_other_byte_stays():
    body = b' {"a" : 1.0,"file_id":\t"x" , "id":"y","b":"\\u00e9\\/", "file_ids":["p","q"]}\n'
    changes = [(one, one.text.upper() + '"') for one in id_texts(body, PLACES)]
    assert replace_texts(body, changes) == (
        b' {"a" : 1.0,"file_id":\t"X\\"" , "id":"Y\\"","b":"\\u00e9\\/", "file_ids":["P\\"","Q\\""]}\n'
    )
    assert replace_texts(body, []) is body


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("file_id", "a", "x")), inner, max_size=3)
    ),
    max_leaves=12,
)


def file_ids_in(value, name=None):
    match value:
        case dict():
            for key, one in value.items():
                yield from file_ids_in(one, key)
        case list():
            for one in value:
                yield from file_ids_in(one, name)
        case str() if name == "file_id":
            yield value


@given(VALUES, st.sampled_from((None, 1)), st.booleans())
def test_the_search_finds_the_same_ids_as_a_decoder(value, indent, ascii_only):
    text = json.dumps({"top": value}, indent=indent, ensure_ascii=ascii_only)
    assert [one.text for one in id_texts(text.encode("utf-8", "surrogatepass"), IdPlaces(frozenset(("file_id",))))] == [
        one if len(one) < 4000 else "" for one in file_ids_in(value)
    ]


@given(st.binary(max_size=60))
def test_searching_invalid_json_for_ids_raises_nothing(body):
    list(id_texts(body, PLACES))


def test_nesting_takes_no_quadratic_time():
    begun = time.process_time()
    assert list(id_texts(b'{"a":' * 100_000, IdPlaces(frozenset(("file_id",))))) == []
    assert time.process_time() - begun < 1
