"""The texts of a request are the same whether the decoder reads it by one call, value by value, or not at all."""

import json
from typing import Final

import pytest

from gateway.steps import json_trees
from gateway.steps.json_trees import LONGEST_DECODED, JsonDocument
from gateway.steps.request_texts import RequestTexts

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
        monkeypatch.setattr(json_trees, "LONGEST_DECODED", longest)
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
    assert type(root) is json_trees.Undecoded
    ((name, messages),) = document.members(root)
    first, last = document.items(messages)
    assert (name, type(first), dict(last)) == ("messages", json_trees.Undecoded, {"role": "user", "content": "end"})
    assert document.text(document.members(first)[1][1]) == LONG
    start, end = document.span((0, 1, 1))
    assert body[start:end] == b'"end"'
