"""Short builders for Responses requests, for tests of both sides."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.request import (
    Message,
    Part,
    Request,
)
from providers.neutral.seal import Issuer
from providers.responses import RESPONSES
from streams.errors import GatewayError
from tests.support.repository import SHARED

CLIENTS = ("codex", "openai-agents-responses", "ai-sdk-openai", "opencode-responses", "pydantic-ai-responses")


RECORDED = sorted((SHARED / "corpus" / "openai_responses").glob("*.request.json"))


SENT = sorted(
    path
    for client in CLIENTS
    for path in (SHARED / "clients" / client).glob("*.request.json")
    if json.loads(path.read_bytes())["path"].startswith("/v1/responses")
)


needs_recordings = pytest.mark.skipif(not RECORDED or not SENT, reason="the recorded traffic is not here")


US = Issuer("openai", "a1")


OTHER = Issuer("claude", "b2")


ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}


def read(**members: Any) -> Request:
    return RESPONSES.read_request({"model": "m", "input": "hi", **members})


def turns(*items: Any) -> tuple[Message, ...]:
    return read(input=list(items)).messages


def rejection_of(**members: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        read(**members)
    assert caught.value.info.status == 400
    return caught.value


def send(request: Request, **to: Any) -> tuple[dict[str, Any], Outgoing]:
    outgoing = RESPONSES.write_request(request, Recipient("up", US, **to))
    body: dict[str, Any] = json.loads(outgoing.body)
    return body, outgoing


def foreign(*turns: Message, **members: Any) -> Request:
    """Return a Messages client's request."""
    return Request(**{"api": "messages", "model": "m", "messages": turns, **members})


def user(*parts: Part) -> Message:
    return Message("user", parts, "messages[0]")


def assistant(*parts: Part) -> Message:
    return Message("assistant", parts, "messages[1]")


def items(*turns: Message, **members: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = send(foreign(*turns, **members))[0]["input"]
    return found


def recorded_body(path: Path) -> dict[str, Any]:
    value = msgspec.json.decode(path.read_bytes())
    body: dict[str, Any] = value["body"] if "path" in value else value
    return body


def words(value: Any) -> list[str]:
    """Return every text by a person or a model, in order."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list):
        return [word for each in value for word in words(each)]
    if not isinstance(value, dict) or value.get("type") in ("reasoning", "additional_tools"):
        return []
    names = ("content", "text", "arguments", "input", "output", "refusal", "image_url", "file_data")
    return [word for name in names if name in value for word in words(value[name])]
