"""Positions and edits in JSON bytes, compared with Python's ``json``."""

import json
import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.features.steps import json_texts
from gateway.features.steps.json_texts import (
    LONGEST_DECODED,
    JsonDocument,
    KeyMasked,
    NotJson,
    document_at,
    document_text,
    edit_document,
    edit_quoted_document,
    edit_string,
    is_document,
    read_items,
    read_members,
    string_text,
)
from gateway.features.steps.request_texts import RequestTexts
from tests.support.each_row import each_row

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
SPACE = st.text(" \t\r\n", max_size=3)


@st.composite
def write_json(draw: st.DrawFn, value: Any) -> str:
    """Draw one of the ways to write ``value``: with white space, and with or without escapes."""
    space = draw(SPACE)
    if isinstance(value, dict):
        members = [f"{draw(write_text(name))}{space}:{space}{draw(write_json(one))}" for name, one in value.items()]
        return "{" + space + f"{space},{space}".join(members) + space + "}"
    if isinstance(value, list):
        return "[" + space + f"{space},{space}".join(draw(write_json(one)) for one in value) + space + "]"
    return draw(write_text(value)) if isinstance(value, str) else json.dumps(value)


@st.composite
def write_text(draw: st.DrawFn, text: str) -> str:
    """Draw one of the ways to write a string."""
    pieces = []
    for character in text:
        units = character.encode("utf-16-be")
        codes = "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2))
        pieces.append(draw(st.sampled_from((json.dumps(character)[1:-1], plain(character), codes))))
    return '"' + "".join(pieces) + '"'


def plain(character: str) -> str:
    return json.dumps(character, ensure_ascii=False)[1:-1]


@given(VALUES.flatmap(lambda value: st.tuples(st.just(value), write_json(value), SPACE)))
def test_each_value_has_its_position(case: tuple[Any, str, str]) -> None:
    value, text, space = case
    body = (space + text + space).encode()

    def check(value: Any, start: int, end: int) -> None:
        assert json.loads(body[start:end], strict=False) == value
        if isinstance(value, dict):
            members = read_members(body, start, end)
            assert [member.name for member in members] == list(value)
            for member, inner in zip(members, value.values(), strict=True):
                assert body[member.name_start : member.name_start + 1] == b'"'
                check(inner, member.start, member.end)
        elif isinstance(value, list):
            for (first, last), inner in zip(read_items(body, start, end), value, strict=True):
                check(inner, first, last)
        elif isinstance(value, str):
            assert string_text(body[start + 1 : end - 1]) == value

    check(value, *document_at(body))


@given(VALUES, VALUES, st.text().filter(lambda name: name != "x"), VALUES)
def test_duplicate_members_are_found(first: Any, second: Any, name: str, other: Any) -> None:
    """RFC 8259, section 4: readers differ in which of two members they use."""
    key = json.dumps(name)
    body = f'{{{key}:{json.dumps(first)},"x":{json.dumps(other)}, {key} : {json.dumps(second)}}}'.encode()

    found = read_members(body, 0, len(body))

    assert [member.name for member in found] == [name, "x", name]
    assert [json.loads(body[member.start : member.end]) for member in found] == [first, other, second]


@each_row(
    ("body", "text"),
    [
        (rb"\u0041\/\b\f\n\r\t\"\\", 'A/\b\f\n\r\t"\\'),
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\ud83d", "\ufffd"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\\ud83d", "\\ud83d"),
        (b"\xff\xc3", "\ufffd\ufffd"),
        ("é😀".encode(), "é😀"),
    ],
)
def test_every_escape_has_its_character(body: bytes, text: str) -> None:
    assert string_text(body) == text


@given(st.text().flatmap(lambda text: st.tuples(st.just(text), write_text(text))), st.data())
def test_an_edited_string_has_only_the_edits(case: tuple[str, str], data: st.DataObject) -> None:
    text, string = case
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    new = data.draw(st.text())

    found = edit_string(string[1:-1].encode(), [(start, end, new)])

    assert json.loads(b'"' + found + b'"') == text[:start] + new + text[end:]


@each_row(
    ("written", "edited"),
    [
        (rb"\u00e9 secret \ud83d\ude00\t", rb"\u00e9 a \"mask\"\n \ud83d\ude00\t"),
        (rb"\u00e9 secret \ud800\/", rb"\u00e9 a \"mask\"\n \ufffd/"),
        ("é secret 😀".encode(), 'é a \\"mask\\"\\n 😀'.encode()),
        (b"\xff secret \xc3", '\ufffd a \\"mask\\"\\n \ufffd'.encode()),
    ],
)
def test_an_edited_string_is_written_as_before(written: bytes, edited: bytes) -> None:
    assert edit_string(written, [(2, 8, 'a "mask"\n')]) == edited


@given(VALUES.flatmap(lambda value: st.tuples(st.just(value), write_json(value))))
def test_the_text_of_a_document_reads_as_the_document(case: tuple[Any, str]) -> None:
    value, text = case

    assert json.loads(document_text(text), strict=False) == value


@given(
    st.lists(st.text('ab"\\\n/é😀1', min_size=1), min_size=1).flatmap(
        lambda texts: st.tuples(st.just(texts), write_json({"k": texts, "n": [12.5, None]}))
    ),
    st.data(),
    st.booleans(),
)
def test_a_masked_document_is_valid(case: tuple[list[str], str], data: st.DataObject, quoted: bool) -> None:
    """The mask of a value is in its place, and all other values are unchanged."""
    texts, written_as = case
    at = data.draw(st.integers(0, len(texts) - 1))
    text = document_text(written_as)
    needles = [document_text(json.dumps(one, ensure_ascii=False)) for one in texts]
    start = text.index("[") + 1
    for needle in needles[:at]:
        start = text.index(needle, start) + len(needle)
    start = text.index(needles[at], start) + 1
    end = start + len(needles[at]) - 2
    edits = [(start, end, "[MASK]")]

    if quoted:
        string = json.dumps(written_as)[1:-1].encode()
        found = json.loads(b'"' + edit_quoted_document(string, edits) + b'"')
    else:
        found = edit_document(written_as.encode(), edits).decode()

    assert json.loads(found, strict=False) == {"k": [*texts[:at], "[MASK]", *texts[at + 1 :]], "n": [12.5, None]}


@each_row(
    ("document", "masked", "expected"),
    [
        ('{"card": 4111111111111111}', "4111111111111111", '{"card": "[M]"}'),
        ('{"card": -4111.5e1}', "4111", '{"card": "-[M].5e1"}'),
        ('{"a": true}', "true", '{"a": "[M]"}'),
        ('["4111", "1111"]', '4111", "1111', '["[M]", ""]'),
        ("[4111, 1111, 5]", "4111, 1111", '["[M]", "", 5]'),
        (r'{"a": "x\"y"}', r"\"", '{"a": "x[M]y"}'),
        (r'{"a": "\u0073ecret"}', "secret", '{"a": "[M]"}'),
        (r'{"a": "x\"y"}', "x\\", '{"a": "[M]y"}'),
        (r'{"a": "x\\\"y"}', '"y', r'{"a": "x\\[M]"}'),
        (
            r'{"a": "\u00e9\n secret \ud83d\ude00", "b": "\u00e9"}',
            "secret",
            r'{"a": "\u00e9\n [M] \ud83d\ude00", "b": "\u00e9"}',
        ),
        ('{"a": "é secret", "b": "\\u00e9"}', "secret", '{"a": "é [M]", "b": "\\u00e9"}'),
    ],
)
def test_a_mask_in_a_document(document: str, masked: str, expected: str) -> None:
    start = document_text(document).index(masked)

    assert edit_document(document.encode(), [(start, start + len(masked), "[M]")]).decode() == expected


@each_row(
    ("document", "masked"),
    [('{"secret": 1}', "secret"), ('{"a": "b"}', '{"a'), ("[ ]", " "), (r"{a\u0022b: secret}", "secret")],
)
def test_a_mask_of_a_name_or_no_value_is_an_error(document: str, masked: str) -> None:
    """BerriAI/litellm#30723: a mask in JSON that is no longer JSON."""
    start = document_text(document).index(masked)

    with pytest.raises(KeyMasked):
        edit_document(document.encode(), [(start, start + len(masked), "[M]")])


@each_row("body", ["", "{", '{"a"', '{"a":', '{"a":1', "[1", '["a', '{"a" 1}', "[1 2]", '"\\"'])
def test_incomplete_json_is_an_error(body: str) -> None:
    with pytest.raises(NotJson):
        read_elements(body.encode())


def read_elements(data: bytes) -> object:
    start, end = document_at(data)
    return read_members(data, start, end) if data[:1] == b"{" else read_items(data, start, end)


def test_text_is_a_document_only_if_a_program_may_read_it_as_json() -> None:
    assert is_document(' {"a": 1}')
    assert is_document('["\\ud800"]')
    assert is_document('["\\u0061", NaN]')
    assert not is_document("{not json}")
    assert not is_document("plain")
    assert not is_document("[" * 100_000)


LARGE = 16 * 2**20


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + b"x" * LARGE + b'"}',
        b'{"a":"' + b"\\n" * (LARGE // 2) + b'"}',
        b'{"a":"' + b"\\\\" * (LARGE // 2) + b'"}',
        b'{"a":"' + b'\\"' * (LARGE // 8) + b'"}',
        b'{"a":1,"a":"' + b'\\\\\\"' * (LARGE // 16) + b'"}',
        b'{"a":1,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":1,"a":' + b" " * LARGE + b"1}",
        b'{"' + b"k" * LARGE + b'":1}',
    ],
    ids=["plain", "escapes", "backslashes", "quotes", "duplicates", "nesting", "space", "name"],
)
def test_time_is_linear(body: bytes) -> None:
    """16 MB take seconds even on a busy machine; quadratic work would take hours."""
    started = time.process_time()

    members = read_members(body, 0, len(body))
    string_text(body[members[-1].start + 1 : members[-1].end - 1])

    assert time.process_time() - started < 20


# The texts of a request are the same whether the decoder reads it by one call, value by value, or not at all

LONG: Final = "a long text, " * 6000
BODIES: Final = {
    "duplicate members": b'{"messages":[{"role":"user","content":"one","content":"two"}],"messages":[{"role":"user",'
    b'"content":"three"}]}',
    "escapes": rb'{"messages":[{"role":"user","content":"caf\u00e9 \ud83d\ude00 \/ \"x\""},{"content":"\ud800"}]}',
    "invalid UTF-8": b'{"messages":[{"role":"user","content":"a\xffb"}],"\xfe":"name"}',
    "numbers": b'{"messages":[{"role":"user","content":12e999}],"seed":' + b"7" * 5000 + b',"x":[1.50,{"y":-0}]}',
    "nested": b'{"messages":[{"role":"user","content":"deep"}],"unknown":' + b"[" * 5000 + b'"in"' + b"]" * 5000 + b"}",
    "white space": b' {\n "messages" : [ { "role" : "user" , "content" : "wide" } ] , "user" : "me" }\r\n',
    "calls": json.dumps(
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a": "b"}'}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "c"}, {"text": "d"}]},
            ]
        }
    ).encode(),
    "long": json.dumps({"messages": [{"role": "user", "content": LONG}, {"role": "user", "content": "end"}]}).encode(),
}


def mask_values(body: bytes) -> tuple[list[tuple[str, str, str, str | None]], bytes]:
    """Return the passages of ``body``, and ``body`` with the first two characters of each value masked."""
    texts = RequestTexts.of("chat", body)
    values = [one for one in texts.passages if one.part != "other"]
    edits = [(one, 0, min(2, len(one.text)), "[M]") for one in values if one.text and one.part != "tool_calls"]
    return [(one.part, one.path, one.text, one.tool) for one in texts.passages], texts.replace(edits)


@pytest.mark.parametrize("name", BODIES)
def test_the_way_of_decoding_changes_no_text(monkeypatch, name):
    body = BODIES[name]
    whole = mask_values(body)
    assert whole[0]
    for longest in (8, 40, 0):
        monkeypatch.setattr(json_texts, "LONGEST_DECODED", longest)
        assert mask_values(body) == whole


def test_duplicate_members_are_all_texts_and_masks():
    passages, body = mask_values(BODIES["duplicate members"])
    assert [text for _, _, text, _ in passages] == ["one", "two", "three"]
    assert body.count(b"[M]") == 3


def test_a_long_value_is_not_decoded_with_its_document():
    body = BODIES["long"]
    assert len(body) > LONGEST_DECODED
    document = JsonDocument(body)
    root = document.root()
    assert type(root) is json_texts.Undecoded
    ((name, messages),) = document.members(root)
    first, last = document.items(messages)
    assert (name, type(first), dict(last)) == ("messages", json_texts.Undecoded, {"role": "user", "content": "end"})
    assert document.text(document.members(first)[1][1]) == LONG
    start, end = document.span((0, 1, 1))
    assert body[start:end] == b'"end"'
