"""Writers of answers for a Gemini client: streams (``GeminiWriter``) and whole answers (``write_answer``).

A stream consists of pieces of one answer, each a ``GenerateContentResponse``; the last has the finish reason and token
counts. It ends without ``[DONE]``. Clients send a ``thoughtSignature`` back on the next turn: Gemini's own, or a seal
with another provider's reasoning, which is base64 of bytes because SDKs decode it. Source: ``GenerateContentResponse``
in the API's reference; google-genai's ``models``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, assert_never

import attrs
import msgspec

from providers.gemini.ends import REASONS
from providers.gemini.errors import error_event
from providers.gemini.framing import KEEP_ALIVE, event
from providers.neutral.arguments import call_input
from providers.neutral.codec import ANSWERING, ENDED, AnswerStage, Reply, new_id
from providers.neutral.seal import Issuer, seal_in_base64
from streams import sse
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    Reason,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolKind,
    Usage,
)
from streams.fold import (
    Answer,
    Block,
    NativeBlock,
    ReasoningBlock,
    RefusalBlock,
    TextBlock,
    ToolCallBlock,
    written_length,
)

_FINISH: Final[Mapping[Reason, str]] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool_calls": "STOP",
    "pause": "STOP",
    "length": "MAX_TOKENS",
    "context_exceeded": "MAX_TOKENS",
    "refusal": "SAFETY",
}
_CHARACTERS_PER_TOKEN: Final = 4  # for estimates only


def call_part(id: str, name: str, arguments: str, kind: ToolKind, signature: str | None = None) -> dict[str, Any]:
    """Return a whole call, because clients of this API read no pieces. It always has an id, which its result refers to."""
    part: dict[str, Any] = {"functionCall": {"id": id, "name": name, "args": call_input(arguments, kind)}}
    return part if signature is None else {**part, "thoughtSignature": signature}


def ending(end: AnswerEnd, citations: Sequence[Citation]) -> dict[str, Any]:
    """Return the members of a candidate about its end."""
    own = end.reason == "refusal" and REASONS.get(end.raw or "") == "refusal"
    members: dict[str, Any] = {"finishReason": end.raw if own else _FINISH[end.reason]}
    if isinstance(end.details, dict) and isinstance(explained := end.details.get("explanation"), str):
        members["finishMessage"] = explained
    if grounding := _grounding(citations):
        members["groundingMetadata"] = grounding
    return members


def _grounding(citations: Iterable[Citation]) -> dict[str, Any]:
    """Return the pages that the answer cites, each once."""
    pages: dict[str, str] = {}
    for citation in citations:
        item = citation.item if isinstance(citation.item, dict) else {}
        item = item.get("url_citation", item) if isinstance(item.get("url_citation", item), dict) else item
        if isinstance(url := item.get("url"), str) and url:
            title = item.get("title")
            pages.setdefault(url, title if isinstance(title, str) else "")
    return {"groundingChunks": [{"web": {"uri": uri, "title": title}} for uri, title in pages.items()]} if pages else {}


def logprobs_result(logprobs: Sequence[Any]) -> dict[str, Any]:
    """Return ``logprobsResult`` for log probabilities in OpenAI's form."""
    told = [one for one in logprobs if isinstance(one, dict)]
    return {
        "chosenCandidates": [_token(one) for one in told],
        "topCandidates": [{"candidates": [_token(two) for two in one.get("top_logprobs") or ()]} for one in told],
    }


def _token(one: Any) -> dict[str, Any]:
    return {"token": one.get("token", ""), "logProbability": one.get("logprob", 0)} if isinstance(one, dict) else {}


def usage_metadata(usage: Usage | None, reply_estimate: int, said: int) -> dict[str, Any]:
    """Return ``usageMetadata``: cached tokens are part of the prompt, thoughts are not part of the candidates.

    If the provider counted nothing it is an estimate, based on the number of characters in ``said``.
    """
    if usage is None:
        usage = Usage(input=reply_estimate, output=-(-said // _CHARACTERS_PER_TOKEN))
    thoughts = min(usage.reasoning or 0, usage.output)
    counts = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.output - thoughts,
        "totalTokenCount": usage.prompt + usage.output,
    }
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    if usage.cache_read:
        counts["cachedContentTokenCount"] = usage.cache_read
    return counts


def shows_thoughts(reply: Reply) -> bool:
    """Return whether the client requested the text of thoughts; others would read it as the answer."""
    reasoning = reply.request.reasoning
    return reasoning is not None and reasoning.summary is not None


LONGEST: Final = 256 * 1024
"""The most characters of reasoning that a seal repeats."""


@attrs.frozen
class Signature:
    """A signature for a part of that ``kind``, or for any next part (""); ``id`` is the id of its call."""

    text: str
    kind: str = ""
    id: str = ""
    empty: bool = False

    def alone(self) -> dict[str, Any]:
        """Return a separate part for the signature, if no following part fits."""
        if self.kind == "text":
            return {"text": "", "thoughtSignature": self.text}
        return {"text": "", "thought": True, "thoughtSignature": self.text}


def signature_of(issuer: Issuer, state: ReasoningState, text: str) -> Signature | None:
    """Return the signature for a state with the reasoning ``text``, or ``None`` if nothing must be sent back."""
    if state.api != "gemini":
        return Signature(seal_in_base64(issuer, state.api, sealed_item(state, text)))
    item = state.item if isinstance(state.item, dict) else {}
    signed = item.get("signature")
    if not isinstance(signed, str) or not signed or "native" in item:  # the part itself is sent, with its signature
        return None
    return Signature(signed, str(item.get("part", "")), str(item.get("id", "")), item.get("empty") is True)


def sealed_item(state: ReasoningState, text: str) -> Any:
    """Return the item of a state.

    It includes the text if the item only names the member of the text, because Gemini CLI does not send thoughts back
    and DeepSeek rejects calls without their reasoning.
    """
    if state.api == "chat" and isinstance(state.item, dict) and "field" in state.item and 0 < len(text) <= LONGEST:
        return {**state.item, "text": text}
    return state.item


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the answer as JSON. See ``Codec.write_answer``."""
    texts = [block for block in answer.blocks if isinstance(block, TextBlock)]
    cited = [one for block in texts for one in block.citations]
    parts = list(_write_parts(answer.blocks, reply))
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": parts or [{"text": ""}]}, **ending(answer.end, cited), "index": 0,
    }  # fmt: skip
    if logprobs := [one for block in texts for one in block.logprobs]:
        candidate["logprobsResult"] = logprobs_result(logprobs)
    whole = {
        "candidates": [candidate],
        "usageMetadata": usage_metadata(answer.usage, reply.input_estimate, sum(map(written_length, answer.blocks))),
        "modelVersion": reply.request.model,
        "responseId": reply.id or new_id(""),
    }
    return msgspec.json.encode(whole)


def _write_parts(blocks: Sequence[Block], reply: Reply) -> Iterator[dict[str, Any]]:
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
            yield from _write_part(block, {} if waiting is None else {"thoughtSignature": waiting.text})
            waiting = None
    if waiting is not None:
        yield waiting.alone()


def _thought(text: str, own: Signature | None) -> Iterator[dict[str, Any]]:
    if text:
        part = {"text": text, "thought": True}
        yield part if own is None else {**part, "thoughtSignature": own.text}
    elif own is not None:
        yield own.alone()


def _write_part(block: Block, mark: dict[str, str]) -> Iterator[dict[str, Any]]:
    match block:
        case TextBlock(text=text) | RefusalBlock(text=text):
            if text or mark:
                yield {"text": text, **mark}
        case ToolCallBlock(id=id, name=name, input=arguments, kind=kind):
            yield {**call_part(id, name, arguments, kind), **mark}
        case NativeBlock(api="gemini", item=item):
            yield item


def _fits(signature: Signature, block: Block) -> bool:
    """Return whether ``signature`` belongs on the part for ``block``: a seal on a directly following call, Gemini's own
    on a part of its kind."""
    if isinstance(block, ToolCallBlock):
        return signature.kind in ("", "functionCall")
    return isinstance(block, TextBlock) and signature.kind == "text" and not signature.empty


class _OpenCall:
    """A call whose arguments are still arriving."""

    __slots__ = ("ended", "pieces", "signature", "start")

    def __init__(self, start: ToolCallStart, signature: str | None) -> None:
        self.start = start
        self.signature = signature
        self.pieces: list[str] = []
        self.ended = False

    def part(self) -> dict[str, Any]:
        start = self.start
        return call_part(start.id, start.name, "".join(self.pieces), start.kind, self.signature)


class GeminiWriter:
    """A ``Writer`` of one Gemini stream. Calls are sent whole, in the order in which they started."""

    def __init__(self, reply: Reply) -> None:
        self._issuer, self._estimate = reply.issuer, reply.input_estimate
        self._shown = shows_thoughts(reply)
        self._about = {"modelVersion": reply.request.model, "responseId": reply.id or new_id("")}
        about = sse.dump(self._about)[1:]
        self._text = b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":'
        self._after = b'}]},"index":0}],' + about + b"\r\n\r\n"
        self._stage: AnswerStage = ANSWERING
        self._said = 0
        self._usage: Usage | None = None
        self._calls: dict[int, _OpenCall] = {}
        self._waiting: Signature | None = None  # signature for the next part
        self._thoughts: list[str] = []  # pieces of the open reasoning block
        self._thought = 0
        self._citations: list[Citation] = []

    def send(self, event: Event) -> bytes:
        if self._stage is ENDED:
            return b""
        if (
            type(event) is TextDelta and self._waiting is None and event.logprobs is None
        ):  # by far the most frequent event
            self._said += len(event.text)
            return b"%b%b%b" % (self._text, sse.dump(event.text), self._after)
        return self._send(event)

    def ping(self) -> bytes:
        return b"" if self._stage is ENDED else KEEP_ALIVE

    def _send(self, event: Event) -> bytes:
        match event:
            case TextDelta(text=text, logprobs=logprobs):
                self._said += len(text)
                return self._before("text") + self._piece({"text": text, **self._mark()}, logprobs)
            case RefusalDelta(text=text):
                self._said += len(text)
                return self._before("text") + self._piece({"text": text, **self._mark()})
            case ReasoningDelta(text=text):
                return self._before() + self._think(text)
            case ReasoningState():
                return self._before() + self._sign(event)
            case ToolCallStart():
                before = self._before("functionCall")
                self._calls[event.block] = _OpenCall(event, self._mark().get("thoughtSignature"))
                return before
            case ToolCallDelta(block=block, text=text):
                self._said += len(text)
                self._calls[block].pieces.append(text)
                return b""
            case NativeItem(api=api, item=item):
                return self._before() + (self._piece(item) if api == "gemini" else b"")
            case BlockEnd(block=block):
                return self._end_block(block)
            case AnswerEnd() | ErrorInfo():
                data = self._end(event) if isinstance(event, AnswerEnd) else error_event(event)
                self._stage = ENDED
                return data
            case _:
                self._note(event)
                return b""

    def _note(self, event: AnswerStart | Usage | Citation) -> None:
        """Store an event that is written at the end or never."""
        match event:
            case Usage():
                self._usage = event
            case Citation():
                self._citations.append(event)
            case AnswerStart():
                pass
            case _:
                assert_never(event)

    # Pieces

    def _piece(self, part: Any, logprobs: Any = None) -> bytes:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
        if logprobs:
            candidate["logprobsResult"] = logprobs_result(logprobs)
        return event({"candidates": [candidate], **self._about})

    def _before(self, kind: str = "") -> bytes:
        """Return a separate part for a waiting signature that does not fit a part of ``kind``, else nothing."""
        waiting = self._waiting
        if waiting is None or (kind and (waiting.kind or "functionCall") == kind and not waiting.empty):
            return b""
        self._waiting = None
        return self._piece(waiting.alone())

    def _mark(self) -> dict[str, str]:
        waiting, self._waiting = self._waiting, None
        return {} if waiting is None else {"thoughtSignature": waiting.text}

    def _think(self, text: str) -> bytes:
        self._said += len(text)
        self._thought += len(text)
        if self._thought <= LONGEST:
            self._thoughts.append(text)
        return self._piece({"text": text, "thought": True}) if self._shown else b""

    def _sign(self, state: ReasoningState) -> bytes:
        text = "".join(self._thoughts) if self._thought <= LONGEST else ""
        self._waiting = signature_of(self._issuer, state, text)
        return self._before("text") if self._waiting is not None and self._waiting.kind == "thought" else b""

    def _end_block(self, block: int) -> bytes:
        self._thoughts.clear()
        self._thought = 0
        if (call := self._calls.get(block)) is None:
            return b""
        call.ended = True
        out = []
        while self._calls and (first := next(iter(self._calls.values()))).ended:
            del self._calls[next(iter(self._calls))]
            out.append(self._piece(first.part()))
        return b"".join(out)

    def _end(self, end: AnswerEnd) -> bytes:
        calls = b"".join(
            self._piece(call.part()) for call in self._calls.values()
        )  # normally none: readers close all blocks
        before = self._before()
        candidate = {"content": {"role": "model", "parts": [{"text": ""}]}, **ending(end, self._citations), "index": 0}
        usage = usage_metadata(self._usage, self._estimate, self._said)
        return calls + before + event({"candidates": [candidate], "usageMetadata": usage, **self._about})
