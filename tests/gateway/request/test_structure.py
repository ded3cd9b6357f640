"""The structure of a request's body, bounded before it is decoded (CWE-409, CWE-770)."""

import gzip
import json

import pytest

from gateway.request.structure import COUNTED, RARE, UNFOLDED, Bounds, check_structure, check_text
from streams.errors import GatewayError

TURN = b'{"role":"user","content":"a"},'
TURNS = b'{"model":"m","messages":[' + TURN * 30_000 + TURN[:-1] + b"]}"  # of three elements each
SESSION = json.dumps(
    {"messages": [{"role": "user", "content": [{"type": "text", "text": 'f({"a": [1, 2], "b": {}}),\n' * 30}]}] * 6000}
).encode()


@pytest.mark.parametrize(
    "body", [TURNS, b'{"x":[' + b"[]," * 60_000 + b"[]]}", b"{" + b'"a":0,' * 90_000 + b'"b":0}'], ids=len
)
def test_more_elements_than_the_limit_are_refused(body):
    with pytest.raises(GatewayError, match=r"50000 JSON elements .* limits\.elements") as refused:
        check_structure(body, len(body), 50_000)
    assert refused.value.info.status == 413
    check_structure(body, len(body), 200_000)


def test_json_within_strings_does_not_count():
    assert len(SESSION) > 4 * 2**20
    check_structure(SESSION, len(SESSION), 50_000)


def test_a_compressed_body_has_no_more_elements_than_bytes():
    with pytest.raises(GatewayError, match="send it uncompressed"):
        check_structure(TURNS, 2000, 200_000)
    check_structure(TURNS, 100_000, 200_000)
    few = TURNS[: 30 * (UNFOLDED // 3 - 10)]
    assert len(few) > COUNTED
    check_structure(few, 300, 200_000)


TOOL = {
    "name": "read_file", "description": "Reads a file.", "input_schema": {
        "type": "object", "required": ["p0"],
        "properties": {f"p{i}": {"type": "string", "enum": ["a", "b", "c"], "description": "it"} for i in range(12)},
    },
}  # fmt: skip
CALL = {"role": "assistant", "content": [
    {"type": "text", "text": "ok"},
    {"type": "tool_use", "id": "toolu_1", "name": "read_file", "input": {"path": "/a", "offset": 0, "limit": 10}},
]}  # fmt: skip
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}]}


@pytest.mark.parametrize(
    "body", [{"tools": [TOOL] * 300}, {"tools": [TOOL] * 25, "messages": [CALL, RESULT] * 2000}], ids=["tools", "turns"]
)
def test_an_agents_request_may_be_repetitive_and_compressed(body):
    text = json.dumps({"model": "m", **body}).encode()
    wire = len(gzip.compress(text))
    assert len(text) > 20 * wire
    check_structure(text, wire, 200_000)


@pytest.mark.parametrize("text", [b" " * 8, b"\\n" * 4, "é".encode() * 4, b"\\\\" * 4], ids=str)
def test_slowly_decoded_bytes_are_limited(text):
    body = b'{"messages":"' + text * (RARE // 8) + b'  "}'
    with pytest.raises(GatewayError, match=str(RARE)):
        check_structure(body, len(body), 200_000)


def test_files_in_base64_may_be_as_large_as_a_body():
    body = b'{"messages":[{"role":"user","content":[{"data":"' + b"iVBORw0KGgo" * 4 * 2**20 + b'"}]}]}'
    check_structure(body, len(body), 100)


def test_text_is_checked_across_pieces():
    text = "aé😀€".encode() * 40_000
    for cut in range(6):
        check_text(text[:0] + b"x" * cut + text)
    for cut in (1, 131_071, 131_072, 131_073, 300_000):
        with pytest.raises(GatewayError) as refused:
            check_text(b"x" * cut + b"\x80" + text)
        assert refused.value.info.message == f"the request body is not UTF-8 (byte {cut}): send it as UTF-8"


def test_a_conversation_has_the_same_limits_as_a_body():
    bounds = Bounds(2 * 2**20, 50_000)
    turn = b'{"input":[' + TURN * 5_000 + b"{}]}"
    assert bounds.check_turns([turn] * 3) == [turn] * 3
    with pytest.raises(GatewayError, match=r"elements \(limits\.elements"):
        bounds.check_turns([turn] * 4)
    with pytest.raises(GatewayError, match=r"bytes \(limits\.request_body"):
        bounds.check_turns([b"x" * 2**20] * 3)
