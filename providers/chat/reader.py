"""Answers of Chat Completions, read: the stream (``ChatReader``) and the whole body (``read_answer``).

A whole body is read as a stream of one chunk, so both tell the same events. Only choice 0 is read: a request that the
gateway writes never asks for more.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from providers.chat.calls import Calls, Details, ToolCall, name_and_text, readable, text_of
from providers.chat.chunks import Choice, Chunk, Delta, decode, decode_unread
from providers.chat.messages import TYPED_FIELD
from providers.chat.usage import read_usage
from providers.errors.failures import array_failure, read_event_failure
from providers.neutral.codec import settled_reason
from providers.neutral.stages import ANSWERING, ENDED, WAITING, AnswerStage
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    Reason,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.surrogates import NOT_JSON, any_json

REASONS: Mapping[str, Reason] = {
    "stop": "stop",
    "eos": "stop",  # Together
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refusal",
    "refusal": "refusal",
    "safety": "refusal",
    "recitation": "refusal",
    "blocklist": "refusal",
    "prohibited_content": "refusal",
    "spii": "refusal",
}
"""``finish_reason`` in lower case (routers let the model's own words through: Portkey-AI/gateway#857). Others: stop."""

FAILURES = frozenset(
    ("error", "malformed_function_call", "malformed_response", "unexpected_tool_call", "missing_thought_signature")
)
"""Reasons that say that there is no answer."""

LONG = 16 * 1024  # bytes of a whole answer whose text is worth leaving alone
EARLY = "the provider ended the stream early"
_Piece: TypeAlias = type[TextDelta] | type[RefusalDelta] | type[ReasoningDelta]


class ChatReader:
    """A provider's Chat stream. See ``providers.neutral.codec.Reader``.

    ``AnswerEnd`` is held back until ``[DONE]`` or the end of the stream, because usage comes after
    ``finish_reason``."""

    def __init__(self) -> None:
        self._stage: AnswerStage = WAITING
        self._blocks = 0
        self._open: int | None = None  # the open block that is not a tool call
        self._piece: _Piece = TextDelta  # what it consists of
        self._field = ""  # the member in which its reasoning came
        self._details = Details()
        self._cited: list[Any] = []  # citations that came before their text
        self._logprobs: list[Any] = []  # of tokens whose text is still to come
        self._calls = Calls()
        self._tools: list[int] = []
        self._usage: Usage | None = None
        self._finish = ""
        self._stopped_by: str | None = None

    def take(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        if data.startswith(b"[DONE]"):
            whole = self._finish or (self._stage is ANSWERING and not self._calls.half)
            return self._end() if whole else self._fail(ErrorInfo("upstream", EARLY))
        try:
            chunk = decode(data)
        except NOT_JSON:
            return self._malformed(event, data)
        if event == "error" or chunk.error or (chunk.choices is None and chunk.failure):
            return self._fail(read_event_failure(any_json(data)))
        return self._read(chunk, data)

    def close(self) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        return self._end() if self._finish else self._fail(ErrorInfo("upstream", EARLY))

    def whole(self, chunk: Chunk, raw: bytes) -> Sequence[Event]:
        """All the events of an answer that came in one piece."""
        for choice in chunk.choices or ():
            choice.delta = choice.message or choice.delta
        out = self._read(chunk, raw)
        return out if self._stage is ENDED else [*out, *self._end()]

    def _read(self, chunk: Chunk, raw: bytes) -> Sequence[Event]:
        out: list[Event] = []
        if chunk.usage:
            self._count(chunk.usage)
        for choice in chunk.choices or ():
            if choice.index in (0, None):
                if self._stage is WAITING:
                    self._begin(chunk, out)
                self._choice(choice, out)
                if choice.error and self._finish.lower() not in REASONS:
                    return [*out, *self._fail(read_event_failure({"error": choice.error}))]
        if self._finish and self._finish.lower() in FAILURES:
            message = f"the provider could not finish its answer: {self._finish}"
            return [*out, *self._fail(ErrorInfo("upstream", message))]
        return out

    def _begin(self, chunk: Chunk, out: list[Event]) -> None:
        """``AnswerStart`` from the first chunk with a choice: Azure's preamble has neither id nor model."""
        self._stage = ANSWERING
        created = chunk.created if type(chunk.created) is int else None
        out.append(AnswerStart(text_of(chunk.id), text_of(chunk.model), created))

    def _choice(self, choice: Choice, out: list[Event]) -> None:
        # A message is a whole answer in one event, or what was said once more.
        delta = choice.delta or (None if self._blocks else choice.message)
        if delta is not None:
            if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
                self._reasoning(delta, out)
            content = delta.content
            if type(content) is str:
                if choice.logprobs:
                    self._weigh(choice.logprobs)
                if content:
                    self._say(TextDelta, content, out)
            elif content is not None:
                self._typed(content, out)
            if delta.audio:
                self._spoken(delta.audio, out)
            if delta.annotations:  # while the text is open
                self._cite(delta.annotations, out)
            if delta.refusal and type(delta.refusal) is str:
                self._say(RefusalDelta, delta.refusal, out)
            if delta.tool_calls or delta.function_call:
                self._call_fragments(delta, out)
        if choice.finish_reason and type(choice.finish_reason) is str:
            self._finish = choice.finish_reason
            stop = choice.stop_reason
            self._stopped_by = stop if isinstance(stop, str) and stop.lower() not in REASONS else None

    def _say(self, piece: _Piece, text: str, out: list[Event]) -> None:
        """``text`` as a piece of the open block, or of a new one if that is of another sort."""
        block, new = self._open, False
        if block is None or self._piece is not piece:
            self._shift(out)
            block = self._open = self._new()
            self._piece, new = piece, True
        if piece is TextDelta and self._logprobs:
            out.append(TextDelta(block, text, self._logprobs))
            self._logprobs = []
        else:
            out.append(piece(block, text))
        if new and self._cited and piece is TextDelta:
            self._cite((), out)

    def _weigh(self, logprobs: Any) -> None:
        """Log probabilities for the text beside them; a token may be too small a part of a character to have any."""
        if isinstance(logprobs, dict):
            self._logprobs.extend(_objects(logprobs.get("content")))

    def _spoken(self, audio: Any, out: list[Event]) -> None:
        """The transcript of speech."""
        if isinstance(audio, dict) and (text := text_of(audio.get("transcript"))):
            self._say(TextDelta, text, out)

    def _reasoning(self, delta: Delta, out: list[Event]) -> None:
        """Reasoning under whichever name, once if it came under two, together or after each other
        (BerriAI/litellm#29600)."""
        details = _objects(delta.reasoning_details)
        for field, text in (
            ("reasoning_content", delta.reasoning_content),
            ("reasoning", delta.reasoning),
            ("", "" if self._field else "".join(map(readable, details))),
        ):
            if text and type(text) is str:
                self._say(ReasoningDelta, text, out)
                self._field = field
                break
        for detail in details:  # after the text: they are given back with the block that it has opened
            self._details.add(detail)

    def _typed(self, content: Any, out: list[Event]) -> None:
        """Content as an array of parts (Mistral)."""
        for part in _objects(content):
            match part.get("type"):
                case "text" if text := text_of(part.get("text")):
                    self._say(TextDelta, text, out)
                case "thinking" if text := _thinking(part.get("thinking")):
                    self._say(ReasoningDelta, text, out)
                    self._field = TYPED_FIELD
                case _:
                    pass

    def _cite(self, annotations: Any, out: list[Event]) -> None:
        """Citations of the open text; those that come before it wait (OpenRouter sends them first)."""
        self._cited.extend(item for item in _objects(annotations) if item.get("type") == "url_citation")
        if self._open is not None and self._piece is TextDelta:
            block = self._open
            out.extend(Citation(block, "chat", item) for item in self._cited)
            self._cited.clear()

    def _call_fragments(self, delta: Delta, out: list[Event]) -> None:
        for fragment in _objects(delta.tool_calls):
            self._call(fragment, out)
        if isinstance(delta.function_call, dict):  # from before there were tools; there is one at most
            self._call({"index": -1, "function": delta.function_call}, out)

    def _call(self, fragment: Mapping[str, Any], out: list[Event]) -> None:
        kind, name, text = name_and_text(fragment)
        if not (name or text or fragment.get("id")):
            return
        call = self._calls.find(fragment, name, text)
        if call.block is None and name:
            self._shift(out)
            call.name, call.kind, call.block = name, kind, self._new()
            self._tools.append(call.block)
            out.append(ToolCallStart(call.block, call.id, name, kind))
            out.extend(ToolCallDelta(call.block, piece) for piece in call.pieces)
        if text:
            self._arguments(call, text, out)

    def _arguments(self, call: ToolCall, text: str, out: list[Event]) -> None:
        call.arguments.add(text)
        if call.block is None:
            call.pieces.append(text)
        else:
            out.append(ToolCallDelta(call.block, text))

    def _new(self) -> int:
        self._blocks += 1
        return self._blocks - 1

    def _shift(self, out: list[Event]) -> None:
        """Close the open block that is not a tool call, with what its reasoning needs back. Details that came without
        readable reasoning make a block of their own."""
        if self._details and (self._open is None or self._piece is not ReasoningDelta):
            if self._open is not None:
                out.append(BlockEnd(self._open))
            self._open, self._piece = self._new(), ReasoningDelta
        if self._open is None:
            return
        if self._piece is ReasoningDelta:
            if self._details:
                out.append(ReasoningState(self._open, "chat", {"reasoning_details": self._details.take()}))
            elif self._field:
                out.append(ReasoningState(self._open, "chat", {"field": self._field}))
        out.append(BlockEnd(self._open))
        self._open = None

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage = read_usage(usage)

    def _end(self) -> Sequence[Event]:
        out: list[Event] = []
        self._shift(out)
        out.extend(map(BlockEnd, self._tools))
        if self._usage is not None:
            out.append(self._usage)
        self._stage = ENDED
        out.append(self._ending())
        return out

    def _ending(self) -> AnswerEnd:
        if not self._finish:  # Snowflake ends with nothing but [DONE]
            return AnswerEnd(settled_reason("stop", bool(self._tools)))
        reason = REASONS.get(self._finish.lower(), "stop")
        if reason == "stop" and self._stopped_by is not None:
            return AnswerEnd("stop_sequence", self._finish, self._stopped_by)
        return AnswerEnd(reason, self._finish)

    def _fail(self, failed: ErrorInfo) -> Sequence[Event]:
        self._stage = ENDED
        return (failed,) if self._usage is None else (self._usage, failed)

    def _malformed(self, event: str, data: bytes) -> Sequence[Event]:
        failed = array_failure(data)
        if failed is not None or event == "error":
            return self._fail(failed or read_event_failure(None))
        if self._finish:  # the answer is whole; what was cut is at most its usage
            return self._end()
        return self._fail(ErrorInfo("upstream", "the provider sent an event that is not a JSON object"))


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """A whole completion as events. See ``providers.neutral.codec.Codec.read_answer``."""
    try:
        chunk = decode(body, checked) if texts or len(body) < LONG else decode_unread(body)
    except NOT_JSON:
        if (failed := array_failure(body)) is not None:
            return (failed,)
        raise GatewayError("upstream", "the provider's answer is not a JSON object") from None
    if chunk.failure:
        return (read_event_failure(any_json(body)),)
    if not any(choice.index in (0, None) for choice in chunk.choices or ()):
        raise GatewayError("upstream", "the provider's answer has no choices")
    return ChatReader().whole(chunk, body)


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in an array; nothing for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []


def _thinking(value: Any) -> str:
    """The text of Mistral's ``thinking``: an array of text parts, at times a string."""
    return value if isinstance(value, str) else "".join(text_of(part.get("text")) for part in _objects(value))
