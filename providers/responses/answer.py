"""A whole answer for Responses clients."""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.neutral import custom_tools
from providers.neutral.codec import Reply
from providers.responses.compacted import compacted_answer
from providers.responses.compaction import is_compaction
from providers.responses.ids import own_id
from providers.responses.output import (
    NO_ARGUMENTS,
    Object,
    ResponseTemplate,
    annotations,
    call_item,
    called_tool,
    message_item,
    native_reasoning,
    outcome,
    reasoning_item,
    refusal_part,
    sealed_text,
    text_part,
    token_logprobs,
)
from providers.responses.tools import Declared, declared_tools
from streams.fold import Answer, Block, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """See ``Codec.write_answer``."""
    return msgspec.json.encode(whole_answer(answer, reply))


def whole_answer(answer: Answer, reply: Reply) -> Object:
    """The response object of a whole answer, ready for ``msgspec.json.encode``. Raises a 502 ``GatewayError`` where a
    summary was asked for and none was given."""
    if is_compaction(reply.request.source):
        return compacted_answer(answer, reply)
    head = ResponseTemplate.of(reply)
    tools = declared_tools(reply.request)
    status, _ = outcome(answer.end)
    output: list[Any] = []
    parts: list[Object] = []  # of the message at the end of `output`
    for block in answer.blocks:
        match block:
            case TextBlock() | RefusalBlock():
                phase = block.phase if isinstance(block, TextBlock) else None
                if not parts or (isinstance(block, TextBlock) and phase != output[-1].get("phase")):
                    output.append(message_item(own_id("msg_"), phase=phase))
                    parts = output[-1]["content"]
                parts.append(_part(block))
            case _:
                if (
                    item := _item(block, reply, tools, status if block is answer.blocks[-1] else "completed")
                ) is not None:
                    output.append(item)
                    parts = []
    if parts:
        output[-1]["status"] = status
    return head.ended(answer.end, output, answer.usage)


def _part(block: TextBlock | RefusalBlock) -> Object:
    if isinstance(block, RefusalBlock):
        return refusal_part(block.text)
    return text_part(block.text, annotations(block.citations, len(block.text)), token_logprobs(block.logprobs))


def _item(block: Block, reply: Reply, tools: Mapping[str, Declared], status: str) -> Any:
    match block:
        case ReasoningBlock(text=text, state=state):
            native = native_reasoning(state, kept=bool(reply.id))
            if native is not None:
                return native
            own = None if state is None else sealed_text(reply.issuer, state)
            return reasoning_item(own_id("rs_"), text, own, status)
        case ToolCallBlock():
            tool, wrapped = called_tool(block, tools)
            text = custom_tools.unwrapped(block.input) if wrapped else block.input
            if tool.kind == "function" and not text.strip():
                text = NO_ARGUMENTS
            return call_item(own_id("ctc_" if tool.kind == "custom" else "fc_"), block.id, tool, text, status)
        case NativeBlock(api=api, item=item):
            return item if api == "responses" else None
        case _:
            return None
