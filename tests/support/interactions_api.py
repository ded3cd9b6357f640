"""Turns of Google's Interactions API from outside: requests, interactions, and events."""

from collections.abc import Mapping
from typing import Any

from tests.support.harness import Gateway, Reply, eventually

PATH = "/v1beta/interactions"
ENDED = ("completed", "requires_action", "incomplete", "failed", "cancelled")


def credentials(key: str | None) -> Mapping[str, str]:
    return {} if key is None else {"x-goog-api-key": key}


def interact(gateway: Gateway, model: str, input: Any = "hi", key: str | None = None, **more: Any) -> Reply:
    """Make one turn, and return its response."""
    return gateway.request("POST", PATH, {"model": model, "input": input, **more}, credentials(key))


def interaction_in(reply: Reply) -> dict[str, Any]:
    """Return the interaction of a whole response."""
    assert reply.status == 200, reply.body
    return reply.json  # type: ignore[no-any-return]


def get_interaction(gateway: Gateway, id: str, query: str = "", key: str | None = None) -> Reply:
    return gateway.request("GET", f"{PATH}/{id}{query}", headers=credentials(key))


def delete_interaction(gateway: Gateway, id: str, key: str | None = None) -> Reply:
    return gateway.request("DELETE", f"{PATH}/{id}", headers=credentials(key))


def cancel_interaction(gateway: Gateway, id: str, key: str | None = None) -> Reply:
    return gateway.request("POST", f"{PATH}/{id}/cancel", b"", credentials(key))


def error_of(reply: Reply, status: int) -> dict[str, Any]:
    """Return the error of a response, whose code is a word."""
    assert reply.status == status, (reply.status, reply.body)
    error = reply.json["error"]
    assert isinstance(error["code"], str), error
    assert error["message"]
    return error  # type: ignore[no-any-return]


def output_text(interaction: Mapping[str, Any]) -> str:
    """Return the text of the model in an interaction."""
    outputs = (step for step in interaction["steps"] if step["type"] == "model_output")
    return "".join(content["text"] for step in outputs for content in step["content"] if content["type"] == "text")


def frames(reply: Reply) -> list[bytes]:
    """Return the events of a stream, each with its bytes."""
    assert reply.status == 200, reply.body
    parts = reply.body.split(b"\n\n")
    assert parts.pop() == b""
    return [part + b"\n\n" for part in parts if not part.startswith(b":")]


def wait_for_end(gateway: Gateway, id: str, key: str | None = None) -> dict[str, Any]:
    """Return the interaction as soon as it has ended."""

    def ended_interaction() -> dict[str, Any] | None:
        reply = get_interaction(gateway, id, key=key)
        return reply.json if reply.status == 200 and reply.json["status"] in ENDED else None

    return eventually(ended_interaction, 20, f"{id} having ended")  # type: ignore[no-any-return]
