"""Writer of whole answers for Interactions clients, and the members and steps that they share with streams.

Source: ``Interaction`` of the google-genai package.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from providers.interactions.citations import write_annotations
from providers.interactions.usage import write_tier, write_usage
from providers.neutral.arguments import call_input, is_json_object
from providers.neutral.codec import Reply, corrected_reason, new_id
from providers.neutral.ends import WRITTEN, bad_arguments
from providers.neutral.made_images import made_images
from providers.neutral.seal import Issuer, seal_in_base64, sealed_item
from providers.neutral.texts import CitedText
from providers.neutral.values import as_object, as_string
from streams.errors import GatewayError
from streams.events import AnswerEnd, Api, ReasoningState
from streams.fold import (
    Answer,
    Block,
    NativeBlock,
    ReasoningBlock,
    RefusalBlock,
    TextBlock,
    ToolCallBlock,
)

IN_PROGRESS: Final = "in_progress"


def write_status(end: AnswerEnd, calls_tools: bool) -> str:
    return WRITTEN["interactions"][corrected_reason(end.reason, calls_tools)]


def check_calls(end: AnswerEnd, bad_call: str | None) -> None:
    """Raise ``GatewayError`` if a complete answer has a call, named ``bad_call``, whose arguments are not valid.

    Programs must not run it. An answer that was cut short may end within the arguments.
    """
    if bad_call is not None and WRITTEN["interactions"][end.reason] != "incomplete":
        raise GatewayError.of(bad_arguments(bad_call))


def common_members(reply: Reply) -> dict[str, Any]:
    """Return the members of an interaction that do not depend on its answer, without its status."""
    created = datetime.fromtimestamp(reply.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "id": reply.id or new_id("v1_"), "object": "interaction", "model": reply.request.model, "created": created,
        "updated": created, **reply.state,
    }  # fmt: skip


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


def native_steps(api: Api, item: Any) -> list[Any]:
    """Return the steps for a native item of ``api``: its own, or the images of another one."""
    if api == "interactions":
        return [item]
    images = [{"type": "image", "mime_type": one.media_type, "data": one.data} for one in made_images(api, item)]
    return [{"type": "model_output", "content": images}] if images else []


_REFUSED = "the model refused to answer"


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the interaction as JSON. See ``Codec.write_answer``.

    Raises ``GatewayError`` for a call whose arguments are not valid.
    """
    calls = (block for block in answer.blocks if isinstance(block, ToolCallBlock) and block.kind == "function")
    check_calls(answer.end, next((call.name for call in calls if not is_json_object(call.input)), None))
    whole = {
        **common_members(reply),
        "status": write_status(answer.end, answer.calls_tools),
        "steps": [step for block in answer.blocks for step in _write_block(block, reply)],
        "usage": write_usage(answer.usage, reply.input_estimate, answer.characters),
        **write_tier(answer.usage),
    }
    if answer.end.reason == "refusal":
        explanation = as_string(as_object(answer.end.details).get("explanation"))
        whole["errors"] = [{"code": "refusal", "message": explanation or _REFUSED}]
    return msgspec.json.encode(whole)


def _write_block(block: Block, reply: Reply) -> Iterator[Any]:
    match block:
        case TextBlock(text=text, citations=citations):
            cited = CitedText()
            cited.add(text if citations else "")
            if text:
                content = text_content(text, write_annotations(citations, cited))
                yield {"type": "model_output", "content": [content]}
        case RefusalBlock(text=text):
            if text:
                yield {"type": "model_output", "content": [text_content(text, [])]}
        case ReasoningBlock():
            yield from _write_thought(block, reply)
        case ToolCallBlock(id=id, name=name, input=arguments, kind=kind):
            yield {"type": "function_call", "id": id, "name": name, "arguments": call_input(arguments, kind)}
        case NativeBlock(api=api, kind=kind, item=item):
            if kind != "thought" or reply.shows_thoughts:
                yield from native_steps(api, item)


def _write_thought(block: ReasoningBlock, reply: Reply) -> Iterator[dict[str, Any]]:
    shown = block.text if reply.shows_thoughts else ""
    hidden = "" if shown else block.text
    signature = "" if block.state is None else write_signature(reply.issuer, block.state, hidden)
    if shown or signature:
        step: dict[str, Any] = {"type": "thought"}
        step |= {"signature": signature} if signature else {}
        yield step | ({"summary": [text_content(shown, [])]} if shown else {})
