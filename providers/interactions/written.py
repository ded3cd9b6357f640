"""The steps and members of answers for Interactions clients, the same in streams and whole answers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from providers.interactions.errors import bad_arguments_error
from providers.neutral.codec import Reply, corrected_reason, new_id
from providers.neutral.seal import Issuer, seal_in_base64, sealed_item
from providers.neutral.values import as_object, as_string
from streams.events import AnswerEnd, Reason, ReasoningState

IN_PROGRESS: Final = "in_progress"
INCOMPLETE: Final = "incomplete"
_STATUS: Final[Mapping[Reason, str]] = {
    "stop": "completed",
    "stop_sequence": "completed",
    "tool_calls": "requires_action",
    "length": INCOMPLETE,
    "context_exceeded": INCOMPLETE,
    "pause": INCOMPLETE,
    "refusal": INCOMPLETE,
}


def write_status(end: AnswerEnd, calls_tools: bool) -> str:
    return _STATUS[corrected_reason(end.reason, calls_tools)]


def check_calls(end: AnswerEnd, bad_call: str | None) -> None:
    """Raise ``GatewayError`` if a complete answer has a call, named ``bad_call``, whose arguments are not valid.

    Programs must not run it. An answer that was cut short may end within the arguments.
    """
    if bad_call is not None and _STATUS[end.reason] != INCOMPLETE:
        raise bad_arguments_error(bad_call)


def common_members(reply: Reply) -> dict[str, Any]:
    """Return the members of an interaction that do not depend on its answer, without its status."""
    created = datetime.fromtimestamp(reply.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "id": reply.id or new_id("v1_"), "object": "interaction", "model": reply.request.model, "created": created,
        "updated": created, **reply.state,
    }  # fmt: skip


def shows_thoughts(reply: Reply) -> bool:
    """Return whether the client requested summaries of thoughts."""
    return reply.request.reasoning is not None and reply.request.reasoning.summary is not None


def write_signature(issuer: Issuer, state: ReasoningState, text: str) -> str:
    """Return the signature of a thought: the provider's own, or a seal; "" if nothing must be sent back.

    ``text`` is the reasoning that the client does not get. SDKs decode signatures as base64.
    """
    if state.api == "interactions":
        item = as_object(state.item)  # another step than a thought is sent unchanged
        return as_string(item.get("signature")) if item.get("type") == "thought" else ""
    return seal_in_base64(issuer, state.api, sealed_item(state, text))


def text_content(text: str, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a text as a content block of Interactions."""
    return {"type": "text", "text": text, **({"annotations": annotations} if annotations else {})}
