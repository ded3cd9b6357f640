"""The two lanes of a stream as pure functions from the provider's bytes, split or cut anywhere, to the client's."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import attrs
import msgspec
import pytest

from gateway.http.redaction import REDACTED
from gateway.streaming.lane import Lane
from gateway.streaming.translation import Translation
from providers.apis import CODECS
from streams.events import ErrorInfo
from streams.framing import EventTooLarge
from streams.sse import COMMENT_PING
from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.examples import places
from tests.support.lanes import KEY, SCRIPTS, byte_lane, events_of, half, hub_lane, masked_error, reply_for, whole_lane
from tests.support.upstreams import Script, render

CUT = ErrorInfo("upstream", "the provider's connection broke")


# The events that show a client a whole answer, and those after which an answer is whole though more should follow.
SUCCESS = {
    "chat": (b"[DONE]",),
    "messages": (b"message_stop",),
    "responses": (b"response.completed", b"response.incomplete"),
}
GOOD_END = {"chat": b'"finish_reason": "', "messages": b'"type": "message_delta"', "responses": b"sequence_number"}


@attrs.frozen
class Way:
    """A lane from a provider's API to a client's."""

    source: str
    client: str
    lane: str

    def __str__(self) -> str:
        return f"{self.source}_{self.lane}_{self.client}"

    def open(self) -> Lane:
        return byte_lane(self.client) if self.lane == "byte" else hub_lane(self.source, self.client)


WAYS = [Way(api, api, "byte") for api in OLDER] + [Way(up, api, "hub") for up in OLDER for api in OLDER if up != api]


def two_pieces(data: bytes) -> Iterator[tuple[bytes, ...]]:
    return ((data[:i], data[i:]) for i in places(range(len(data))))


def single_bytes(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[i : i + 1] for i in range(len(data)))


def splits(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield the data in two pieces, split at every byte, and then byte by byte."""
    yield from two_pieces(data)
    yield single_bytes(data)


def run(lane: Lane, parts: Iterable[bytes], end: ErrorInfo | None = None) -> bytes:
    """Return the client's bytes for ``parts`` and then the end of the body, with or without an error."""
    out = b"".join(map(lane.feed, parts))
    return out + lane.end(end)


def without_ids(data: bytes) -> bytes:
    """Replace the gateway's own ids, which are random."""
    return re.sub(rb"[0-9a-f]{24}", b"*", data)


def events_in(data: bytes) -> list[tuple[str, Any]]:
    """Return the events in ``data``, which must consist of whole ones."""
    assert not data or data.endswith(b"\n\n"), data[-200:]
    found = []
    for raw in data.decode().split("\n\n")[:-1]:
        fields = [line.partition(":")[::2] for line in raw.strip("\n").split("\n")]
        name = next((value.strip() for field, value in fields if field == "event"), "")
        text = "\n".join(value.removeprefix(" ") for field, value in fields if field == "data")
        if text:
            found.append((name, text if text == "[DONE]" else msgspec.json.decode(text)))
    return found


def errors(api: str, data: bytes) -> int:
    """Return the number of events in ``data`` for which an SDK of ``api`` raises an error."""
    match api:
        case "chat":
            return sum(value != "[DONE]" and bool(value.get("error")) for _, value in events_in(data))
        case "messages":
            return sum(name == "error" for name, _ in events_in(data))
        case _:  # they ignore ``response.failed``
            return sum(value != "[DONE]" and bool(value.get("error")) for _, value in events_in(data))


def looks_whole(api: str, data: bytes) -> bool:
    return any(mark in data for mark in SUCCESS[api])


@each_row("name", SCRIPTS)
@each_row("api", OLDER)
def test_the_byte_lane_forwards_the_same_bytes_for_any_split(api, name):
    data = b"".join(events_of(api, SCRIPTS[name]))
    for parts in (
        splits(data) if name in ("short", "short_call") else [tuple(data[i : i + 1] for i in range(len(data)))]
    ):
        lane = byte_lane(api)
        assert run(lane, parts) == data
        assert lane.progress.end is not None
        assert lane.progress.error is None
        assert (lane.progress.usage.prompt, lane.progress.usage.output) == (11, 7)


def test_a_good_end_event_is_not_forwarded_before_an_error():
    """An SDK reads nothing after it, and would accept half a call as a whole one."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    chunk = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"
    lane = byte_lane("chat")
    out = run(lane, [chunk, b"data: [DONE]\n\n"])
    assert out.startswith(chunk)
    assert errors("chat", out) == 1
    assert not looks_whole("chat", out)
    assert lane.progress.error is not None


@pytest.mark.parametrize("end", [b"\r\n", b"\r"], ids=["crlf", "cr"])
def test_other_line_ends_pass_too_however_they_are_split(end):
    data = b"".join(events_of("chat", SCRIPTS["short"])).replace(b"\n", end)
    for parts in splits(data):
        lane = byte_lane("chat")
        assert run(lane, parts) == data
        assert lane.progress.end is not None


def test_comments_before_the_content_keep_their_places_in_one_read():
    data = b": a\n\n: b\n\n" + b"".join(events_of("chat", SCRIPTS["short"]))
    assert run(byte_lane("chat"), [data]) == data


@each_row("way", [way for way in WAYS if way.lane == "hub"], ids=str)
def test_the_hub_lane_writes_the_same_events_for_any_split(way):
    for script in SCRIPTS.values():
        data = b"".join(events_of(way.source, script))
        expected = without_ids(run(way.open(), [data]))
        assert looks_whole(way.client, expected)
        assert errors(way.client, expected) == 0
        for parts in splits(data) if script is SCRIPTS["short"] else [events_of(way.source, script)]:
            assert without_ids(run(way.open(), parts)) == expected


def whole_from(api: str, script: Script) -> int:
    """Return the offset in the stream from which on the answer is whole, though its last events may be missing."""
    at = 0
    for piece in events_of(api, script):
        at += len(piece)
        last = b'"type": "response.' + (b"incomplete" if script.stop == "length" else b"completed")
        if (last if api == "responses" else GOOD_END[api]) in piece:
            return at - 2  # the blank line may be missing
    raise AssertionError("the stream has no end")


CUTS: Final = itertools.cycle((("short", None), ("short_call", CUT)))


@each_row(("way", "name", "end"), [(way, *next(CUTS)) for way in WAYS], ids=str)
def test_a_stream_cut_anywhere_never_looks_complete(way, name, end):
    data = b"".join(events_of(way.source, SCRIPTS[name]))
    good = whole_from(way.source, SCRIPTS[name])
    for cut in places(range(len(data))):
        lane = way.open()
        out = run(lane, [data[:cut]], end)
        events_in(out)
        if cut < good:
            assert lane.progress.end is None, data[:cut][-100:]
            assert lane.progress.error is not None
            assert not looks_whole(way.client, out)
            assert errors(way.client, out) == 1
        elif end is None or cut >= good + 2:
            assert lane.progress.end is not None, data[:cut][-100:]
            assert errors(way.client, out) == 0
        assert lane.end(CUT) == b""  # reported once, whatever follows


@each_row("way", WAYS, ids=str)
def test_the_message_of_a_failure_has_the_reason(way):
    assert b"the provider's connection broke" in run(way.open(), half(way.source), CUT)
    assert b"ended the stream early" in run(way.open(), half(way.source))
    assert b"ended the stream early" in run(way.open(), [*half(way.source), b'data: {"type": "mess'])


@each_row("blank", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@each_row("way", WAYS)
def test_the_last_event_may_lack_its_blank_line(way, blank):
    data = b"".join(events_of(way.source, SCRIPTS["text"])).replace(b"\n", blank[: len(blank) // 2])
    lane = way.open()
    out = run(lane, [data[: -len(blank)]])
    assert lane.progress.end is not None
    assert looks_whole(way.client, out)
    assert out.endswith(b"\n\n")


MALFORMED = b'data: {"choices": [{"index": 0, "del\n\n'


@each_row("script", [SCRIPTS["thinking"], SCRIPTS["calls"]])
@each_row("api", OLDER)
def test_a_malformed_event_ends_the_byte_lane_with_an_error(api, script):
    """The events before it are delivered, and none after it, because the answer may be incomplete. (After Chat's finish
    reason only the usage can follow, and the answer is whole.)"""
    pieces = events_of(api, script)
    for place in range(len(pieces)):
        lane = byte_lane(api)
        before = b"".join(map(lane.feed, pieces[:place]))
        finished = lane.progress.end is not None or b'"finish_reason": "' in before
        if not lane.progress.committed or finished:
            continue
        out = before + run(lane, [MALFORMED, *pieces[place:]])
        assert out.startswith(before)
        assert MALFORMED not in out
        assert errors(api, out) == 1
        assert not looks_whole(api, out)
        assert lane.progress.error is not None


@pytest.mark.parametrize(
    ("event", "passes"),
    [
        (b'[{"error":{"code":429,"message":"quota"}}]', False),  # langroid/langroid#988
        (b'{"choices":[{"index":0,"delta":{},"finish_reason":"error","error":{"code":429,"message":"quota"}}]}', True),
    ],
    ids=["in an array", "inside a choice, as OpenRouter's"],
)
def test_an_error_that_no_sdk_finds_is_rewritten_in_the_clients_words(event, passes):
    out = run(byte_lane("chat"), [*half("chat"), b"data: %b\n\n" % event])
    told = {"message": "quota", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    assert events_in(out)[len(half("chat")) + passes :] == [("", {"error": told})]


@each_row("api", OLDER)
def test_a_malformed_event_before_content_is_a_failure(api):
    lane = byte_lane(api)
    lane.feed(events_of(api, SCRIPTS["text"])[0] + MALFORMED)
    assert lane.progress.error is not None
    assert not lane.progress.committed


@each_row("source", OLDER)
def test_a_malformed_event_ends_a_translated_stream_with_an_error(source):
    rest = events_of(source, SCRIPTS["text"])[len(half(source)) :]
    for client in OLDER:
        if client != source:
            out = run(hub_lane(source, client), [*half(source), MALFORMED, *rest])
            assert errors(client, out) == 1
            assert not looks_whole(client, out)


UPSTREAM_ERRORS = {
    "chat": b'data: {"error":{"message":"spent %b","type":"insufficient_quota","code":null}}\n\n',
    "messages": b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"spent %b"}}\n\n',
    "responses": b'event: error\ndata: {"type":"error","error":{"code":"x","message":"spent %b"}}\n\n',
}
LAST = {
    "chat": b"data: [DONE]\n\n",
    "messages": b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    "responses": b'data: {"type":"response.completed","response":{"id":"resp_up1","status":"completed"}}\n\n',
}


@each_row(("way", "after"), [*zip(WAYS, itertools.cycle(("done", "success")), strict=False)], ids=str)
def test_events_after_an_error_do_not_make_a_success(way, after):
    """vLLM sends [DONE] after its error (BerriAI/litellm#40578)."""
    tail = LAST[way.source] if after == "success" else b"data: [DONE]\n\n"
    data = b"".join([*half(way.source), UPSTREAM_ERRORS[way.source] % b"all", tail])
    expected = None
    for parts in two_pieces(data):
        lane = way.open()
        out = without_ids(run(lane, parts))
        assert expected in (None, out)
        expected = out
        assert errors(way.client, out) == 1
        assert not looks_whole(way.client, out)
        assert b"[DONE]" not in out
        assert b"spent all" in out
    if way.lane == "byte":
        assert expected == data[: -len(tail)]


def test_openais_two_words_for_one_failure_both_pass():
    """OpenAI sends ``error`` and then ``response.failed``; Codex waits for the second."""
    failed = b'event: response.failed\ndata: {"type":"response.failed","response":{"id":"r","status":"failed"}}\n\n'
    data = b"".join([*half("responses"), UPSTREAM_ERRORS["responses"] % b"all", failed])
    for parts in two_pieces(data):
        lane = byte_lane("responses")
        assert run(lane, parts) == data
    assert "spent all" in lane.progress.error.message


FLAT = b'event: error\ndata: {"type":"error","sequence_number":9,"code":"x","message":"spent all","param":null}\n\n'
FAILED = b"""event: response.failed
data: {"type":"response.failed","sequence_number":%d,"response":{"id":"r","status":"failed","error":%b}}

"""
REASON = b'{"code":"x","message":"spent all"}'


@pytest.mark.parametrize(
    ("events", "types", "numbers"),
    [
        ([FAILED % (9, REASON)], ["error", "response.failed"], [9, 10]),
        ([FLAT], ["error"], [9]),  # the form in the types of the SDKs
        ([FLAT, FAILED % (10, REASON)], ["error", "response.failed"], [9, 10]),
        ([FAILED % (9, b"null")], ["response.failed", "error"], [9, len(half("responses")) + 1]),
        ([FAILED.replace(b'"sequence_number":%d,', b"") % REASON], ["error", "response.failed"], None),
    ],
    ids=["alone", "flat", "flat first", "no reason", "no number"],
)
def test_sdks_raise_for_every_failure_of_a_responses_provider(events, types, numbers):
    """The SDKs raise for a member ``error`` only. Without it, Haystack, AG2 and LangChain.js show the answer as
    complete (langchain-ai/langchain#39039)."""
    begin = half("responses")
    lane = byte_lane("responses")
    found = [value for _, value in events_in(run(lane, [*begin, *events]))[len(begin) :]]
    assert [value["type"] for value in found] == types
    assert numbers is None or [value["sequence_number"] for value in found] == numbers
    (error,) = [value["error"] for value in found if value["type"] == "error"]
    told = "spent all" if types[0] == "error" else "the provider ended the stream with an error"
    assert (error["message"], lane.progress.error.message) == (told, told)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    "error",
    [FLAT, b'data: {"type":"error","error":{"type":"server_error","message":"spent all"}}\n\n'],
    ids=["flat", "nested"],
)
def test_codex_gets_the_failed_response_that_the_provider_did_not_send(error, alone):
    """Codex ignores ``error``. It sends its request again after a stream without a terminal event."""
    lane, own = byte_lane("responses"), FAILED % (10, REASON)
    out = run(lane, [*half("responses"), error, *([] if alone else [own])]) + lane.trailing_bytes()
    (name, value), last = events_in(out)[-2:]
    assert (name or value["type"], last[0]) == ("error", "response.failed")
    assert last[1]["response"]["status"] == "failed"
    assert last[1]["response"]["error"]["message"] == "spent all"
    assert last[1]["sequence_number"] > value.get("sequence_number", 0)
    assert out.count(b"event: response.failed") == 1
    assert (out.endswith(own)) is not alone


def choice_event(api: str, index: int, text: str = "", end: str | None = None) -> bytes:
    if api == "chat":
        value: Any = {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": end}]}
    else:
        content = {"parts": [{"text": text}], "role": "model"}
        value = {"candidates": [{"index": index, "content": content, **({"finishReason": end.upper()} if end else {})}]}
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


@pytest.mark.parametrize("annotated", [(), (0,), (1,), (0, 1)], ids=["none", "first", "other", "both"])
@pytest.mark.parametrize("break_", [None, ErrorInfo("upstream", "it broke")], ids=["end", "cut"])
@pytest.mark.parametrize("api", ["chat", "gemini"])
def test_a_stream_that_breaks_within_another_choice_is_incomplete(api, break_, annotated):
    """Some providers annotate choices that have ended, such as Azure's content filter."""
    annotations = [choice_event(api, index) for index in annotated]
    first = [choice_event(api, 0, "a"), choice_event(api, 1, "b"), choice_event(api, 0, end="stop")]
    lane = byte_lane(api)
    out = run(lane, first, break_)
    assert b'"error"' in out
    assert (lane.progress.error is not None, lane.progress.end) == (True, None)
    lane = byte_lane(api)
    out = run(lane, [*first, choice_event(api, 1, "c"), choice_event(api, 1, end="stop"), *annotations], break_)
    assert b'"error"' not in out
    assert lane.progress.end is not None


ODD_ERRORS = {
    "flat_object": ("chat", b'data: {"object":"error","message":"out of memory","code":500}'),
    "no_event_field": ("chat", b'error: {"message":"out of memory"}'),
    "bare_json": ("chat", b'{"error":{"message":"out of memory"}}'),
    "unnamed": ("messages", b'data: {"error":{"message":"out of memory"}}'),
    "nameless_type": ("messages", b'data: {"type":"error","error":{"message":"out of memory"}}'),
    "cancelled": ("responses", b'data: {"type":"response.cancelled","response":{"id":"r","status":"cancelled"}}'),
    "no_type": ("responses", b'{"error":{"message":"out of memory"}}'),
}


@each_row(("api", "odd"), ODD_ERRORS.values())
def test_an_error_in_words_that_the_client_does_not_know_is_reported_in_its_own_too(api, odd):
    given = b"".join([*half(api), odd, b"\n\n"])
    lane = byte_lane(api)
    out = run(lane, [given])
    assert lane.progress.error is not None
    assert out.startswith(given)
    assert errors(api, out.removeprefix(given)) == 1


@each_row("api", OLDER)
def test_a_key_in_an_error_event_stays_here(api):
    lane = byte_lane(api)
    out = run(lane, [*half(api), UPSTREAM_ERRORS[api] % KEY.encode()])
    assert KEY.encode() not in out
    assert out == b"".join([*half(api), UPSTREAM_ERRORS[api] % REDACTED])
    assert KEY not in lane.progress.error.message


@each_row("way", WAYS, ids=str)
def test_pings_fall_between_events_and_end_with_the_stream(way):
    lane = way.open()
    data = b"".join(events_of(way.source, SCRIPTS["text"]))
    out = b""
    for i in range(len(data)):
        out += lane.feed(data[i : i + 1]) + lane.ping()
    ping = lane.ping()
    assert ping == b""
    events_in(out)
    assert errors(way.client, out) == 0
    mark = b'event: ping\ndata: {"type":"ping"}\n\n' if way.client == "messages" else COMMENT_PING
    assert out.count(mark) > 100
    if way.lane == "byte":
        assert out.replace(COMMENT_PING, b"").replace(mark, b"") == data


@each_row("line", [b"id: 7", b"id:7", b"retry: 100"])
@each_row("how", ["beside_data", "alone", "behind_a_comment"])
def test_there_is_no_comment_after_an_id_or_retry_line(line, how):
    """The openai SDK takes every later comment for an event with empty data."""
    first, *rest = events_of("chat", SCRIPTS["text"])[:4]
    event = {"beside_data": line + b"\n" + first, "alone": line + b"\n\n" + first, "behind_a_comment": b": hi\n" + line}
    lane = byte_lane("chat")
    lane.feed(event[how] + b"\n\n")
    for piece in rest:
        lane.feed(piece)
        assert lane.ping() == b""


def test_an_id_inside_the_json_does_no_harm():
    lane = byte_lane("chat")
    first = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"\\nid: 1 retry: 2"}}]}\n\n'
    assert lane.feed(first) == first
    assert lane.ping() == COMMENT_PING


@each_row("way", WAYS, ids=str)
def test_an_event_larger_than_the_limit_is_refused_in_any_split(way):
    data = b"".join(events_of(way.source, SCRIPTS["text"]))
    big = data + b'data: {"x": "' + b"y" * 2000 + b'"}\n\n'
    for size in (100, 999):
        lane = byte_lane(way.client, 1000) if way.lane == "byte" else hub_lane(way.source, way.client, 1000)
        parts = [big[i : i + size] for i in range(0, len(big), size)]
        with pytest.raises(EventTooLarge):
            run(lane, parts)


@each_row("client", OLDER)
@each_row("source", OLDER)
def test_a_whole_answer_becomes_a_stream(source, client):
    (body,) = render(SCRIPTS["text"], source, {"model": "up"}).pieces
    lane = whole_lane(source, client)
    assert b"".join(map(lane.feed, single_bytes(body))) == b""
    out = lane.end()
    assert looks_whole(client, out)
    assert b"three" in out
    assert lane.progress.usage is not None
    for cut in range(len(body)):
        lane = whole_lane(source, client)
        out = run(lane, [body[:cut]], CUT if cut % 9 == 0 else None)
        assert errors(client, out) == 1
        assert not looks_whole(client, out)


def test_an_answer_that_is_held_until_its_end_is_cut_at_the_limit():
    """A Responses stream repeats the whole answer in its last event."""
    writer = CODECS["responses"].writer(reply_for("responses"))
    lane = Translation(CODECS["chat"], writer, CODECS["chat"].wire, masked_error, 2**20, max_characters=100)
    piece = b'data: {"choices":[{"index":0,"delta":{"content":"0123456789"}}]}\n\n'
    out = b"".join(lane.feed(piece) for _ in range(50))
    assert "limits.answer" in lane.progress.error.message
    assert out.count(b"response.output_text.delta\n") == 11
    assert out.rstrip().rpartition(b"event: ")[2].startswith(b"response.failed")


def test_a_whole_answer_above_the_limit_is_refused_once():
    lane = whole_lane("chat", "messages", 1000)
    out = b"".join(lane.feed(b"x" * 300) for _ in range(9))
    assert errors("messages", out + lane.end()) == 1
    assert "1000 bytes" in str(lane.progress.error)


def test_the_usage_that_came_before_a_failure_is_kept():
    for lane in (byte_lane("messages"), hub_lane("messages", "chat")):
        run(lane, half("messages"), CUT)
        assert lane.progress.error == CUT
        assert lane.progress.usage.prompt == 11


def test_numbers_of_the_last_responses_event_continue():
    out = run(byte_lane("responses"), half("responses"), CUT)
    numbers = [value["sequence_number"] for _, value in events_in(out)]
    assert all(b - a == 1 for a, b in pairwise(numbers))
