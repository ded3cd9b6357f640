"""The texts of batch files and of their results."""

import json
from typing import Any

from gateway.features.steps.batch_lines import line_texts, refused_line, result_texts
from gateway.features.steps.request_texts import RequestTexts
from streams.errors import GatewayError
from tests.support.each_row import each_row

LINES: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "chat": (
        {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "m", "messages": [{"role": "user", "content": "a secret"}]}},
        [("user", "body.messages[0].content", "a secret")],
    ),
    "responses": (
        {"custom_id": "1", "url": "/v1/responses", "body": {"instructions": "a secret", "input": "b"}},
        [("system", "body.instructions", "a secret"), ("user", "body.input", "b")],
    ),
    "embeddings": (
        {"custom_id": "1", "url": "/v1/embeddings", "body": {"model": "m", "input": ["a secret"]}},
        [("input", "body.input[0]", "a secret")],
    ),
    "mistral": (
        {"custom_id": "1", "body": {"messages": [{"role": "user", "content": "a secret"}]}},
        [("user", "body.messages[0].content", "a secret")],
    ),
    "gemini": (
        {"key": "1", "request": {"contents": [{"parts": [{"text": "a secret"}]}]}},
        [("user", "request.contents[0].parts[0].text", "a secret")],
    ),
}  # fmt: skip

RESULTS: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]], dict[str, Any]]] = {
    "chat": (
        {"id": "b", "custom_id": "1", "error": None, "response": {"status_code": 200, "request_id": "r", "body": {
            "object": "chat.completion", "id": "c", "choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "a secret"}}], "usage": {"total_tokens": 1}}}},
        [("assistant", "response.body.choices[0].message.content", "a secret")],
        {"id": "b", "custom_id": "1", "response": None, "error": {"code": "content_filter", "message": "refused"}},
    ),
    "responses": (
        {"id": "b", "custom_id": "1", "response": {"status_code": 200, "body": {"object": "response", "id": "r",
            "instructions": "no text", "output": [{"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": "a secret", "annotations": []}]}]}}},
        [("assistant", "response.body.output[0].content[0].text", "a secret")],
        {"id": "b", "custom_id": "1", "response": None, "error": {"code": "content_filter", "message": "refused"}},
    ),
    "embeddings": (
        {"id": "b", "custom_id": "1", "response": {"status_code": 200, "body": {"object": "list", "model": "m",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1e-3]}]}}},
        [],
        {"id": "b", "custom_id": "1", "response": None, "error": {"code": "content_filter", "message": "refused"}},
    ),
    "messages": (
        {"custom_id": "1", "result": {"type": "succeeded", "message": {"id": "m", "type": "message",
            "role": "assistant", "content": [{"type": "text", "text": "a secret"}], "stop_reason": "end_turn"}}},
        [("assistant", "result.message.content[0].text", "a secret")],
        {"custom_id": "1", "result": {"type": "errored", "error": {"type": "error", "error": {
            "type": "invalid_request_error", "code": "content_filter", "message": "refused"}}}},
    ),
    "gemini": (
        {"key": "1", "response": {"candidates": [{"content": {"role": "model", "parts": [{"text": "a secret"}]},
            "finishReason": "STOP"}], "usageMetadata": {"totalTokenCount": 1}}},
        [("assistant", "response.candidates[0].content.parts[0].text", "a secret")],
        {"key": "1", "error": {"code": 400, "message": "refused", "status": "INVALID_ARGUMENT"}},
    ),
}  # fmt: skip


def rows(texts: RequestTexts) -> list[tuple[str, str, str]]:
    return [(one.part, one.path, one.text) for one in texts.passages]


def mask_secret(texts: RequestTexts) -> bytes:
    """Return the line with the word ``secret`` masked."""
    found = [(one, one.text.index("secret")) for one in texts.passages if "secret" in one.text]
    return texts.replace([(one, at, at + len("secret"), "[M]") for one, at in found])


@each_row(("line", "expected"), LINES.values())
def test_a_batch_line_has_the_texts_of_its_request(line: Any, expected: Any) -> None:
    written = json.dumps(line).encode()

    assert rows(line_texts(written)) == expected
    assert mask_secret(line_texts(written)) == written.replace(b"secret", b"[M]")


REFUSAL = GatewayError("invalid_request", "refused", code="content_filter")


@each_row(("line", "expected", "refused"), RESULTS.values())
def test_the_texts_of_a_result_are_those_of_its_response_and_a_refused_one_is_an_error_line(
    line: Any, expected: Any, refused: Any
) -> None:
    written = json.dumps(line).encode()

    assert rows(result_texts(written)) == expected
    assert mask_secret(result_texts(written)) == written.replace(b"secret", b"[M]")
    assert json.loads(refused_line(written, REFUSAL)) == refused


def test_a_refused_line_that_is_no_json_has_no_text() -> None:
    found = json.loads(refused_line(b"a secret", REFUSAL))

    assert found == {"response": None, "error": {"code": "content_filter", "message": "refused"}}
