"""Lists of texts that become one text, for Chat servers that reject lists."""

import json

from providers.errors.other_shapes import OTHER_SHAPES
from tests.support.each_row import each_row


def text(words: str, **marks: object) -> dict:
    return {"type": "text", "text": words, **marks}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@each_row(
    ("message", "content"),
    [
        ({"role": "system", "content": [text("a"), text("b")]}, "a\n\nb"),
        ({"role": "user", "content": [text("a", cache_control={"type": "ephemeral"})]}, "a"),
        ({"role": "assistant", "content": [text("a"), text("b")]}, "ab"),
        ({"role": "tool", "content": [text("a"), text("b")]}, "a\nb"),
        ({"content": [text("a"), text("b")]}, "a\n\nb"),
    ],
)
def test_lists_become_one_text(message, content):
    body = {"messages": [{"role": "user", "content": "hi"}, message]}
    before = json.dumps(body)
    assert OTHER_SHAPES[(":texts",)].change(body) == {
        "messages": [body["messages"][0], {**message, "content": content}]
    }
    assert json.dumps(body) == before


@each_row(
    "body",
    [
        {"messages": [{"role": "user", "content": [text("a"), IMAGE]}]},
        {"messages": [{"role": "user", "content": []}, {"role": "user"}, {"role": "user", "content": "a"}, None, 7]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 7}, "a"]}]},
        {"messages": "a"},
        {"input": [{"role": "user", "content": [text("a")]}]},
        {},
    ],
)
def test_other_contents_stay(body):
    assert OTHER_SHAPES[(":texts",)].change(body) == {}
