"""The common part of the writers of APIs whose clients accept a block only after the end of the last one."""

from abc import ABC, abstractmethod

from providers.neutral.arguments import StreamedInput
from providers.neutral.block_order import BlockEvent, BlockOrder
from providers.neutral.codec import ANSWERING, ENDED, WAITING, AnswerStage, Reply
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

_PIECES = (ReasoningDelta, ToolCallDelta)  # the most frequent events besides texts


class BlockWriter(ABC):
    """A ``Writer`` that sends blocks strictly one after another.

    Events of a later block wait until the open one has ended, because clients merge interleaved calls
    (QwenLM/Qwen-Agent#943).
    """

    def __init__(self, reply: Reply) -> None:
        self.issuer, self.input_estimate = reply.issuer, reply.input_estimate
        self.characters = 0  # that the model wrote, for an estimated usage
        self.order = BlockOrder()
        self.input: StreamedInput | None = None  # the arguments of the open call
        self.usage: Usage | None = None
        self.opening = AnswerStart()  # the provider's id and model
        self._stage: AnswerStage = WAITING
        self.calls_tools = False

    def send_any(self, event: Event) -> bytes:
        """Do what ``send`` does, which first looks for the most frequent event: more text of the open block."""
        if self._stage is ENDED:
            return b""
        match event:
            case AnswerStart():
                self.opening = event  # held back, to include the provider's first usage
                return b""
            case Usage():
                self.usage = event
                return b""
            case AnswerEnd():
                rest = [self._start_once(), *map(self.write_event, self.order.release_all())]
                end = self.end_answer(event)
                self._stage = ENDED
                return b"".join([*rest, end])
            case ErrorInfo():
                self._stage = ENDED
                return self.fail(event)
            case _:
                if event.block == self.order.open and type(event) in _PIECES:
                    return self.write_event(event)
                return self._start_once() + b"".join(map(self.write_event, self.order.add(event)))

    def _start_once(self) -> bytes:
        if self._stage is not WAITING:
            return b""
        self._stage = ANSWERING
        return self.begin_answer()

    def write_event(self, event: BlockEvent) -> bytes:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                self.characters += len(text)
                return self.write_text(text)
            case ReasoningDelta(text=text):
                self.characters += len(text)
                return self.write_thought(text)
            case ToolCallDelta(text=text):
                self.characters += len(text)
                if self.input is not None:
                    text = self.input.add(text)
                    self.input = None if self.input.passes else self.input
                return self.write_arguments(text) if text else b""
            case ToolCallStart():
                self.calls_tools = True
                self.input = StreamedInput(event.kind)
                return self.start_call(event)
            case ReasoningState():
                return self.write_state(event)
            case Citation():
                return self.cite(event)
            case NativeItem():
                return self.write_native(event)
            case BlockEnd():
                return self.end_block()

    @abstractmethod
    def begin_answer(self) -> bytes: ...

    @abstractmethod
    def end_answer(self, end: AnswerEnd) -> bytes: ...

    @abstractmethod
    def fail(self, error: ErrorInfo) -> bytes: ...

    @abstractmethod
    def write_text(self, text: str) -> bytes: ...

    @abstractmethod
    def write_thought(self, text: str) -> bytes: ...

    @abstractmethod
    def write_state(self, state: ReasoningState) -> bytes: ...

    @abstractmethod
    def start_call(self, call: ToolCallStart) -> bytes: ...

    @abstractmethod
    def write_arguments(self, text: str) -> bytes: ...

    @abstractmethod
    def cite(self, citation: Citation) -> bytes: ...

    @abstractmethod
    def write_native(self, native: NativeItem) -> bytes: ...

    @abstractmethod
    def end_block(self) -> bytes: ...
