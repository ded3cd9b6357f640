"""The reason of the provider that a router called.

OpenRouter's own message is always "Provider returned error" (OpenRouterTeam/ai-sdk-provider#422,
open-webui/computer#293).
"""

import json
from typing import Any

from providers.errors.failures import read_event_failure, read_failure
from tests.support.each_row import each_row

GENERIC = "Provider returned error"
TOO_LONG = "This model's maximum context length is 1000 tokens. However, your messages resulted in 2000 tokens."
LIMITED = "z-ai/glm-5.3-flash is temporarily rate-limited upstream. Please retry shortly"
NESTED = {"error": {"message": GENERIC, "metadata": {"raw": json.dumps({"error": {"message": LIMITED}})}}}


def error_of(raw: Any, message: str = GENERIC) -> dict[str, Any]:
    return {"error": {"message": message, "code": 400, "metadata": {"raw": raw, "provider_name": "BaseTen"}}}


@each_row(
    ("raw", "message"),
    [
        (json.dumps({"error": {"message": "at most 1 image", "type": "invalid_request_error"}}), "at most 1 image"),
        ({"error": {"message": "at most 1 image"}}, "at most 1 image"),
        (json.dumps({"detail": [{"loc": ["body", "top_k"], "msg": "too large"}]}), "body.top_k: too large"),
        (json.dumps([{"error": {"message": "of Google"}}]), "of Google"),
        (json.dumps(NESTED), LIMITED),
        (f" {LIMITED}\n", LIMITED),
        ("<html>busy</html>", GENERIC),
        ("", GENERIC),
        ("x" * 5000, GENERIC),
        ("{}", GENERIC),
        ("{", GENERIC),
        (None, GENERIC),
    ],
)
def test_it_is_the_message(raw, message):
    read = read_failure(400, json.dumps(error_of(raw)).encode())
    kind = "upstream" if message == GENERIC else "invalid_request"
    assert (read.message, read.kind, read.status) == (message, kind, 502 if message == GENERIC else 400)
    assert read_event_failure(error_of(raw)).message == message


def test_a_message_of_the_router_stays():
    assert (
        read_failure(402, json.dumps(error_of("other", "Insufficient credits")).encode()).message
        == "Insufficient credits"
    )


def test_a_prompt_that_is_too_long_is_recognized():
    read = read_failure(400, json.dumps(error_of(json.dumps({"message": TOO_LONG}))).encode())
    assert (read.code, read.reason) == ("context_length_exceeded", "context_too_long")
