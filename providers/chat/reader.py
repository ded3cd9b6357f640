"""Readers of Chat Completions answers: streams (``ChatReader``) and whole bodies (``read_answer``).

A whole body is read as a stream of one chunk. Only choice 0 is read, because the gateway's own requests never ask for
more.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs

from providers.chat.chunks import Choice, Chunk, decode, decode_text, decode_textless
from providers.chat.reading import OpenAnswer, add_delta, add_pages, start_nameless_calls
from providers.errors.failures import (
    EARLY,
    NO_OBJECT,
    NOT_OBJECT,
    array_failure,
    error_or_raise,
    load_answer,
    read_event_failure,
)
from providers.neutral.bounds import ANSWER, AnswerTooLarge, Budget, check_length
from providers.neutral.codec import ANSWERING, ENDED, WAITING, StagedReader, corrected_reason
from providers.neutral.ends import ENDS, Failed, Meaning, end_failure
from providers.neutral.moderation import moderation_from_chat
from providers.neutral.other_choices import OtherChoices
from providers.neutral.token_usage import OLDER, read_tokens
from providers.neutral.values import as_object, as_string
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, BlockEnd, ErrorInfo, Event, TextDelta, Usage
from streams.surrogates import NOT_JSON, any_json

ENDS_OF_CHAT: Final = ENDS["chat"]


def finish_word(reason: str) -> str:
    """Return the first word of ``reason`` in lower case.

    Google's endpoint appends details (``content_filter: PROHIBITED_CONTENT``, ``function_call_filter:
    MALFORMED_FUNCTION_CALL``).
    """
    return reason.lower().partition(":")[0]


def stop_string(value: Any) -> str | None:
    """Return the stop string that matched, or None for the id of a token or an end's word."""
    return value if isinstance(value, str) and value not in ENDS_OF_CHAT else None


def meaning_of(word: str) -> Meaning | None:
    """Return the meaning of the finish reason ``word``, ``None`` if it is unknown."""
    meaning = ENDS_OF_CHAT.get(word)
    return ENDS_OF_CHAT.get(finish_word(word)) if meaning is None else meaning


def read_failure(word: str) -> ErrorInfo | None:
    """Return the failure that the finish reason ``word`` means, or None."""
    meaning = meaning_of(word)
    return end_failure(meaning, word, finish_word(word)) if isinstance(meaning, Failed) else None


def read_end(word: str, stopped_by: str | None, called: bool, moderation: Any = None) -> AnswerEnd:
    """Return the end of an answer; ``word`` is "" if the provider gave no reason."""
    checked = None if moderation is None else moderation_from_chat(moderation)
    if not word:  # Snowflake only sends [DONE]
        return AnswerEnd(corrected_reason("stop", called), moderation=checked, is_known=False)
    meaning = meaning_of(word)
    if meaning is None or isinstance(meaning, Failed):
        return AnswerEnd("stop", word, moderation=checked, is_known=False)
    if meaning == "stop" and stopped_by is not None:
        return AnswerEnd("stop_sequence", word, stopped_by, moderation=checked)
    return AnswerEnd(meaning, word, moderation=checked)


LAZY_FROM = 16 * 1024  # bytes from which a whole answer's text stays undecoded if unused


TEXT_TRIES: Final = 8
"""The number of events after text, with more than text or without any, until the reader stops expecting text alone.
Some servers send their usage with each event."""


class ChatReader(StagedReader):
    """A reader of a provider's Chat stream. See ``providers.neutral.codec.Reader``.

    ``AnswerEnd`` waits for ``[DONE]`` or the end of the stream, because usage follows ``finish_reason``.
    """

    def __init__(self, content_limit: int = ANSWER, places: Budget | None = None) -> None:
        self._answer = OpenAnswer(content_limit, places)
        self._usage: Usage | None = None
        self._finish = ""
        self._stopped_by: str | None = None
        self._moderation: Any = None
        self._pages: Any = None
        self._text_tries = TEXT_TRIES
        self._has_failed = False
        self._early = EARLY
        self._others: OtherChoices[ChatReader] = OtherChoices(partial(ChatReader, 0, self._answer.places))

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            self._read_late(data)
            return ()
        answer = self._answer
        block = answer.block
        if (
            block is not None
            and answer.speech is TextDelta
            and self._text_tries
            and not (event or self._finish or answer.logprobs)
        ):
            try:
                return (TextDelta(block, decode_text(data)),)
            except NOT_JSON:
                self._text_tries -= 1
        if data.startswith(b"[DONE]"):
            may_lack_reason = self._stage is ANSWERING and self._early is EARLY
            if not self._finish and (not may_lack_reason or self._answer.calls.is_incomplete):
                return self._fail(self._early)
            return self._end(self._others.end(_end_by_mark))
        try:
            chunk = decode(data)
        except NOT_JSON:
            return self._read_malformed(event, data)
        if (counts := chunk.counts) is not None:
            self._read_usage(counts, chunk.service_tier)
        if event == "error" or chunk.is_failure:
            return self._fail(read_event_failure(any_json(data)))
        if chunk.choices is None and counts is None and self._stage is ANSWERING:
            self._note_unknown(any_json(data))
        self._answer.arriving = data
        try:
            return self._read(chunk)
        except AnswerTooLarge as error:
            return self._fail(error.info)

    def close(self) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        return self._end(self._others.end(ChatReader.close)) if self._finish else self._fail(self._early)

    def _note_unknown(self, value: Any) -> None:
        """Note an event without choices as the failure of an answer that ends without a finish reason.

        Servers have other forms of errors than those of ``is_failure``, and the mark of the end follows them, too."""
        if value and as_object(value).get("type") != "ping":
            self._early = read_event_failure(value)

    def read_whole(self, chunk: Chunk) -> Sequence[Event]:
        """Return all events of an answer that arrived as one chunk."""
        self._answer.calls.is_whole = True
        for choice in chunk.choices or ():
            choice.delta = choice.message or choice.delta
        if (counts := chunk.counts) is not None:
            self._read_usage(counts, chunk.service_tier)
        out = self._read(chunk)
        return out if self._stage is ENDED else [*out, *self._end()]

    def _read(self, chunk: Chunk) -> Sequence[Event]:
        out: list[Event] = []
        if chunk.moderation is not None:
            self._moderation = chunk.moderation
        if chunk.search_results:
            self._pages = chunk.search_results
        choices = chunk.choices or ()
        if len(choices) > 1:
            check_length(choices, "choices")
        for choice in choices:
            if choice.index in (0, None):
                if self._stage is ANSWERING and self._answer.calls.is_whole:  # another item of the answer
                    self._answer.close_block(out)
                error = self._read_choice(chunk, choice, out)
            else:
                error = self._others.read(choice.index, partial(ChatReader._read_other, chunk=chunk, choice=choice))
            if error is not None:
                return [*out, *self._fail(error)]
        return out

    def _read_choice(self, chunk: Chunk, choice: Choice, out: list[Event]) -> ErrorInfo | None:
        """Add the events of ``choice`` in ``chunk`` to ``out``, and return its failure."""
        if self._stage is WAITING:  # Azure's preamble, without a choice, has neither id nor model
            self._stage = ANSWERING
            created = chunk.created if type(chunk.created) is int else None
            out.append(AnswerStart(as_string(chunk.id), as_string(chunk.model), created))
        add_delta(self._answer, choice, out)
        if isinstance(choice.finish_reason, str) and choice.finish_reason:
            self._finish = choice.finish_reason
            self._stopped_by = stop_string(choice.stop_reason) or stop_string(choice.matched_stop)
        if choice.error and not isinstance(meaning_of(self._finish), str):
            return read_event_failure({"error": choice.error})
        return read_failure(self._finish) if self._finish else None

    def _read_other(self, chunk: Chunk, choice: Choice) -> Sequence[Event]:
        """Return the events of ``choice``, which is not the first one of ``chunk`` and the only one of this reader."""
        if self._stage is ENDED:
            return ()
        out: list[Event] = []
        error = self._read_choice(chunk, choice, out)
        return out if error is None else [*out, error]

    def _read_late(self, data: bytes) -> None:
        """Read the usage in a chunk after a failure: it also follows a ``finish_reason`` that means one."""
        if not self._has_failed:
            return
        try:
            chunk = decode(data)
        except NOT_JSON:  # such as [DONE]
            return
        if (counts := chunk.counts) is not None:
            self._read_usage(counts, chunk.service_tier)

    def _read_usage(self, counts: Mapping[str, Any], tier: Any) -> None:
        """Read the usage of a chunk, unless it counts nothing after another one has."""
        found = read_tokens(counts, OLDER, tier=tier)
        if self._usage is None or (found is not None and (found.prompt or found.output)):
            self._usage = found

    def has_finished(self) -> bool:
        return bool(self._finish) and self._stage is not ENDED and self._others.have_finished(ChatReader.has_finished)

    def unsent_usage(self) -> Usage | None:
        # A cost before the end is not final: Perplexity reports 0 until its last chunk.
        return self._usage if self._usage is None or self._finish else attrs.evolve(self._usage, reported_nanos=None)

    def _end(self, failure: ErrorInfo | None = None) -> Sequence[Event]:
        """Return the events at the end of the answer, or ``failure`` of another choice."""
        if failure is not None:
            return self._fail(failure)
        out: list[Event] = []
        if self._pages is not None and self._answer.holds_content:
            add_pages(self._answer, self._pages, out)
        self._answer.close_block(out)
        has_called = meaning_of(self._finish) == "tool_calls"
        if self._answer.calls:
            start_nameless_calls(self._answer, out, has_called=has_called)
        out.extend(map(BlockEnd, self._answer.tools))
        if self._usage is not None:
            out.append(self._usage)
        self._stage = ENDED
        out.append(read_end(self._finish, self._stopped_by, bool(self._answer.tools), self._moderation))
        return out

    def _fail(self, error: ErrorInfo) -> Sequence[Event]:
        self._stage, self._has_failed = ENDED, True
        if self._usage is None:
            return (error,)
        # A cost before the end is not final: Perplexity reports 0 until its last chunk.
        return (attrs.evolve(self._usage, reported_nanos=None), error)

    def _read_malformed(self, event: str, data: bytes) -> Sequence[Event]:
        error = array_failure(data)
        if error is not None or event == "error":
            return self._fail(error or read_event_failure(None))
        if self._finish:  # the answer is complete except perhaps for its usage
            return self._end(self._others.end(ChatReader.close))
        return self._fail(NO_OBJECT)


def _end_by_mark(reader: ChatReader) -> Sequence[Event]:
    return reader.read_event("", b"[DONE]")


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return a whole completion as events. See ``providers.neutral.codec.Codec.read_answer``."""
    try:
        chunk = decode(body, checked) if texts or len(body) < LAZY_FROM else decode_textless(body)
    except NOT_JSON:
        if (error := array_failure(body)) is not None:
            return (error,)
        raise GatewayError.of(NOT_OBJECT) from None
    if chunk.is_failure:
        return (read_event_failure(load_answer(body)),)
    if not [choice for choice in chunk.choices or () if choice.index in (0, None)]:
        return (error_or_raise(load_answer(body), "the provider's answer has no choices"),)
    return ChatReader().read_whole(chunk)


READER: Final = ChatReader
