"""Whole Converse answers, written.

Source: ``ConverseResponse`` of Amazon's service model.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from providers.converse.usage import write_usage
from providers.converse.wording import NOT_MEASURED, signature, tool_use_id, wordless, write_end
from providers.neutral.arguments import call_input
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from streams.events import Usage
from streams.fold import Answer, Block, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """See ``Codec.write_answer``."""
    usage = answer.usage or Usage(input=reply.input_estimate)
    message = {"role": "assistant", "content": _content(answer.blocks, reply.issuer)}
    return msgspec.json.encode(
        {
            "output": {"message": message},
            **write_end(answer.end, answer.called, reply.request),
            "usage": write_usage(usage),
            "metrics": NOT_MEASURED,
        }
    )


def _content(blocks: Sequence[Block], issuer: Issuer) -> list[dict[str, Any]]:
    return [item for block in blocks for item in _block(block, issuer)]


def _block(block: Block, issuer: Issuer) -> list[dict[str, Any]]:
    match block:
        case TextBlock(text=text, citations=citations):
            own = [citation.item for citation in citations if citation.api == "converse"]
            if own:
                return [{"citationsContent": {"content": [{"text": text}], "citations": own}}]
            return [{"text": text}] if text else []
        case RefusalBlock(text=text):
            return [{"text": text}] if text else []
        case ReasoningBlock(text="", state=state):
            return [] if state is None else [{"reasoningContent": wordless(issuer, state)}]
        case ReasoningBlock(text=text, state=state):
            signed = signature(issuer, state)
            told = {"text": text} if signed is None else {"text": text, "signature": signed}
            return [{"reasoningContent": {"reasoningText": told}}]
        case ToolCallBlock(id=id, name=name, input=text, kind=kind):
            call = {"toolUseId": tool_use_id(id), "name": name, "input": call_input(text, kind)}
            return [{"toolUse": call}]
        case NativeBlock(api=api, item=item):
            return [item] if api == "converse" and isinstance(item, dict) else []
