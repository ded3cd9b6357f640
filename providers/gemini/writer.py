"""A Gemini client's stream, written: pieces of one answer, each a ``GenerateContentResponse``, the last with the reason
and the token counts. Nothing follows, no ``[DONE]`` either. Source: the API's reference; google-genai's ``models``.
"""

from typing import Any, assert_never

from providers.gemini.errors import error_event
from providers.gemini.framing import KEEP_ALIVE, event
from providers.gemini.said import call_part, ending, logprobs_result, shows_thoughts, usage_metadata
from providers.gemini.sealing import LONGEST, Signature, signature_of
from providers.neutral.codec import Reply, new_id
from providers.neutral.stages import ANSWERING, ENDED, AnswerStage
from streams import sse
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)


class _OpenCall:
    """A call while its arguments come in."""

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
    """See ``providers.neutral.codec.Writer``. Calls go out whole, in the order in which they began."""

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
        self._waiting: Signature | None = None  # of the part that comes next
        self._thoughts: list[str] = []  # of the block of reasoning that is open
        self._thought = 0
        self._citations: list[Citation] = []

    def send(self, event: Event) -> bytes:
        if self._stage is ENDED:
            return b""
        if type(event) is TextDelta and self._waiting is None and event.logprobs is None:  # by far the most frequent
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
        """Keep an event that is written at the end, or not at all."""
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
        """What has to stand in front of a part of that ``kind``: a part of its own for a signature that fits no other.
        A signature that fits is left for ``_mark``."""
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
        calls = b"".join(self._piece(call.part()) for call in self._calls.values())  # a reader has ended them all
        before = self._before()
        candidate = {"content": {"role": "model", "parts": [{"text": ""}]}, **ending(end, self._citations), "index": 0}
        usage = usage_metadata(self._usage, self._estimate, self._said)
        return calls + before + event({"candidates": [candidate], "usageMetadata": usage, **self._about})
