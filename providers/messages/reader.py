"""Reader of a Messages provider's stream.

Grammar: ``message_start (block)* message_delta message_stop``, with ``ping`` anywhere and ``block = content_block_start
content_block_delta* content_block_stop``. Source: the stream types of the anthropic package.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from providers.errors.failures import EARLY, NO_JSON, array_failure, read_event_failure
from providers.messages.answer import read_end, read_failure
from providers.messages.reading import (
    OpenAnswer,
    continue_block,
    decode,
    finish_all,
    read_whole_blocks,
    start_block,
    stop_block,
)
from providers.messages.usage import Counts
from providers.neutral.bounds import ANSWER, AnswerTooLarge
from providers.neutral.codec import ANSWERING, ENDED, WAITING, StagedReader
from providers.neutral.ends import NO_CALL
from providers.neutral.values import as_string
from streams.events import AnswerStart, Event, Usage
from streams.surrogates import NOT_JSON, any_json

_CONTENT: Mapping[str, Callable[[OpenAnswer, Mapping[str, Any]], Sequence[Event]]] = {
    "content_block_start": start_block,
    "content_block_delta": continue_block,
    "content_block_stop": stop_block,
}
"""The steps for events of a block, by event type."""


class MessagesReader(StagedReader):
    """A ``Reader`` of one Messages stream."""

    def __init__(self, content_limit: int = ANSWER) -> None:
        self._answer = OpenAnswer(content_limit)
        self._counts = Counts()
        self._reason: str | None = None
        self._stop_sequence: str | None = None
        self._details: Any = None
        self._has_unsent_usage = False

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        try:
            if event == "content_block_delta" and (events := self._read_text_delta(data)) is not None:
                return events if self._stage is ANSWERING else self.start_with(events)
        except AnswerTooLarge as error:
            return self.fail(error.info)
        try:
            value = any_json(data)
        except NOT_JSON:
            return () if data.strip() == b"[DONE]" else self.fail(NO_JSON)
        if not isinstance(value, dict):
            listed = array_failure(data)
            return () if listed is None else self.fail(listed)
        self._answer.arriving = data
        try:
            return self._read_known_event(as_string(value.get("type")) or event, value)
        except AnswerTooLarge as error:
            return self.fail(error.info)

    def has_finished(self) -> bool:
        return self._reason is not None and self._stage is not ENDED

    def close(self) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        if self._reason is not None:  # only the last event is missing, which carries no data
            return self._end_events()
        return self.fail(EARLY)

    def _read_text_delta(self, data: bytes) -> Sequence[Event] | None:
        """Return the events of a text delta; ``None`` for other events, which need full decoding."""
        try:
            value = decode(data)
        except NOT_JSON:
            return None
        delta = value.delta
        block = self._answer.blocks.get(value.index)
        if block is None or delta is None or value.type != "content_block_delta":
            return None
        row = block.kind.pieces.get(delta.type)
        if row is None:
            return None
        member, read_piece = row
        return read_piece(self._answer, block, getattr(delta, member) or "")

    def _read_known_event(self, type: str, value: Mapping[str, Any]) -> Sequence[Event]:
        if (read_block := _CONTENT.get(type)) is not None:
            return self.start_with(read_block(self._answer, value))
        if (step := _STEPS.get(type)) is not None:
            return step(self, value)
        if type == "error" or value.get("error"):
            return self.fail(read_event_failure(value))
        return ()

    # The beginning

    def _read_message_start(self, value: Mapping[str, Any]) -> Sequence[Event]:
        message = value.get("message")
        if not isinstance(message, dict):
            return ()
        self._counts.add(message.get("usage"), begun=True)
        if message.get("diagnostics"):
            self._counts.add_diagnosis(message)
        if self._stage is not WAITING:  # some servers repeat it (BerriAI/litellm#32357)
            return ()
        self._stage = ANSWERING
        start = AnswerStart(as_string(message.get("id")), as_string(message.get("model")))
        usage = self._counts.usage()
        begun = () if usage is None else (usage,)
        return [start, *begun, *read_whole_blocks(self._answer, message.get("content"))]

    # The end

    def _read_message_delta(self, value: Mapping[str, Any]) -> Sequence[Event]:
        self._counts.add(value.get("usage"))
        self._has_unsent_usage = True
        delta = value.get("delta")
        if isinstance(delta, dict):
            self._reason = as_string(delta.get("stop_reason")) or self._reason
            self._stop_sequence = as_string(delta.get("stop_sequence")) or self._stop_sequence
            self._details = delta.get("stop_details") or self._details
            if (error := read_failure(self._reason)) is not None:
                return self.fail(error)
        return ()

    def _end_events(self) -> Sequence[Event]:
        end = NO_CALL if self._answer.lacks_call else read_end(self._reason, self._stop_sequence, self._details)
        usage = self._counts.usage(has_ended=True)
        events = self.start_with([*finish_all(self._answer), *(() if usage is None else (usage,)), end])
        self._stage = ENDED
        return events

    def unsent_usage(self) -> Usage | None:
        return self._counts.usage() if self._has_unsent_usage else None


_STEPS: Mapping[str, Callable[[MessagesReader, Mapping[str, Any]], Sequence[Event]]] = {
    "message_start": MessagesReader._read_message_start,
    "message_delta": MessagesReader._read_message_delta,
    "message_stop": lambda reader, value: reader._end_events(),
}
"""The steps for events of the whole answer, by event type."""


READER: Final = MessagesReader
