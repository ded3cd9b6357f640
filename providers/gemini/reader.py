"""Readers of a Gemini provider's answers: streams (``GeminiReader``) and whole answers (``read_answer``).

A stream consists of unnamed server-sent events, each a ``GenerateContentResponse``, without a terminator. A
``finishReason`` does not end it: several chunks may have one, and an error may follow (recorded). It is complete if the
body ends after a candidate with a reason. ``promptTokenCount`` includes tokens read from a cache and excludes tokens
added by Google's own tools; ``candidatesTokenCount`` excludes thoughts (BerriAI/litellm#10667). Source:
``streamGenerateContent``, ``UsageMetadata`` and ``LogprobsResult`` of the Gemini API.

Citations have a URL and positions in characters, while Gemini counts positions in bytes of UTF-8
(``GroundingMetadata`` and ``CitationMetadata``).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap, zip_longest
from typing import Any, Final, TypeAlias

from providers.errors.failures import EARLY, NO_JSON, array_failure, read_event_failure
from providers.gemini.errors import (
    CONTINUED,
    answer_end,
    blocked_end,
    finish_reason,
    unusable_answer,
)
from providers.gemini.reading import MAX_CITED, MAX_SCANNED, UnfinishedAnswer, part_events
from providers.gemini.usage import Counts
from providers.neutral.bounds import ANSWER, ID, Budget, check_length
from providers.neutral.other_choices import OtherChoices
from providers.neutral.searches import GROUNDING, FoundPage, FoundPages, search_items
from providers.neutral.shapes import Shape, check_answer
from providers.neutral.values import as_object, as_string, bounded_objects, character_positions
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    TextDelta,
    Usage,
    change_event,
)
from streams.sse import DONE
from streams.surrogates import NOT_JSON, any_json

_Source: TypeAlias = tuple[str, str, int | None, int | None]
"""The URL and title of a source, and the start and end of the cited text in bytes."""


def citation_events(answer: UnfinishedAnswer, candidate: Mapping[str, Any]) -> list[Event]:
    """Return the events for new citations in ``candidate`` of the open text."""
    if answer.text_kind != "text" or not answer.holds_content:
        return []
    if "groundingMetadata" not in candidate and "citationMetadata" not in candidate:
        return []
    sources = [
        *_grounding_sources(candidate.get("groundingMetadata")),
        *_recited_sources(candidate.get("citationMetadata")),
    ]
    if not sources:
        return []
    places = _character_positions(answer, sources)
    events: list[Event] = []
    for url, title, start, end in sources:
        if (url, start, end) in answer.seen_citations:
            continue
        answer.places.spend(ID + len(url), "citations")
        answer.seen_citations.add((url, start, end))
        item: dict[str, Any] = {"url": url, "title": title}
        if end == 0:  # a page of the list, which no text cites
            item |= {"start_index": 0, "end_index": 0}
        elif end in places:
            item |= {"start_index": places.get(start or 0, 0), "end_index": places[end]}
        events.append(Citation(answer.number, "gemini", item))
    return events


def _grounding_sources(metadata: Any) -> Iterator[_Source]:
    if not isinstance(metadata, dict):
        return
    chunks = bounded_objects(metadata.get("groundingChunks"))  # each a page, a document or a place on a map
    pages = [next((value for value in chunk.values() if isinstance(value, dict)), {}) for chunk in chunks]
    sources = [(uri, as_string(page.get("title"))) if (uri := as_string(page.get("uri"))) else None for page in pages]
    supports = bounded_objects(metadata.get("groundingSupports"))
    for support in supports:
        segment, numbers = support.get("segment"), support.get("groundingChunkIndices")
        start, end = _byte_range(segment if isinstance(segment, dict) else {})
        for number in check_length(numbers, "citations") if isinstance(numbers, list) else ():
            if type(number) is int and 0 <= number < len(sources) and (source := sources[number]) is not None:
                yield (*source, start, end)
    if not supports:
        yield from ((*source, 0, 0) for source in sources if source is not None)


def _recited_sources(metadata: Any) -> Iterator[_Source]:
    """Yield the sources that the model has recited."""
    for one in bounded_objects(as_object(metadata).get("citations")):
        if uri := as_string(one.get("uri")):
            yield (uri, as_string(one.get("title")), *_byte_range(one))


def _byte_range(holder: Mapping[str, Any]) -> tuple[int | None, int | None]:
    start, end = holder.get("startIndex", 0), holder.get("endIndex")
    return (start, end) if type(start) is int and type(end) is int and 0 <= start < end else (None, None)


def _character_positions(answer: UnfinishedAnswer, sources: Iterable[_Source]) -> dict[int | None, int]:
    """Return the character positions by the byte positions of ``sources`` in the open text."""
    answer.scanned += answer.text_size
    if answer.text_size > MAX_CITED or answer.scanned > MAX_SCANNED:
        return {}
    wanted = {place for source in sources for place in (source[2] or 0, source[3]) if place is not None}
    return character_positions(answer.text, wanted)


def token_logprobs(result: Any) -> list[dict[str, Any]] | None:
    """Return the tokens in ``logprobsResult``, or ``None``."""
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(chosen, list) or not chosen:
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    return [
        {
            **_token_object(one),
            "top_logprobs": list(map(_token_object, bounded_objects(as_object(top).get("candidates")))),
        }
        for one, top in zip_longest(chosen, tops[: len(chosen)])
        if isinstance(one, dict)
    ]


def _token_object(one: Mapping[str, Any]) -> dict[str, Any]:
    token, value = one.get("token"), one.get("logProbability", 0.0)
    text = token if isinstance(token, str) else ""
    return {"token": text, "logprob": value, "bytes": list(text.encode("utf-8", "surrogatepass"))}


class ChunkReader:
    """A reader of the chunks of one answer. It must not be used after it has returned an ``ErrorInfo``."""

    __slots__ = (
        "_answer",
        "_blocked_end",
        "_counted",
        "_counts",
        "_failed",
        "_has_started",
        "_is_continued",
        "_model",
        "_others",
        "_pages",
        "_reason",
    )

    def __init__(self, content_limit: int, places: Budget | None = None) -> None:
        self._answer = UnfinishedAnswer(content_limit, places)
        self._counts = Counts()
        self._has_started = False
        self._counted = False
        self._model = ""
        self._failed: ErrorInfo | None = None  # the failure that a `finishReason` means
        self._reason: str | None = None  # the last `finishReason`
        self._is_continued = False  # the provider would continue the answer after another request
        self._blocked_end: AnswerEnd | None = None  # the end for a blocked prompt
        self._pages: dict[str, str] = {}  # titles of found pages by URL
        self._others: OtherChoices[ChunkReader] = OtherChoices(partial(ChunkReader, 0, self._answer.places))

    def chunk_events(self, chunk: Mapping[str, Any]) -> list[Event]:
        if chunk.get("error"):
            return self.failure_events(read_event_failure(chunk))
        self._counts.add(chunk.get("usageMetadata"))
        feedback = as_object(chunk.get("promptFeedback"))
        if blocked := feedback.get("blockReason"):
            self._blocked_end = blocked_end(str(blocked), as_string(feedback.get("blockReasonMessage")))
        choices = bounded_objects(chunk.get("candidates"))  # the gateway requests and reads only the first one
        if choices and not choices[0].get("index"):
            candidate = choices[0]
        else:
            candidate = next((one for one in choices if not one.get("index")), {})
        for other in choices:
            if index := other.get("index"):
                failure = self._others.read(index, partial(ChunkReader._read_candidate, chunk=chunk, candidate=other))
                if failure is not None:
                    return self.failure_events(failure)
        return self._read_candidate(chunk, candidate)

    def _read_candidate(self, chunk: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[Event]:
        """Return the events of ``candidate``, the one of this reader in ``chunk``."""
        word = finish_reason(candidate.get("finishReason"))
        if word is not None and self._failed is None:
            self._failed = unusable_answer(word, as_string(candidate.get("finishMessage")))
        if self._failed is not None:  # its parts are unusable, but counts may follow
            return self._begin(chunk)
        if candidate.get("continuationToken"):
            self._is_continued = True
            word = word or CONTINUED
        self._reason = word or self._reason
        try:
            return [*self._begin(chunk), *self._candidate_events(candidate)]
        except GatewayError as error:
            return self.failure_events(error.info)

    def end_events(self, default: str | None = None, missing: ErrorInfo = EARLY) -> list[Event]:
        """Return the events for the end of the body.

        Without a reason from the provider, ``default`` is the reason, and without both ``missing`` is the failure.
        """
        if self._failed is not None:
            return self.failure_events(self._failed)
        end, reason = self._blocked_end, self._reason
        if reason is None and end is None:
            reason = default
        if (failure := self._others.end(lambda other: other.end_events(default, missing))) is not None:
            return self.failure_events(failure)
        if reason is not None:
            end = answer_end(reason, self._is_continued, bool(self._answer.call_ids))
        if end is None:
            return self.failure_events(missing)
        return [*self._answer.end_block(), *self._search_events(), *self._usage_events(), end]

    def _search_events(self) -> list[Event]:
        """Return the searches of Google, which no part of an answer reports."""
        if not (queries := self._counts.queries):
            return []
        found = FoundPages("", queries[0], tuple(starmap(FoundPage, self._pages.items())), others=tuple(queries[1:]))
        return [NativeItem(self._answer.new_block(), "gemini", GROUNDING, one) for one in search_items("gemini", found)]

    def failure_events(self, error: ErrorInfo) -> list[Event]:
        """Return the failure of the answer, preceded by its usage."""
        return [*(self._usage_events() if self._has_started else ()), error]

    def has_finished(self) -> bool:
        """Return whether a reason for the end of each candidate has arrived."""
        has_reason = self._reason is not None or self._blocked_end is not None or self._failed is not None
        return has_reason and self._others.have_finished(ChunkReader.has_finished)

    def unsent_usage(self) -> Usage | None:
        """Return the usage so far: only that of the first chunk, or of the last one, is an event."""
        return self._counts.usage() if self._has_started else None

    def _begin(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Return the events for the start of the answer and the first count of its prompt."""
        events: list[Event] = []
        if not self._has_started:
            self._has_started = True
            self._model = as_string(chunk.get("modelVersion"))
            events.append(AnswerStart(as_string(chunk.get("responseId")), self._model))
        if not self._counted and self._counts.has_prompt:
            self._counted = True
            events += self._usage_events()
        return events

    def _candidate_events(self, candidate: Mapping[str, Any]) -> list[Event]:
        events: list[Event] = []
        for part in bounded_objects(as_object(candidate.get("content")).get("parts")):
            events += part_events(self._answer, part)
        result = candidate.get("logprobsResult")
        if result is not None and (tokens := token_logprobs(result)) is not None:
            events = _with_logprobs(events, tokens)
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict):
            self._counts.record_grounding(grounding, self._model)
            self._record_pages(grounding)
        return [*events, *citation_events(self._answer, candidate)]

    def _record_pages(self, grounding: Mapping[str, Any]) -> None:
        for chunk in bounded_objects(grounding.get("groundingChunks")):
            page = as_object(chunk.get("web"))
            if (url := as_string(page.get("uri"))) and url not in self._pages:
                title = as_string(page.get("title"))
                self._answer.places.spend(ID + len(url) + len(title), "pages")
                self._pages[url] = title

    def _usage_events(self) -> list[Event]:
        usage = self._counts.usage()
        return [] if usage is None else [usage]


def _with_logprobs(events: list[Event], tokens: list[dict[str, Any]]) -> list[Event]:
    """Return ``events`` with ``tokens`` added to the last piece of text."""
    for i, event in reversed(list(enumerate(events))):
        if isinstance(event, TextDelta):
            return [*events[:i], change_event(event, logprobs=tokens), *events[i + 1 :]]
    return events


_PART: Final[Shape] = {
    "text": str, "thoughtSignature": str, "functionCall": {"name": str, "id": str}, "inlineData": dict,
    "executableCode": dict, "codeExecutionResult": dict, "toolCall": dict, "toolResponse": dict,
}  # fmt: skip
_SHAPE: Final[Shape] = {
    "candidates": [{"content": {"parts": [_PART]}, "finishMessage": str}],
    "promptFeedback": dict,
    "responseId": str,
    "modelVersion": str,
}
_NO_ANSWER: Final = ErrorInfo(
    "upstream", "the provider's response has neither content nor a finish reason", reason="bad_answer"
)
_KNOWN: Final = ("candidates", "promptFeedback", "usageMetadata", "error")


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return a whole answer as events. See ``Codec.read_answer``.

    An array of answers is read as the chunks of a stream.
    """
    try:
        value = any_json(body)
    except NOT_JSON:
        raise _no_answer_error() from None
    chunks = value if isinstance(value, list) else [value]
    if not chunks or not all(isinstance(one, Mapping) and any(name in one for name in _KNOWN) for one in chunks):
        raise _no_answer_error()
    reader, events = ChunkReader(ANSWER), list[Event]()
    for chunk in chunks:
        if checked:
            check_answer(chunk, _SHAPE)
        events += reader.chunk_events(chunk)
        if events and isinstance(events[-1], ErrorInfo):
            return events
    if value is chunks:
        return [*events, *reader.end_events()]
    has_content = any(not isinstance(event, AnswerStart | Usage) for event in events)
    return [*events, *reader.end_events("STOP" if has_content else None, _NO_ANSWER)]


def _no_answer_error() -> GatewayError:
    return GatewayError("upstream", "the provider's response is not a Gemini response", reason="bad_answer")


class GeminiReader:
    """A ``Reader`` of one Gemini stream."""

    def __init__(self, content_limit: int = ANSWER) -> None:
        self._chunks = ChunkReader(content_limit)
        self._has_ended = False

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        if self._has_ended:
            return ()
        events = self._read_chunk(data)
        self._has_ended = bool(events) and isinstance(events[-1], ErrorInfo)
        return events

    def close(self) -> Sequence[Event]:
        if self._has_ended:
            return ()
        self._has_ended = True
        return self._chunks.end_events()

    def unsent_usage(self) -> Usage | None:
        return self._chunks.unsent_usage()

    def has_finished(self) -> bool:
        return not self._has_ended and self._chunks.has_finished()

    def _read_chunk(self, data: bytes) -> Sequence[Event]:
        try:
            value = any_json(data)
        except NOT_JSON:
            return () if data.strip() == DONE else self._chunks.failure_events(NO_JSON)
        if isinstance(value, dict):
            try:
                return self._chunks.chunk_events(value)
            except GatewayError as error:
                return self._chunks.failure_events(error.info)
        listed = array_failure(data)
        return () if listed is None else self._chunks.failure_events(listed)


READER: Final = GeminiReader
