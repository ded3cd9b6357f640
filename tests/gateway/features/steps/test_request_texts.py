"""The passages of requests, and requests with spans of them replaced."""

import base64
import hashlib
import json
import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.features.steps.json_texts import KeyMasked, NotJson
from gateway.features.steps.request_texts import RequestTexts
from providers.responses.compaction import compaction_item, summary
from providers.responses.tools import own_id
from tests.support.each_row import each_row
from trigate.steps import Passage


def texts_of(api: str, body: Any) -> RequestTexts:
    return RequestTexts.of(api, body if isinstance(body, bytes) else json.dumps(body).encode())


def rows(api: str, body: Any) -> list[tuple[str, str, str, str | None]]:
    return [(one.part, one.path, one.text, one.tool) for one in texts_of(api, body).passages]


def mask_secret(api: str, body: Any, secret: str, mask: str = "[M]") -> Any:
    """Return the request with each occurrence of ``secret`` masked."""
    texts = texts_of(api, body)
    found = texts.replace([(one, *span, mask) for one in texts.passages for span in spans(one, secret)])
    return json.loads(found)


def spans(passage: Passage, secret: str) -> list[tuple[int, int]]:
    found, at = [], passage.text.find(secret)
    while at >= 0:
        found.append((at, at + len(secret)))
        at = passage.text.find(secret, at + len(secret))
    return found


CALL = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": '{"path": "/caf\\u00e9"}'}}

CASES: Final[dict[str, tuple[dict[str, Any], list[tuple[str, str, str, str | None]]]]] = {
    "chat": (
        {
            "model": "gpt-5",
            "messages": [
                {"role": "system", "content": "one"},
                {"role": "developer", "content": [{"type": "text", "text": "two"}]},
                {"role": "user", "content": "three", "name": "Bob"},
                {"role": "assistant", "reasoning_content": "four", "content": "five", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "six"},
                {"role": "assistant", "refusal": "seven"},
            ],
            "stop": ["eight"],
            "vendor": "nine",
        },
        [
            ("system", "messages[0].content", "one", None),
            ("system", "messages[1].content[0].text", "two", None),
            ("user", "messages[2].content", "three", None),
            ("user", "messages[2].name", "Bob", None),
            ("reasoning", "messages[3].reasoning_content", "four", None),
            ("assistant", "messages[3].content", "five", None),
            ("tool_calls", "messages[3].tool_calls[0].function.arguments", '{"path": "/café"}', "read"),
            ("tool_results", "messages[4].content", "six", "read"),
            ("assistant", "messages[5].refusal", "seven", None),
            ("other", "stop[0]", "eight", None),
            ("other", "vendor", "vendor", None),
            ("other", "vendor", "nine", None),
        ],
    ),
    "messages": (
        {
            "model": "claude",
            "system": [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": "two"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "three", "signature": "c2ln"},
                        {"type": "redacted_thinking", "data": "c2ln"},
                        {"type": "text", "text": "four"},
                        {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "/café", "n": 5}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "five"}]},
            ],
            "metadata": {"user_id": "six"},
            "tools": [{"name": "read", "input_schema": {"type": "object"}}],
        },
        [
            ("system", "system[0].text", "one", None),
            ("user", "messages[0].content", "two", None),
            ("reasoning", "messages[1].content[0].thinking", "three", None),
            ("assistant", "messages[1].content[2].text", "four", None),
            ("tool_calls", "messages[1].content[3].input", '{"path": "/café", "n": 5}', "read"),
            ("tool_results", "messages[2].content[0].content", "five", "read"),
            ("other", "metadata.user_id", "six", None),
            ("tools", "tools[0]", '{"name": "read", "input_schema": {"type": "object"}}', "read"),
        ],
    ),
    "responses": (
        {
            "model": "gpt-5",
            "instructions": "one",
            "input": [
                {"role": "user", "content": "two"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "three"}]},
                {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "four"}]},
                {"type": "function_call", "call_id": "c1", "name": "read", "arguments": '{"path": "/caf\\u00e9"}'},
                {"type": "function_call_output", "call_id": "c1", "output": "five"},
                {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "six"},
                {"type": "future_item", "thing": {"text": "seven"}},
            ],
        },
        [
            ("system", "instructions", "one", None),
            ("user", "input[0].content", "two", None),
            ("user", "input[1].content[0].text", "three", None),
            ("reasoning", "input[2].summary[0].text", "four", None),
            ("tool_calls", "input[3].arguments", '{"path": "/café"}', "read"),
            ("tool_results", "input[4].output", "five", "read"),
            ("tool_calls", "input[5].input", "six", "patch"),
            ("other", "input[6].thing", "thing", None),
            ("other", "input[6].thing", '{"text": "seven"}', None),
        ],
    ),
    "gemini": (
        {
            "system_instruction": {"parts": [{"text": "one"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "two"}]},
                {
                    "role": "model",
                    "parts": [
                        {"text": "three", "thought": True},
                        {"text": "four"},
                        {"functionCall": {"name": "read", "args": {"path": "/café"}}},
                    ],
                },
                {"role": "user", "parts": [{"functionResponse": {"name": "read", "response": {"output": "five"}}}]},
            ],
            "generationConfig": {"stopSequences": ["six"], "temperature": 1},
        },
        [
            ("system", "system_instruction.parts[0].text", "one", None),
            ("user", "contents[0].parts[0].text", "two", None),
            ("reasoning", "contents[1].parts[0].text", "three", None),
            ("assistant", "contents[1].parts[1].text", "four", None),
            ("tool_calls", "contents[1].parts[2].functionCall.args", '{"path": "/café"}', "read"),
            ("tool_results", "contents[2].parts[0].functionResponse.response", '{"output": "five"}', "read"),
            ("other", "generationConfig.stopSequences[0]", "six", None),
        ],
    ),
    "converse": (
        {
            "system": [{"text": "one"}],
            "messages": [
                {"role": "user", "content": [{"text": "two"}, {"cachePoint": {"type": "default"}}]},
                {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "three", "signature": "c2ln"}}},
                        {"text": "four"},
                        {"toolUse": {"toolUseId": "t1", "name": "read", "input": {"path": "/café"}}},
                    ],
                },
                {
                    "role": "user",
                    "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "five"}, {"json": {"k": 6}}]}}],
                },
            ],
        },
        [
            ("system", "system[0].text", "one", None),
            ("user", "messages[0].content[0].text", "two", None),
            ("reasoning", "messages[1].content[0].reasoningContent.reasoningText.text", "three", None),
            ("assistant", "messages[1].content[1].text", "four", None),
            ("tool_calls", "messages[1].content[2].toolUse.input", '{"path": "/café"}', "read"),
            ("tool_results", "messages[2].content[0].toolResult.content[0].text", "five", "read"),
            ("tool_results", "messages[2].content[0].toolResult.content[1].json", '{"k": 6}', "read"),
        ],
    ),
    "embeddings": (
        {"model": "m", "input": ["one", "two"], "user": "three"},
        [
            ("input", "input[0]", "one", None),
            ("input", "input[1]", "two", None),
            ("other", "user", "three", None),
        ],
    ),
}


@each_row("api", CASES)
def test_each_text_is_a_passage_with_its_part_and_path(api: str) -> None:
    body, expected = CASES[api]
    assert rows(api, body) == expected


@given(api=st.sampled_from(list(CASES)), data=st.data())
def test_other_bytes_stay(api: str, data: st.DataObject) -> None:
    """A mask of a whole string leaves the bytes before and after it unchanged."""
    written = json.dumps(CASES[api][0], indent=data.draw(st.sampled_from((None, 1)))).encode()
    texts = texts_of(api, written)
    assert texts.replace([]) == written
    plain = [one for one in texts.passages if one.text.isalpha() and one.path != one.text and one.part != "reasoning"]
    passage = data.draw(st.sampled_from([one for one in plain if one.text != one.path.rpartition(".")[2]]))
    mask = data.draw(st.text())

    found = texts.replace([(passage, 0, len(passage.text), mask)])

    before, _, after = written.partition(b'"' + passage.text.encode() + b'"')
    assert found == before + json.dumps(mask).encode() + after


def test_adjacent_texts_are_one_passage() -> None:
    """A secret in two parts (agentgateway/agentgateway#2755)."""
    parts = [{"type": "text", "text": "my key is sk-ab"}, {"type": "text", "text": "cd, bye"}]
    body = {"messages": [{"role": "user", "content": parts}]}

    assert rows("chat", body) == [("user", "messages[0].content[0].text", "my key is sk-abcd, bye", None)]
    content = mask_secret("chat", body, "sk-abcd")["messages"][0]["content"]
    assert [one["text"] for one in content] == ["my key is [M]", ", bye"]


def test_a_part_that_is_all_secret_does_not_become_empty() -> None:
    """Anthropic rejects empty text blocks."""
    parts = [{"type": "text", "text": "sk-ab"}, {"type": "text", "text": "cd"}]
    content = mask_secret("messages", {"messages": [{"role": "user", "content": parts}]}, "sk-abcd")["messages"][0][
        "content"
    ]

    assert [one["text"] for one in content] == ["[M]", "[M]"]


def test_texts_around_a_picture_are_two_passages() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    parts = [{"type": "text", "text": "one"}, picture, {"type": "text", "text": "two"}]

    assert [row[2] for row in rows("chat", {"messages": [{"role": "user", "content": parts}]})] == [
        "one", "https://example.com/a.png", "two",
    ]  # fmt: skip


@each_row(
    "message",
    [
        {"role": "user", "content": "secret", "role ": "x"},
        b'{"messages": [{"role": "user", "content": "a", "content": "secret"}]}',
        b'{"messages": [{"role": "user", "c\\u006fntent": "s\\u0065cret"}]}',
        b'{"messages": [{"role": "user", "content": "a"}], "messages": [{"content": "secret"}]}',
        b'{"messages": [{"role": "user", "content": {"secret": 1}}]}',
        b'{"messages": [{"role": "user", "content": [["secret"]]}]}',
        b'{"messages": {"role": "user", "content": "secret"}}',
        b'{"messages": ["secret"]}',
        b'{"model": ["secret"]}',
    ],
)
def test_no_spelling_hides_a_text(message: Any) -> None:
    body = message if isinstance(message, bytes) else {"messages": [message]}

    assert "secret" in " ".join(row[2] for row in rows("chat", body))


@pytest.mark.parametrize("gone", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_any_of_several_blocks_may_be_removed(gone: tuple[int, ...]) -> None:
    content = [
        {"type": "thinking", "thinking": "secret" if i in gone else "fine", "signature": "c2ln", "n": i}
        for i in range(3)
    ]  # fmt: skip
    found = mask_secret("messages", {"messages": [{"role": "assistant", "content": content}]}, "secret")

    assert found["messages"][0]["content"] == [one for i, one in enumerate(content) if i not in gone]


def test_masked_reasoning_of_chat_is_removed_with_its_seal() -> None:
    message = {
        "role": "assistant", "content": "hi", "reasoning_content": "secret",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "c2Vj"}],
    }  # fmt: skip

    body = {"messages": [message]}

    assert mask_secret("chat", body, "secret")["messages"] == [{"role": "assistant", "content": "hi"}]
    del message["reasoning_details"]
    assert mask_secret("chat", body, "secret")["messages"][0]["reasoning_content"] == "[M]"


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("messages", {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "pay",
            "input": {"card": 4111111111111111}}]}]}),
        ("responses", {"input": [{"type": "function_call", "call_id": "1", "name": "pay",
            "arguments": '{"card": 4111111111111111}'}]}),
    ],
)  # fmt: skip
def test_a_masked_number_becomes_a_string(api: str, body: Any) -> None:
    found = mask_secret(api, body, "4111111111111111")

    assert rows(api, found)[0][2:] == ('{"card": "[M]"}', "pay")


@each_row("rest", ("NaN", "1e999", "1, ]", "1} {"))
def test_arguments_that_only_some_programs_read_have_no_hidden_text(rest: str) -> None:
    call = {"id": "1", "function": {"name": "pay", "arguments": rf'{{"note": "a s\u0065cret", "n": {rest}}}'}}
    body = {"messages": [{"role": "assistant", "tool_calls": [call]}]}
    (masked,) = mask_secret("chat", body, "secret")["messages"][0]["tool_calls"]
    assert masked["function"]["arguments"] == f'{{"note": "a [M]", "n": {rest}}}'


def test_a_number_of_an_unknown_member_is_text() -> None:
    assert mask_secret("chat", {"messages": [], "note": 4111111111111111}, "4111111111111111")["note"] == "[M]"


def test_a_mask_in_the_name_of_an_argument_is_an_error() -> None:
    texts = texts_of("chat", {"messages": [{"role": "assistant", "tool_calls": [CALL]}]})

    with pytest.raises(KeyMasked):
        texts.replace([(texts.passages[0], 2, 6, "[M]")])


def test_a_call_without_arguments_is_a_passage() -> None:
    body = {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "now"}}]}]}

    assert rows("chat", body) == [("tool_calls", "messages[0].tool_calls[0]", "", "now")]


@each_row("more", [{}, {"vendor": 1}, {"vendor": "x"}])
@each_row("url", ["https://a.test/x.png", "data:image/png;base64,iVBORw0KGgo="])
def test_the_name_of_a_result_without_text_is_in_a_passage(url: str, more: dict[str, Any]) -> None:
    output = [{"type": "input_image", "image_url": url}]
    item = {"type": "function_call_output", "call_id": "c", "name": "look", "output": output, **more}
    found = texts_of("responses", {"model": "m", "input": [item]}).passages
    assert [one.part for one in found if one.tool == "look" and one.part != "media"] == ["tool_results"]


def test_media_have_type_size_and_digest() -> None:
    data = b"\x89PNG....."
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}

    [passage] = texts_of("chat", body).passages

    assert (passage.part, passage.media_type, passage.size, passage.data) == ("media", "image/png", len(data), data)
    assert passage.sha256 == hashlib.sha256(data).hexdigest()
    assert RequestTexts.of("chat", json.dumps(body).encode(), ("user", "other")).passages == ()


def test_a_text_file_is_text() -> None:
    data = base64.b64encode("my secret é".encode()).decode()
    part = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64," + data}
    body = {"input": [{"role": "user", "content": [part]}]}

    assert [row[:3] for row in rows("responses", body)][1] == (
        "user", "input[0].content[0].file_data", "my secret é",
    )  # fmt: skip
    found = mask_secret("responses", body, "secret")["input"][0]["content"][0]["file_data"]
    assert base64.b64decode(found.removeprefix("data:text/plain;base64,")).decode() == "my [M] é"


SECRET_FILE = "my secret für dich"


def files_in(data: str, kind: str) -> dict[str, Any]:
    """Return a request with a file for each API, as base64 or a data URL."""
    url = f"data:{kind};base64,{data}"
    document = {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}
    return {
        "chat": {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": url}}]}]},
        "messages": {"messages": [{"role": "user", "content": [document]}]},
        "responses": {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": url}]}]},
        "gemini": {"contents": [{"role": "user", "parts": [{"inline_data": {"mime_type": kind, "data": data}}]}]},
        "converse": {"messages": [{"role": "user", "content": [
            {"document": {"format": "docx", "name": "", "source": {"bytes": data}}}
        ]}]},
        "interactions": {"input": [{"type": "document", "data": data, "mime_type": kind}]},
    }  # fmt: skip


@each_row(
    "kind",
    [
        "text/plain", " Text/Plain", "application/octet-stream", "application/x-yaml", "message/rfc822", "x", "",
        "image/svg+xml",
    ],
)  # fmt: skip
@each_row("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_is_text_whatever_its_type(kind: str, encoding: str) -> None:
    data = base64.b64encode(SECRET_FILE.encode(encoding)).decode()
    for api, body in files_in(data, kind).items():
        assert SECRET_FILE in [row[2].strip("\ufeff") for row in rows(api, body) if row[0] == "user"], api
        new = base64.b64encode(SECRET_FILE.replace("secret", "[M]").encode(encoding)).decode()
        assert mask_secret(api, body, "secret") == files_in(new, kind)[api]


@each_row(
    ("written", "text"),
    [
        ("data:text/plain,my%20secret%21", "my secret!"),
        ("data:,my secret", "my secret"),
        ("data:text/plain;charset=utf-8; Base64 ,bXkgc2VjcmV0", "my secret"),
        ("bXkgc2Vj\r\ncmV0IQ", "my secret!"),
        ("bXkgc2VjcmV0IQ===", "my secret!"),
        ("bXkgc2VjcmV0Pz8_", "my secret???"),
    ],
)
def test_the_text_of_a_file_is_found_in_each_spelling(written: str, text: str) -> None:
    body = with_file_data(written)
    assert text in [row[2] for row in rows("chat", body)]
    assert "secret" not in [row[2] for row in rows("chat", mask_secret("chat", body, "secret"))]


def with_file_data(written: str) -> dict[str, Any]:
    body: dict[str, Any] = files_in("", "")["chat"]
    body["messages"][0]["content"][0]["file"]["file_data"] = written
    return body


@each_row(
    "written",
    [
        "data:text/plain;base64,bXkgc2%56jcmV0", "bXkgc2Vj!cmV0", "bXkgc2VjcmV0IQ==A", "bXkgc2VjcmV0IQ==bXk=",
        "bXkgc2VjcmV0IQA", "bXkgc2VjcmV0I", "a plain secret.", " data:text/plain;base64,bXkgc2Vj cmV0",
    ],
)  # fmt: skip
def test_a_file_that_providers_read_in_different_ways_is_unreadable(written: str) -> None:
    """Some decoders skip other characters, and some stop at them."""
    assert list(texts_of("chat", with_file_data(written)).unreadable.values()) == ["user"]


@each_row(
    "data",
    [
        *map(SECRET_FILE.encode, ("latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32")),
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\0",
        b"PK\3\4\x14\0\x9c\0word",
        b"\x1f\x8b\x08\0" * 9,
        b"\xff\xfemy secret",
        b"a\xff\0b",
    ],
)
@each_row(
    "kind",
    ["text/plain", "text/csv; charset=utf-16", "image/svg+xml", "application/pdf", "application/octet-stream", ""],
)
def test_a_file_that_is_no_text_or_in_another_encoding_is_unreadable(data: bytes, kind: str) -> None:
    for api, body in files_in(base64.b64encode(data).decode(), kind).items():
        assert list(texts_of(api, body).unreadable.values()) == ["user"], api


def test_pictures_and_recordings_are_readable() -> None:
    for kind, data in (
        ("image/png", b"\x89PNG\r\n\x1a\n\0"),
        ("audio/wav", b"RIFF\0\0\0\0WAVE"),
        ("x", b"\x89PNG\x1a"),
    ):
        for api, body in files_in(base64.b64encode(data).decode(), kind).items():
            assert api == "converse" or not texts_of(api, body).unreadable


def test_the_latest_passages_follow_the_last_answer() -> None:
    texts = texts_of("messages", CASES["messages"][0])

    assert [one.text for one in texts.passages if texts.is_latest(one)] == ["five"]


@each_row(
    ("api", "body", "path"),
    [
        ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
        ("responses", {"input": [{"id": "msg_1"}]}, "input[0].id"),
        ("gemini", {"cachedContent": "cachedContents/1", "contents": []}, "cachedContent"),
    ],
)
def test_turns_that_only_a_provider_has_are_unreadable(api: str, body: Any, path: str) -> None:
    assert list(texts_of(api, body).unreadable) == [path]


def test_references_to_the_items_of_the_gateway_are_readable() -> None:
    """The gateway resolves or drops such references, and never sends them."""
    body = {"input": [{"type": "item_reference", "id": own_id("msg_")}, {"role": "user", "content": "hi", "id": "m"}]}

    assert not texts_of("responses", body).unreadable


@each_row("body", ['{"messages": [', '{"a": 1}}', '{"a": 1} {"b": 2}', '{"a": 1, "a": 2}]', ""])
def test_a_body_of_no_or_several_json_values_is_an_error(body: str) -> None:
    with pytest.raises(NotJson):
        texts_of("chat", body.encode())


def test_every_member_of_an_api_without_a_table_is_text() -> None:
    assert rows("toy", {"words": "one", "turns": [{"say": "two"}], "n": 5}) == [
        ("other", "words", "words", None),
        ("other", "words", "one", None),
        ("other", "turns", "turns", None),
        ("other", "turns", '[{"say": "two"}]', None),
        ("other", "n", "n", None),
        ("other", "n", "5", None),
    ]


SIGNED: Final[dict[str, tuple[str, str, dict[str, Any], dict[str, Any], dict[str, Any]]]] = {
    "messages": (
        "messages", "content", {"type": "thinking", "thinking": "secret"}, {"signature": "c2ln"},
        {"type": "text", "text": "fine"},
    ),
    "gemini": (
        "contents", "parts", {"text": "secret", "thought": True}, {"thoughtSignature": "c2ln"}, {"text": "fine"}
    ),
    "converse": ("messages", "content", {"text": "secret"}, {"signature": "c2ln"}, {"text": "fine"}),
    "responses": (
        "input", "", {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}]},
        {"encrypted_content": "c2Vj"}, {"role": "user", "content": "fine"},
    ),
    "interactions": (
        "input", "", {"type": "thought", "summary": [{"type": "text", "text": "secret"}]}, {"signature": "c2ln"},
        {"role": "user", "content": "fine"},
    ),
}  # fmt: skip
"""By API the members of turns and parts, reasoning, its seal, and what follows it."""


@each_row("api", ["messages", "converse"])
def test_each_text_of_a_search_result_is_in_a_passage(api: str) -> None:
    found = {"title": "one", "source": "two", "content": [{"text": "three"}, {"text": "four"}]}
    block = {"searchResult": found} if api == "converse" else {"type": "search_result", **found}
    texts = [text for _, _, text, _ in rows(api, {"messages": [{"role": "user", "content": [block]}]})]
    assert sorted("".join(texts)) == sorted("onetwothreefour")  # neighbouring texts are one passage


@each_row("is_signed", [False, True])
@each_row("api", SIGNED)
def test_only_reasoning_with_a_signature_is_removed(api: str, is_signed: bool) -> None:
    turns, parts, block, seal, fine = SIGNED[api]
    block = {**block, **(seal if is_signed else {})}
    listed = [{"reasoningContent": {"reasoningText": block}} if api == "converse" else block, fine]
    body = {turns: [{"role": "model" if api == "gemini" else "assistant", parts: listed}] if parts else listed}

    found = mask_secret(api, body, "secret")[turns]

    left = found[0][parts] if parts else found
    assert left[-1] == fine
    assert len(left) == (1 if is_signed else 2)
    assert "secret" not in json.dumps(found)


def test_the_summary_of_an_own_compaction_is_text() -> None:
    """The provider receives it as a message."""
    item = compaction_item("the secret")

    assert rows("responses", {"input": [item]}) == [("assistant", "input[0].encrypted_content", "the secret", None)]
    [found] = mask_secret("responses", {"input": [item]}, "secret")["input"]
    assert (summary(found) or "").endswith("the [M]")


def test_a_request_of_4_mb_takes_seconds_at_most() -> None:
    """5,000 turns, with a mask in each, and one text of 3 MB: quadratic work would take minutes."""
    turns = [{"role": "user", "content": f"my secret {i} \u00e9 {'x' * 150}"} for i in range(5_000)]
    body = {"messages": [*turns, {"role": "user", "content": "\n" * 1_500_000}]}
    started = time.process_time()

    found = mask_secret("chat", body, "secret")

    assert time.process_time() - started < 15
    assert found["messages"][-1] == body["messages"][-1]
    assert found["messages"][7]["content"].startswith("my [M] 7")


def test_one_object_may_be_in_place_of_a_list() -> None:
    body = {"contents": {"role": "user", "parts": {"text": "hi"}}, "tools": {"functionDeclarations": {"name": "read"}}}

    assert rows("gemini", body) == [
        ("user", "contents.parts.text", "hi", None),
        ("tools", "tools.functionDeclarations", '{"name": "read"}', "read"),
    ]


@each_row("types", ['"type": "base64", "type": "text"', '"type": "unknown"', '"data": "x"', '"type": 5'])
def test_a_source_of_unclear_type_is_text(types: str) -> None:
    """Base64 is no text, so its type must be clear."""
    source = '{TYPES, "media_type": "text/plain", "data": "secret"}'.replace("TYPES", types)
    block = '{"type": "document", "source": SOURCE}'.replace("SOURCE", source)
    body = '{"messages": [{"role": "user", "content": [BLOCK]}]}'.replace("BLOCK", block)

    assert "secret" in [row[2] for row in rows("messages", body.encode())]


def test_data_that_is_no_base64_is_text_whatever_parts_are_wanted() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "my secret!"}
    body = {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}

    assert [one.text for one in RequestTexts.of("messages", json.dumps(body).encode(), ("other",)).passages] == [
        "my secret!"
    ]


@pytest.mark.parametrize("api", CASES)
@given(data=st.data())
def test_any_edits_give_the_edited_texts(api: str, data: st.DataObject) -> None:
    """Random spans of several plain texts, with replacements that JSON has to escape."""
    written = json.dumps(CASES[api][0], ensure_ascii=data.draw(st.booleans())).encode()
    texts = texts_of(api, written)
    plain = [one for one in texts.passages if one.part not in ("reasoning", "tool_calls", "tool_results", "tools")]
    edits, wanted = [], {}
    for passage in plain:
        if passage.path.rpartition(".")[2] == passage.text or passage.text[0] == "{" or not data.draw(st.booleans()):
            continue
        start = data.draw(st.integers(0, len(passage.text) - 1))
        end = data.draw(st.integers(start + 1, len(passage.text)))
        new = data.draw(st.text('a"\\\né😀 ', min_size=1))
        edits.append((passage, start, end, new))
        wanted[passage.path, passage.text] = passage.text[:start] + new + passage.text[end:]

    found = texts_of(api, json.loads(texts.replace(edits)))

    expected_texts = [wanted.get((one.path, one.text), one.text) for one in texts.passages]
    assert [one.text for one in found.passages] == expected_texts


def test_deep_nesting_is_one_text() -> None:
    nested = b'{"model": "m", "x": ' + b"[" * 50_000 + b'"secret"' + b"]" * 50_000 + b"}"

    assert "secret" in texts_of("chat", nested).passages[-1].text
