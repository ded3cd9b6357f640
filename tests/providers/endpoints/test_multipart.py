"""Edits of multipart bodies in transit: the value of ``model`` changes, and no other byte."""

import contextlib
import itertools
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.endpoints.multipart import (
    FIELD_BYTES,
    HEAD_BYTES,
    PARTS,
    PREAMBLE_BYTES,
    MultipartEditor,
    MultipartHead,
    MultipartParser,
    parse_boundary,
)
from streams.errors import GatewayError
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.growth import assert_steps_grow_linearly, assert_time_grows_linearly
from tests.support.multipart import BOUNDARY, multipart, part, pieces

AUDIO = bytes(range(256)) * 2
FILE = part("file", AUDIO, "speech.wav", "Content-Type: audio/wav")
GRANULARITIES = [part("timestamp_granularities[]", b"word"), part("timestamp_granularities[]", b"segment")]


def edit_body(body: Sequence[bytes], model: str = "whisper-large-v3", boundary: bytes = BOUNDARY) -> bytes:
    """Return the edited body of these pieces."""
    editor = MultipartEditor(boundary)
    out: list[bytes] = []
    replaced = False
    for piece in body:
        out.append(editor.feed(piece))
        if editor.model is not None and not replaced:
            out.append(editor.replace(model))
            replaced = True
    editor.close()
    out.insert(0, editor.preamble or b"")
    assert len(b"".join(out)) == sum(map(len, body)) + editor.difference
    return b"".join(out)


def refusal(body: bytes, boundary: bytes = BOUNDARY) -> str:
    """Return the reason why the body is refused, in any pieces."""
    told = set()
    for size in (len(body) or 1, 1, 7):
        with pytest.raises(GatewayError) as error:
            edit_body(pieces(body, size), boundary=boundary)
        assert error.value.info.status == 400
        told.add(str(error.value))
    (only,) = told
    return only


# BerriAI/litellm#41625, BerriAI/litellm#35937, maximhq/bifrost#5320, 0xShug0/audio.cpp#643
BODIES = {
    "the order of the openai SDK": [part("model", b"MODEL"), part("response_format", b"text"), FILE],
    "the order of curl": [FILE, part("model", b"MODEL")],
    "repeated fields": [part("model", b"MODEL"), *GRANULARITIES, FILE],
    "repeated fields around it": [GRANULARITIES[0], part("model", b"MODEL"), GRANULARITIES[1], FILE],
    "several images": [
        part("image[]", AUDIO, "a.png", "Content-Type: image/png"),
        part("image[]", AUDIO[::-1], "b.png", "Content-Type: image/png"),
        part("mask", b"", "mask.png"),
        part("model", b"MODEL"),
        part("chunking_strategy[type]", b"server_vad"),
    ],
    "names of files": [
        part("file", b"1", 'a\\"b; c.wav'),
        part("file", b"2", "a%22b.wav"),
        part("file", b"3", "größer 音.wav"),
        part("file", b"4", "a\\"),
        part("file", b"5", "; model=x; names=model"),
        part("model", b"MODEL"),
    ],
    "other heads": [
        b"content-disposition:form-data;name=file;filename=a.wav\r\n\r\nx",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model\r\n\r\nMODEL",
        b"\r\nno head",
        b"Content-Disposition: form-data\r\n\r\nno name",
        b"Content-Disposition: form-data; name=\"x\"\r\nX-Unknown: \xff\xfe\r\n\r\n",
    ],
    "what looks like the boundary": [
        part("file", b"--" + BOUNDARY + b"\r\n", "a"),
        part("file", b"x--" + BOUNDARY + b"--\r\nx", "a"),
        part("file", b"\r\n--" + BOUNDARY[:-1] + b"\r\n" + BOUNDARY, "a"),
        part("file", b"\r\n--" + BOUNDARY + b"x\r\n--" + BOUNDARY + b"0--", "a"),
        part("file", b"\r\n-\r\n--\r\n---\r\r\n\n" * 20, "a"),
        part("model", b"MODEL"),
        part("file", b"\r\n", "a"),
        part("file", b"", "a"),
    ],
    "an empty name": [part("model", b""), FILE],
}  # fmt: skip


@each_row("name", BODIES)
def test_only_the_value_of_model_changes_in_any_framing(name):
    parts = BODIES[name]
    if name == "what looks like the boundary":
        parts = [parts[0].replace(b"\r\n\r\n--", b"\r\n\r\nx--"), *parts[1:]]
    body = multipart(parts)
    old = b"" if name == "an empty name" else b"MODEL"
    expected = body.replace(b'name="model"\r\n\r\n' + old, b'name="model"\r\n\r\nwhisper-large-v3')
    expected = expected.replace(b"name=model\r\n\r\nMODEL", b"name=model\r\n\r\nwhisper-large-v3")
    assert expected != body
    for size in (1, 2, 3, 5, 64, len(body)):
        assert edit_body(pieces(body, size)) == expected, size


def test_any_split_gives_the_same_events():
    body = multipart(BODIES["repeated fields around it"])
    whole = edit_body([body])
    for at in range(len(body)):
        assert edit_body([body[:at], body[at:]]) == whole, at


TOKENS = [
    b"--", b"-", b"\r", b"\n", b"\r\n", b"\r\n--", BOUNDARY, b"\r\n--" + BOUNDARY, BOUNDARY[:-1], b"x", b" ", b"\t",
    b"\x00", b"\xff", b"model", b'Content-Disposition: form-data; name="model"\r\n\r\n', b"\r\n\r\n",
]  # fmt: skip
CONTENT = st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join) | st.binary(max_size=60)
CUTS = st.lists(st.integers(0, 2000), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(before=st.lists(CONTENT, max_size=2), behind=st.lists(CONTENT, max_size=2), cuts=CUTS)
@settings(max_examples=examples(100), deadline=None)
def test_files_pass_unchanged_or_the_body_is_refused(before, behind, cuts):
    """Never is a byte lost, and never does a file's content become the ``model``."""
    head, tail = ([part("file", content, "a.bin") for content in some] for some in (before, behind))
    body = multipart([*head, part("model", b"MODEL"), *tail])
    try:
        out: bytes | None = edit_body(cut(body, cuts))
    except GatewayError:
        out = None
    if out is None:
        assert any(b"--" + BOUNDARY in content for content in (*before, *behind))
    else:
        assert out == multipart([*head, part("model", b"whisper-large-v3"), *tail])


@given(body=st.lists(st.sampled_from(TOKENS), max_size=25).map(b"".join) | st.binary(max_size=200), cuts=CUTS)
@settings(max_examples=examples(100), deadline=None)
def test_the_boundaries_of_reads_make_no_difference(body, cuts):
    def outcome(how: list[bytes]) -> object:
        try:
            return edit_body([b"--" + BOUNDARY, *how])
        except GatewayError as error:
            return error.info

    assert outcome(cut(body, cuts)) == outcome([body])


@given(cuts=CUTS)
@settings(max_examples=examples(50), deadline=None)
def test_the_events_put_together_are_the_body(cuts):
    body = b"\r\n" + multipart(BODIES["what looks like the boundary"][1:])
    parser = MultipartParser(BOUNDARY)
    events = [event for piece in cut(body, cuts) for event in parser.feed(piece)]
    parser.close()
    assert b"".join(event.raw for event in events) == body
    assert [event.name for event in events if isinstance(event, MultipartHead)] == [
        *["file"] * 4,
        "model",
        *["file"] * 2,
    ]


# Bodies that two servers would read differently


def test_a_line_that_only_some_servers_read_as_the_boundary_is_rejected():
    for before, behind in (
        *itertools.product((b"\r\n",), (b" \r\n", b"\t\r\n", b"\n", b"\rx", b"-x", b" --")),
        *itertools.product((b"\n", b"\r"), (b"\r\n", b"\n", b"--")),
    ):
        content = b"x" + before + b"--" + BOUNDARY + behind + b'Content-Disposition: form-data; name="model"\r\n\r\nbig'
        assert "starts with its boundary" in refusal(multipart([part("model", b"a"), part("file", content, "a")]))
    for content in (b"--" + BOUNDARY + b"\r\n", b"--" + BOUNDARY + b"--"):  # its line end is the head's
        assert "starts with its boundary" in refusal(multipart([part("model", b"a"), part("file", content, "a")]))


PREAMBLES = (
    b"\r\n",
    b"\r\n\r\n",
    b"This is a form.\r\n",
    b"--\r\n--other\r\n\n\r\r\n",
    b"-" * (PREAMBLE_BYTES - 2) + b"\r\n",
)


@each_row("preamble, size", itertools.product(PREAMBLES, [1, 7, 100_000]))
def test_a_preamble_stays(preamble, size):
    """RFC 2046 section 5.1.1 permits it; a line end alone is common in Swift."""
    body = preamble + multipart([part("model", b"a"), FILE])
    assert edit_body(pieces(body, size), "bc") == body.replace(b"\r\na\r\n", b"\r\nbc\r\n")


@given(preamble=st.binary(max_size=40), cuts=CUTS)
@settings(max_examples=examples(50), deadline=None)
def test_any_preamble_stays(preamble, cuts):
    body = preamble + b"\r\n" + multipart([part("model", b"a"), FILE])
    assert edit_body(cut(body, cuts), "a") == body


def test_a_field_before_the_first_boundary_is_refused():
    """A server that does not skip the preamble would find another model in it."""
    for begin in (b"", b"\r\n", b"x\r\n"):
        field = begin + b'CONTENT-Disposition: form-data; name="model"\r\n\r\nbig\r\n'
        assert "before its first boundary" in refusal(field + multipart([part("model", b"a")]))


def test_a_preamble_ends_in_crlf_and_is_bounded():
    body = multipart([part("model", b"a")])
    for preamble in (b"\n", b"\r", b"x", b"x\n", b"\r\n ", b"x" * (PREAMBLE_BYTES - 1) + b"\r\n"):
        assert "must start with the boundary" in refusal(preamble + body)
    assert "must start with the boundary" in refusal(b"x" * 10**6)
    assert "must start with the boundary" in refusal(b"x\r\n" + body[:10])


def test_data_after_the_last_boundary_is_refused():
    body = multipart([part("model", b"a")])
    assert "starts with its boundary" in refusal(body.replace(b"\r\n", b"\n"))
    assert "after its last boundary" in refusal(body + b"--" + BOUNDARY + b"\r\n")
    assert edit_body([body, b"\r\n \r\n"], "a") == body + b"\r\n \r\n"


def test_a_name_that_can_be_read_as_model_or_as_another_is_refused():
    for disposition in (
        b'form-data; name="file"; name="model"',
        b'form-data; name="model"; name="model2"',
        b'form-data; name="mod\\el"',
        b'form-data; name="model "',
        b"form-data; name=model ; filename=x",
        b'form-data; filename="a\\"; name="model"',
        b'form-data; filename="a; name=model"',
        b"form-data; name=\"x\"; name*=utf-8''model",
        b"form-data; name*0=mod; name*1=el",
    ):
        body = multipart([part("model", b"a"), b"Content-Disposition: %b\r\n\r\nbig" % disposition])
        assert "is ambiguous" in refusal(body), disposition


def test_heads_have_one_line_for_each_header_and_one_disposition():
    first = b'Content-Disposition: form-data; name="x"'
    for head in (b"\r\n folded: x", b"\r\nno colon", b"\r\na : b", b"\r\na: b\nc: d", b"\r\na: b\rc", b"\r\na: \x00"):
        assert "NAME: VALUE" in refusal(multipart([first + head + b"\r\n\r\nx"])), head
    assert "more than one content-disposition" in refusal(multipart([first + b"\r\n" + first + b"\r\n\r\nx"]))


def test_the_model_field_appears_once_as_a_short_text():
    model = part("model", b"a")
    assert "appears twice" in refusal(multipart([model, FILE, model]))
    assert "is a file" in refusal(multipart([part("model", b"a", "model.txt")]))
    assert "or encoded" in refusal(multipart([part("model", b"YQ==", None, "Content-Transfer-Encoding: base64")]))
    assert "more than 1024 bytes" in refusal(multipart([part("model", b"a" * (FIELD_BYTES + 1))]))
    assert "UTF-8" in refusal(multipart([part("model", b"\xff")]))


def test_a_body_that_ends_early_is_refused():
    body = multipart([part("model", b"a"), FILE])
    for end in (0, 1, 10, 40, 70, len(body) - 4, len(body) - 20):
        assert "ends before its last boundary" in refusal(body[:end])
    assert edit_body([body[:-2]], "a") == body[:-2]  # the last line end may be missing


def test_heads_and_parts_are_bounded():
    assert f"more than {HEAD_BYTES} bytes" in refusal(multipart([b"X: " + b"x" * HEAD_BYTES + b"\r\n\r\n"]))
    assert f"more than {HEAD_BYTES} bytes" in refusal(b"--" + BOUNDARY + b"\r\nX: " + b"x" * (HEAD_BYTES + 10))
    assert f"more than {PARTS} parts" in refusal(multipart([b"\r\n"] * (PARTS + 1)))
    assert edit_body([multipart([*[b"\r\n"] * (PARTS - 1), part("model", b"a")])])


# The boundary


def test_the_boundary_is_read_from_the_content_type():
    for said, found in (
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data;Boundary="a b:c"', b"a b:c"),
        ("multipart/form-data; charset=utf-8; boundary=----=_Part_1.2; x=y;", b"----=_Part_1.2"),
        ("multipart/form-data; boundary=------------------------d74496d66958873e", b"-" * 24 + b"d74496d66958873e"),
    ):
        assert parse_boundary(said) == found
        body = multipart([part("model", b"a")], found)
        assert edit_body(pieces(body, 3), "bcd", found) == body.replace(b"\r\na\r\n", b"\r\nbcd\r\n")


def test_a_content_type_without_one_clear_boundary_is_refused():
    for said in (
        "",
        "application/json",
        "multipart/mixed; boundary=a",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a b",
        'multipart/form-data; boundary="a\\"b"',
        'multipart/form-data; boundary="a ";',
        "multipart/form-data; boundary=ä",
        "multipart/form-data; boundary*=utf-8''a",
        "multipart/form-data; boundary=a; boundary*=b",
        'multipart/form-data; boundary="a',
        "multipart/form-data; boundary=" + "a" * 201,
    ):
        with pytest.raises(GatewayError) as error:
            parse_boundary(said)
        assert error.value.info.status == 400, said


# Noted fields


def test_fields_are_noted_and_files_watched():
    watched: list[bytes] = []
    editor = MultipartEditor(BOUNDARY, {"response_format", "stream", "prompt", "n"}, watched.append)
    fields = [
        part("stream", b"true"),
        part("response_format", b"srt"),
        part("prompt", b""),
        part("other", b"1" * 2000),
    ]
    for piece in pieces(multipart([*fields, FILE, part("n", b"1", "n.txt")]), 50):
        editor.feed(piece)
    assert editor.fields == {"stream": "true", "response_format": "srt"}
    assert b"".join(watched) == AUDIO + b"1"
    assert editor.model is None


def test_a_body_without_a_model_gets_one_as_its_first_part():
    editor = MultipartEditor(BOUNDARY)
    body = multipart([FILE])
    assert editor.feed(body) == body
    editor.close()
    added = editor.model_part("gpt-image-1")
    assert added + body == multipart([part("model", b"gpt-image-1"), FILE])
    assert editor.difference == len(added)


def test_bytes_after_the_model_wait_until_it_is_replaced():
    editor = MultipartEditor(BOUNDARY)
    body = multipart([part("model", b"fast"), FILE])
    before = editor.feed(body)
    assert before.endswith(b'name="model"\r\n\r\n')
    assert editor.model == "fast"
    assert before + editor.replace("größer") + editor.feed(b"") == body.replace(b"fast", "größer".encode())
    assert editor.difference == len("größer".encode()) - 4


# Its work

UNITS = [
    b"x", b"-", b"\r", b"\n", b"\r\n", b"--", b"\r\n--", b"--" + BOUNDARY, b"\r\n--" + BOUNDARY + b"x",
    b"\r\n--" + BOUNDARY[:-1], b"\x00",
]  # fmt: skip


@each_row("unit", UNITS)
def test_work_is_linear_in_the_body(unit):
    def editing_work(count: int, read: int):
        body = multipart([part("model", b"a"), part("file", b"x" + unit * 11 * count, "a")])
        return lambda: edit_body(pieces(body, read))

    assert_steps_grow_linearly(partial(editing_work, read=11))
    assert_time_grows_linearly(partial(editing_work, read=2**20))


def test_work_is_linear_in_a_head():
    for unit in (b";", b'; a="', b'; a="\\', b"; name=", b" ", b"name", b'"', b"\\", b'; name="\\"'):

        def editing_work(count: int, unit: bytes = unit):
            head = b"Content-Disposition: form-data" + unit * count

            def work() -> None:
                with contextlib.suppress(GatewayError):
                    edit_body(pieces(multipart([part("model", b"a"), head + b"\r\n\r\n"]), 5))

            return work

        assert_time_grows_linearly(editing_work, most=128)
