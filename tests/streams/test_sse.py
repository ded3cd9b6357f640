"""Framing of server-sent events: the same events from bytes in any pieces."""

import itertools

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams import sse
from tests.support.cases import case
from tests.support.each_row import each_row

TOKENS = [
    b"data:", b"data: ", b"data", b"event: ", b"event:x", b"id: 1", b"retry: 5", b":", b": ping", b"\n", b"\r", b"\r\n",
    b"\n\n", b"\r\r", b"\r\n\r\n", b'{"a":1}', b"[DONE]", b"x", b" ", "\u2028".encode(), "\u0085".encode(), b"\x0b",
    b'error: {"m":1}', "é€😀".encode(), b"\x00", b"\xff",
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join) | st.binary(max_size=120)

MIXED = (
    b"\xef\xbb\xbf: hello\n\n"
    b"event: one\r\ndata: 1\r\n\r\n"
    b"data:2\r\r"
    b"data: a\ndata: b\n\n"
    b"data: c\r\n\n"
    b"data: d\n\r\n"
    b"event: e\rdata: {}\r\r"
    b'data: {"t":"\xe2\x80\xa8\xc2\x85\x0b"}\n\n'
    b"id: 7\nretry: 1\n\n"
    b'{"error":{"message":"out"}}\n\n'
    b"data: last"
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def split(pieces: list[bytes]) -> list[bytes]:
    splitter = sse.Splitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    rest = splitter.close()
    return [*events, rest] if rest else events


def parse_all(pieces: list[bytes]) -> list[tuple[str, bytes]]:
    return [event for raw in split(pieces) if (event := sse.parse(raw)) is not None]


EXPECTED = [
    ("one", b"1"),
    ("", b"2"),
    ("", b"a\nb"),
    ("", b"c"),
    ("", b"d"),
    ("e", b"{}"),
    ("", '{"t":"\u2028\u0085\x0b"}'.encode()),
    ("", b'{"error":{"message":"out"}}'),
    ("", b"last"),
]


def test_mixed_line_ends_comments_bom_and_an_unfinished_last_event():
    assert parse_all([MIXED]) == EXPECTED


@given(STREAMS, st.lists(st.integers(0, 150), max_size=8))
@example(b"data: a\r\n\r\n\ndata: b\n\n", [10])
@example(b"data: a\r\r\ndata: b\r\r", [9])
@example(b"data: a\n\n" + b"\n" * 9 + b"data: b\n\n", [])
@example(b"data: a\r\r\n" + b"\r\n" * 9 + b"data: b\r\r", [29])
def test_arbitrary_bytes_in_any_pieces_are_the_same_events(data, places):
    for pieces in (cut(data, places), [bytes([byte]) for byte in data]):
        assert b"".join(split(pieces)) == data
        assert parse_all(pieces) == parse_all([data])


LONE_EVENTS = st.builds(
    lambda start, data, end: start + data + end,
    st.sampled_from(
        [b"data: ", b"event: a.b_c\ndata: ", b"event: A\ndata: ", b"event: \ndata: ", b": c\ndata: ", b"data:"]
    ),
    st.lists(
        st.sampled_from([b"x", b"{", b" ", b"\n", b"\r", b"data: ", b"id: 1", b"\xff", b"x" * 600]), max_size=4
    ).map(b"".join),
    st.sampled_from([b"\n\n", b"\n", b"\r\n\r\n", b"\n\n\n", b"\n\ndata: y\n\n", b""]),
)


@given(LONE_EVENTS, st.sampled_from([b"", b"data: x\n\n", b"data: x", b"data: x\n", b"data: x\r\n\r", b"\n"]))
@example(b"data: x\n\n", b"")
@example(b"event: a\ndata: x\n\n", b"data: x\n\n")
@example(b"data: \n\n", b"")
@example(b"\ndata: x\n\n", b"data: x\r\n\r")
@example(b"data: x\n\n", b"data: y")
def test_an_event_that_is_recognized_alone_is_the_only_one_and_needs_no_other_step(data, before):
    splitter = sse.Splitter()
    splitter.feed(before)
    if (event := splitter.parse_lone(data)) is not None:
        assert splitter.feed(data) == [data]
        assert sse.parse(data) == event
        assert sse.is_plain(data, *event)


def test_the_usual_events_are_recognized_alone():
    splitter = sse.Splitter()
    assert splitter.parse_lone(b'data: {"a": 1}\n\n') == ("", b'{"a": 1}')
    assert splitter.parse_lone(b"event: content_block_delta\ndata: {}\n\n") == ("content_block_delta", b"{}")


def parse_by_standard(data: bytes) -> list[tuple[str, bytes]]:
    """Parse a stream with LF alone by the standard's algorithm (WHATWG HTML 9.2.6).

    Events with empty data mean nothing in all APIs and are omitted.
    """
    events: list[tuple[str, bytes]] = []
    name, lines = "", []
    for line in data.split(b"\n")[:-1]:
        if not line:
            if any(lines):
                events.append((name, b"\n".join(lines)))
            name, lines = "", []
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value.decode()
    return events


@given(
    st.lists(
        st.sampled_from(
            [b"data: x", b"data:y", b"data:  z", b"data", b"data: ", b"event: a", b"event:b", b": c", b"id: 1", b""]
        ),
        max_size=20,
    )
)
def test_events_match_the_standards_algorithm(lines):
    data = b"".join(line + b"\n" for line in [*lines, b"", b""])
    assert parse_all([data]) == parse_by_standard(data)


def test_one_event_is_parsed():
    for raw, event in [
        (b"data: x\n\n", ("", b"x")),
        (b"data:x\n\n", ("", b"x")),
        (b"data:  x\n\n", ("", b" x")),
        (b"data: x: y\n\n", ("", b"x: y")),
        (b"data: x", ("", b"x")),
        (b"data: x\n", ("", b"x")),
        (b"data: x\ni", ("", b"x")),
        (b"data: x\r\n\r\n", ("", b"x")),
        (b"event: e\ndata: x\n\n", ("e", b"x")),
        (b"data: x\nevent: e\n\n", ("e", b"x")),
        (b"data: a\ndata: b\n\n", ("", b"a\nb")),
        (b"data: a\n\ndata: b"[:9], ("", b"a")),
        (b"data: a\ndata:\ndata: b\n\n", ("", b"a\n\nb")),
        (b"\xef\xbb\xbfdata: x\n\n", ("", b"x")),
        (b"id: 1\nretry: 2\ndata: x\n\n", ("", b"x")),
        (b'{"error": {"message": "no"}}\n\n', ("", b'{"error": {"message": "no"}}')),
        (b'{"error": 1}', ("", b'{"error": 1}')),
        (b'error: {"message": "no"}\n\n', ("", b'{"message": "no"}')),
        (b"event: e\n\n", None),
        (b"data:\n\n", None),
        (b"data: \n\n", None),
        (b"data\n\n", None),
        (b": ping\n\n", None),
        (b"error: plain words\n\n", None),
        (b"id: 1\n\n", None),
        (b"\n\n", None),
        (b"\r\n", None),
    ]:
        with case((raw, event)):
            assert sse.parse(raw) == event


@each_row("line_end", [b"\r", b"\n", b"\r\n", b"\n\r"])
def test_many_blank_lines_in_one_read_become_few_pieces(line_end):
    """64 KiB of line ends from a provider took 0.1 s, as each two of them became an event (CWE-400)."""
    event = b"data: x" + 2 * line_end
    data = event + line_end * 20_000 + event
    splitter = sse.Splitter()
    pieces = splitter.feed(data)
    assert b"".join([*pieces, splitter.close()]) == data
    assert len(pieces) <= 4
    assert [sse.parse(piece) for piece in pieces if sse.parse(piece) is not None] == [("", b"x"), ("", b"x")]


@each_row("mark", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\u00a0"])
def test_unicode_line_separators_are_data(mark):
    raw = f'data: {{"t":"a{mark}b"}}\n\n'.encode()
    assert split([raw]) == [raw]
    assert sse.parse(raw) == ("", raw[6:-2])


def test_an_event_name_of_invalid_utf8_raises_no_exception():
    assert sse.parse(b"event: \xff\ndata: x\n\n") == ("\ufffd", b"x")


def test_an_event_is_returned_by_the_read_that_completes_it():
    splitter = sse.Splitter()
    assert splitter.feed(b"data: 1\n") == []
    assert splitter.feed(b"\ndata: 2\n\ndata:") == [b"data: 1\n\n", b"data: 2\n\n"]
    assert splitter.feed(b"") == []
    assert splitter.close() == b"data:"
    assert splitter.close() == b""


def test_a_blank_line_of_carriage_returns_does_not_wait_for_the_next_read():
    splitter = sse.Splitter()
    assert splitter.feed(b"data: 1\r\n\r") == [b"data: 1\r\n\r"]
    assert splitter.feed(b"\ndata: 2\r\n\r\n") == [b"\n", b"data: 2\r\n\r\n"]
    assert splitter.feed(b"data: 3\r\r") == [b"data: 3\r\r"]
    assert splitter.feed(b"data: 4\r\r") == [b"data: 4\r\r"]
    assert splitter.feed(b"") == []
    assert splitter.feed(b"\n") == [b"\n"]
    assert splitter.close() == b""


def test_an_event_above_the_limit_raises():
    splitter = sse.Splitter(limit=100)
    splitter.feed(b"x" * 60)
    with pytest.raises(sse.EventTooLarge):
        splitter.feed(b"x" * 41)


@each_row("line", [b":\n", b"data:\r", b"event: a\r\n", b"x\n"])
def test_an_event_of_too_many_lines_raises_for_every_kind_of_line(line):
    """8 MB of comment lines without a blank line stopped every stream for a second (CWE-400)."""
    raw = line * (2 * sse.MAX_LINES + 1)
    splitter = sse.Splitter()
    for start in range(0, len(raw), 4096):
        assert splitter.feed(raw[start : start + 4096]) == []
    with pytest.raises(sse.EventHasTooManyLines, match="20,000 lines"):
        splitter.feed(b"data: x" + line[-1:] * 2)
    assert sse.complete(raw + b"data: {}") == b""


@each_row("end", [b"\n", b"\r", b"\r\n"])
def test_an_indented_event_of_many_lines_is_one_event(end):
    raw = b"data: [" + end + (b"data: 1," + end) * (sse.MAX_LINES - 3) + b"data: 1]" + end + end
    splitter = sse.Splitter()
    found = [event for start in range(0, len(raw), 4096) for event in splitter.feed(raw[start : start + 4096])]
    assert b"".join(found) + splitter.close() == raw
    assert sse.parse(found[0])[1].count(b"\n") == sse.MAX_LINES - 2


def test_the_limit_applies_to_one_event_not_to_the_stream():
    splitter = sse.Splitter(limit=100)
    for _ in range(10):
        assert splitter.feed(b"data: " + b"x" * 60) == []
        assert len(splitter.feed(b"\n\n")) == 1


def test_no_client_splits_written_json():
    for text, written in [
        ("\u2028", rb"\u2028"),
        ("\u2029", rb"\u2029"),
        ("\u0085", rb"\u0085"),
        ("\n", rb"\n"),
        ("\r", rb"\r"),
        ("\u2030", "\u2030".encode()),
        ("é", "é".encode()),
    ]:
        with case((text, written)):
            assert sse.dump({"t": f"a{text}b"}) == b'{"t":"a' + written + b'b"}'


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(-(2**60), 2**60), st.lists, max_leaves=10))
def test_dumped_json_is_one_line_for_every_splitter_and_keeps_its_value(value):
    out = sse.dump(value)
    assert msgspec.json.decode(out) == value
    assert len(out.decode().splitlines()) == 1


@each_row("space", ["\n", "\r", "\r\n", "\n\t "])
def test_json_that_is_inserted_unchanged_does_not_break_the_line(space):
    args = msgspec.Raw(f'{{{space}"a":{space}"b\\n c"{space}}}'.encode())
    out = sse.dump({"args": args})
    assert msgspec.json.decode(out) == {"args": {"a": "b\n c"}}
    assert len(out.splitlines()) == 1
    assert parse_all([sse.data({"args": args})]) == [("", out)]


@given(st.text(), st.sampled_from(["message_start", "response.created"]))
def test_a_written_event_reads_back(text, name):
    assert parse_all([sse.event(name, {"t": text})]) == [(name, sse.dump({"t": text}))]
    assert parse_all([sse.data({"t": text})]) == [("", sse.dump({"t": text}))]


def test_the_ping_is_a_comment_and_a_whole_event():
    assert split([sse.COMMENT_PING]) == [sse.COMMENT_PING]
    assert sse.parse(sse.COMMENT_PING) is None


def test_events_that_forbid_later_comments_are_detected():
    for raw, plain in [
        (b"data: x\n\n", True),
        (b': id: 1\ndata: {"id": 1}\n\n', True),
        (b"id: 1\ndata: x\n\n", False),
        (b"data: x\r\nid:1\r\n\r\n", False),
        (b"retry: 10\n\n", False),
    ]:
        with case((raw, plain)):
            assert sse.is_plain(raw) is plain


@given(STREAMS, st.booleans())
@example(b"id: 1\ndata: x\n\n", True)
@example(b"data: x\nretry: 1\n\n", True)
@example(b'{"a":\r"' + b"x" * 40 + b'"}\n\n', False)
def test_large_data_need_not_be_searched_for_marks(stream, grow):
    """``is_plain`` skips data of one line, and finds the same lines around it."""
    for raw in split([stream.replace(b"data: x", b"data: id: " + b"x" * 99) if grow else stream]):
        if (event := sse.parse(raw)) is not None:
            assert sse.is_plain(raw, *event) is sse.is_plain(raw)


def test_an_event_without_remarks_has_only_its_name_and_its_data():
    for raw, cleaned in [
        (b'event: a\ndata: {"b":1}\n\n', None),
        (b'data: {"b":1}\n\n', None),
        (b'{"error":{}}\n\n', None),
        (b": falcon\ndata: x\n\n", b"data: x\n\n"),
        (b"event: falcon-77\ndata: x\n\n", b"data: x\n\n"),
        (b"event: a\ndata: x\nid: falcon\n\n", b"event: a\ndata: x\n\n"),
        (b"event: a\r: falcon\ndata: x\n\n", b"event: a\rdata: x\n\n"),
        (b"event: a\nevent: b c\ndata: x\n\n", b"data: x\n\n"),  # the last name counts
        (b"event: b c\nevent: a\ndata: x\n\n", b"event: a\ndata: x\n\n"),
        (b'data: {"b":1}\r\n\r\n', None),
        (b"data: x\n: y\r\n\r\n", b"data: x\n\r\n"),
        (b"data: x\n:\n\n", b"data: x\n\n"),
        (b"data: x\n:\n\r\n", b"data: x\n\r\n"),
        (b"event:a\ndata: x\n\n", None),
        (b"event: a\ndata: x\n:\n\n", b"event: a\ndata: x\n\n"),
    ]:
        with case((raw, cleaned)):
            assert sse.SSE.without_remarks(raw, *(sse.parse(raw) or ("", b""))) == (raw if cleaned is None else cleaned)


LINES = st.lists(st.sampled_from([b"event: a", b"data: ", b"data:x", b"\n", b"\r", b": c", b":", b"id", b"x", b" "]))


@given(LINES.map(b"".join), st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"]))
def test_an_event_without_remarks_has_no_line_that_its_reader_ignores(lines, end):
    for raw in (lines + end, b"data: " + lines + end, b"event: a\ndata: " + lines + end):
        parsed = sse.parse(raw)
        for line in sse.without_remarks(raw, *parsed).splitlines() if parsed is not None and b"{" not in raw else ():
            assert line.partition(b":")[0] in (b"", b"data", b"event", b"error")
            assert line.partition(b":")[0] or not line


READ_LINES = st.lists(
    st.sampled_from([b"event: a", b"event: b c\n", b"data: ", b"data:x", b"\n", b"\r", b": c", b"x", b" "])
)


@given(READ_LINES.map(b"".join))
def test_an_event_without_remarks_is_read_like_the_event(raw):
    parsed = sse.parse(raw)
    if parsed is not None:
        assert sse.parse(sse.without_remarks(raw, *parsed)) in (parsed, ("", parsed[1]))
