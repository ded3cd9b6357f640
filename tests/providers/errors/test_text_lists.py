"""Chat servers that reject messages whose texts are a list.

The messages of DeepSeek, Groq and Fireworks are in QwenLM/qwen-code#2320, microsoft/PyRIT#704 and
mozilla-ai/any-llm#1228.
"""

import json

from providers.errors.failures import read_failure
from providers.errors.other_shapes import TEXT_LISTS
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.errors.text_lists import join_text_lists
from tests.support.each_row import each_row

DEEPSEEK = (
    "Failed to deserialize the JSON body into the target type: messages[7]: invalid type: sequence, expected a string "
    "at line 1 column 22979"
)
GROQ = (
    "'messages.0' : for 'role:system' the following must be satisfied[('messages.0.content' : value must be a string)]"
)
FIREWORKS = (
    "2 request validation errors: Input should be a valid string, field: 'messages[0].content.str', value: [{'type': "
    "'text', 'text': 'You are an AI assistant'}]"
)
VLLM = (
    "[{'type': 'string_type', 'loc': ('body', 'messages', 2, 'ChatCompletionMessageGenericParam', 'content', 'str'), "
    "'msg': 'Input should be a valid string', 'input': []}]"
)


def text(words: str, **marks: object) -> dict:
    return {"type": "text", "text": words, **marks}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def read_error(message: str):
    return read_failure(400, json.dumps({"error": {"code": 400, "message": message}}).encode())


@each_row(
    ("message", "is_alone"),
    [
        (DEEPSEEK, True),
        (DEEPSEEK.replace("[7]", "[7].content"), True),
        (GROQ, True),
        ("messages.0.system.content.str: Input should be a valid string", True),
        (FIREWORKS, False),  # it quotes the client
        (VLLM, False),
    ],
)
def test_the_words_of_servers_are_known(message, is_alone):
    error = read_error(message)
    assert find_rejected(error) == (TEXT_LISTS,)
    assert find_sole_rejected(error) == ((TEXT_LISTS,) if is_alone else ())


@each_row(
    "message",
    [
        "Failed to deserialize the JSON body into the target type: stop: invalid type: sequence, expected a string",
        "tools.0.function.name: Input should be a valid string",
        "'messages.2' : for 'role:user' the following must be satisfied[('messages.2' : property 'id' is unsupported)]",
    ],
)
def test_other_members_that_must_be_a_text_are_not_confused(message):
    assert TEXT_LISTS not in find_rejected(read_error(message))


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
    assert join_text_lists(body) == {"messages": [body["messages"][0], {**message, "content": content}]}
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
    assert join_text_lists(body) == {}
