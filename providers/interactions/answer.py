"""Writer of whole answers for Interactions clients.

Source: ``Interaction`` of the google-genai package.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from providers.interactions.citations import CitedText, write_annotations
from providers.interactions.usage import write_usage
from providers.interactions.written import (
    check_calls,
    common_members,
    shows_thoughts,
    text_content,
    write_signature,
    write_status,
)
from providers.neutral.arguments import call_input, is_json_object
from providers.neutral.codec import Reply
from providers.neutral.values import as_object, as_string
from streams.fold import (
    Answer,
    Block,
    NativeBlock,
    ReasoningBlock,
    RefusalBlock,
    TextBlock,
    ToolCallBlock,
)

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
        case NativeBlock(api="interactions", item=item):
            yield item


def _write_thought(block: ReasoningBlock, reply: Reply) -> Iterator[dict[str, Any]]:
    shown = block.text if shows_thoughts(reply) else ""
    hidden = "" if shown else block.text
    signature = "" if block.state is None else write_signature(reply.issuer, block.state, hidden)
    if shown or signature:
        step: dict[str, Any] = {"type": "thought"}
        step |= {"signature": signature} if signature else {}
        yield step | ({"summary": [text_content(shown, [])]} if shown else {})
