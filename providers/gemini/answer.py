"""Whole answers, written. Source: ``GenerateContentResponse`` in the API's reference."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from providers.gemini.said import call_part, ending, logprobs_result, shows_thoughts, usage_metadata
from providers.gemini.sealing import Signature, signature_of
from providers.neutral.codec import Reply, new_id
from streams.fold import Answer, Block, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """See ``Codec.write_answer``."""
    texts = [block for block in answer.blocks if isinstance(block, TextBlock)]
    cited = [one for block in texts for one in block.citations]
    parts = list(_parts(answer.blocks, reply))
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": parts or [{"text": ""}]}, **ending(answer.end, cited), "index": 0,
    }  # fmt: skip
    if logprobs := [one for block in texts for one in block.logprobs]:
        candidate["logprobsResult"] = logprobs_result(logprobs)
    whole = {
        "candidates": [candidate],
        "usageMetadata": usage_metadata(answer.usage, reply.input_estimate, sum(map(_length, answer.blocks))),
        "modelVersion": reply.request.model,
        "responseId": reply.id or new_id(""),
    }
    return msgspec.json.encode(whole)


def _parts(blocks: Sequence[Block], reply: Reply) -> Iterator[dict[str, Any]]:
    shown = shows_thoughts(reply)
    waiting: Signature | None = None
    for block in blocks:
        if waiting is not None and not _fits(waiting, block):
            yield waiting.alone()
            waiting = None
        if isinstance(block, ReasoningBlock):
            waiting = None if block.state is None else signature_of(reply.issuer, block.state, block.text)
            own = waiting if waiting is not None and waiting.kind == "thought" else None
            yield from _thought(block.text if shown else "", own)
            waiting = None if own is not None else waiting
        else:
            yield from _part(block, {} if waiting is None else {"thoughtSignature": waiting.text})
            waiting = None
    if waiting is not None:
        yield waiting.alone()


def _thought(text: str, own: Signature | None) -> Iterator[dict[str, Any]]:
    if text:
        part = {"text": text, "thought": True}
        yield part if own is None else {**part, "thoughtSignature": own.text}
    elif own is not None:
        yield own.alone()


def _part(block: Block, mark: dict[str, str]) -> Iterator[dict[str, Any]]:
    match block:
        case TextBlock(text=text) | RefusalBlock(text=text):
            if text or mark:
                yield {"text": text, **mark}
        case ToolCallBlock(id=id, name=name, input=arguments, kind=kind):
            yield {**call_part(id, name, arguments, kind), **mark}
        case NativeBlock(api="gemini", item=item):
            yield item


def _fits(signature: Signature, block: Block) -> bool:
    """Whether ``signature`` stands on the part for ``block``: a seal on a call that follows at once, one of Gemini's
    own on a part of its kind."""
    if isinstance(block, ToolCallBlock):
        return signature.kind in ("", "functionCall")
    return isinstance(block, TextBlock) and signature.kind == "text" and not signature.empty


def _length(block: Block) -> int:
    """The characters of what the model wrote."""
    match block:
        case TextBlock(text=text) | ReasoningBlock(text=text) | RefusalBlock(text=text) | ToolCallBlock(input=text):
            return len(text)
        case _:
            return 0
