"""The texts of a complete response in the bytes that the client gets: of other endpoints, and of compactions."""

import contextlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Self

import attrs
import msgspec

from gateway.features.steps.json_texts import (
    Edit,
    KeyMasked,
    NotJson,
    document_text,
    edit_document,
    raw_bytes,
    raw_text,
    splice,
    without_surrogates,
)
from gateway.features.steps.masks import PassageEdit
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.tables import TextTable, answer_table_for
from gateway.http.offload import offload
from streams.sse import DONE, SSE, SseEvents
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON, any_json
from trigate.steps import PARTS, Part, Passage

_ECHOES: Final = ("logprobs", "words", "tokens")
"""Members that repeat the text in pieces: a masked response loses them."""

_CONTINUED: Final = re.compile(r"delta|^choices\[\d+\]\.text$")
"""Paths of text that the next event continues."""

_CHOICE: Final = re.compile(r"^choices\[(\d+)\]")


class AnswerTexts(RequestTexts):
    """The passages of a response or event in JSON. Media need no check, as in streams: nothing is ``unreadable``."""

    def __init__(self, table: TextTable, body: bytes, parts: Collection[str] = PARTS, most: int | None = None) -> None:
        """Read the texts of ``body``. Raises ``NotJson``, because invalid JSON could hide text."""
        if not has_more_elements(body, MAX_ELEMENTS):
            try:
                any_json(body)
            except NOT_JSON:
                raise NotJson("it cannot be decoded") from None
        super().__init__(table, body, parts, most)
        self.unreadable = {}

    @classmethod
    def of(cls, api: str, body: bytes, parts: Collection[str] = PARTS, most: int | None = None) -> Self:
        """Return the texts of ``body``, a response of ``api`` or of an endpoint. Raises ``NotJson``."""
        return cls(answer_table_for(api), body, parts, most)

    def replace(self, edits: Iterable[PassageEdit]) -> bytes:
        return without_echoes(super().replace(edits))


class PlainAnswer:
    """A response that is a text, such as a transcript, or sound, which has none. Bytes that are not UTF-8 stay
    unchanged.

    A text with quotes and escapes may be JSON that only some clients read. Steps see it without its escapes."""

    unreadable: Mapping[str, Part | None] = {}

    def __init__(self, body: bytes, *, is_sound: bool = False) -> None:
        self.body = body
        self.passages: Sequence[Passage] = ()
        self._has_escapes = b"\\" in body and b'"' in body
        if not is_sound:
            text = raw_text(body)
            text = document_text(text) if self._has_escapes else without_surrogates(text)
            self.passages = (Passage("input", "", text),)

    def is_latest(self, passage: Passage) -> bool:
        return True

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        spans = sorted((start, end, text) for _, start, end, text in edits)
        return await offload(len(self.body), lambda: type(self)(self._replace(spans)))

    def _replace(self, spans: Sequence[Edit]) -> bytes:
        if self._has_escapes:
            return edit_document(self.body, spans)
        return raw_bytes(splice(raw_text(self.body), spans))


@attrs.frozen(eq=False, repr=False)
class _SentEvent:
    """An event of a stream: its bytes with their framing, its name, and its texts. ``texts`` is ``None`` for data that
    is no JSON, which is a text as a whole."""

    raw: bytes
    name: str
    data: bytes
    texts: AnswerTexts | None
    passages: Sequence[Passage] = ()

    @classmethod
    def of(cls, endpoint: str, raw: bytes, name: str, data: bytes) -> Self:
        raw = SSE.without_remarks(raw, name, data)
        if data in (b"", DONE):
            return cls(raw, name, data, None)
        try:
            texts = AnswerTexts.of(endpoint, data)
        except NotJson:
            return cls(raw, name, data, None, (Passage("other", "", document_text(raw_text(data))),))
        return cls(raw, name, data, texts, texts.passages)

    def replace(self, edits: Sequence[PassageEdit]) -> bytes:
        """Return the bytes with each span replaced. Raises ``KeyMasked`` if the data is no JSON."""
        if self.texts is None:
            raise KeyMasked(edits[0][3])
        return SseEvents().event(self.name, self.texts.replace(edits))


class StreamAnswer:
    """The passages of a complete event stream. Strings that continue each other in several events, such as the text of
    one choice, are one passage. Comments are no part of ``body``, because no step sees them."""

    unreadable: Mapping[str, Part | None] = {}

    def __init__(self, endpoint: str, body: bytes) -> None:
        splitter = SSE.splitter(len(body) + 1)
        raws = splitter.feed(body)
        rest = splitter.close()
        parsed = ((raw, SSE.parse(raw)) for raw in (*raws, SSE.complete(rest) or rest))
        self._endpoint = endpoint
        self._events = [_SentEvent.of(endpoint, raw, *event) for raw, event in parsed if event is not None]
        self.body = b"".join([event.raw for event in self._events])
        pieces: dict[str, list[tuple[int, Passage]]] = {}
        for index, event in enumerate(self._events):
            for number, (key, one) in enumerate(zip(_keys(event), event.passages, strict=True)):
                pieces.setdefault(f"{index}.{number}" if key is None else key, []).append((index, one))
        self._pieces = {_join_pieces(key, found): found for key, found in pieces.items()}
        self._starts = {
            passage: list(accumulate((len(one.text) for _, one in found), initial=0))
            for passage, found in self._pieces.items()
        }
        self.passages: Sequence[Passage] = tuple(self._pieces)

    def is_latest(self, passage: Passage) -> bool:
        return True

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        return await offload(len(self.body), lambda: type(self)(self._endpoint, self._replace(edits)))

    def _replace(self, edits: Iterable[PassageEdit]) -> bytes:
        by_event: dict[int, list[PassageEdit]] = {}
        for edit in edits:
            for index, own in self._own_edits(*edit):
                by_event.setdefault(index, []).append(own)
        raws = (one.replace(by_event[at]) if at in by_event else one.raw for at, one in enumerate(self._events))
        return b"".join(raws)

    def _own_edits(self, passage: Passage, start: int, end: int, text: str) -> Iterator[tuple[int, PassageEdit]]:
        """Yield the edits of each event for one of a passage. The event in which the span begins has its text."""
        pieces, starts = self._pieces[passage], self._starts[passage]
        after = bisect_left(starts, max(end, start + 1), hi=len(pieces))
        for number in range(bisect_right(starts, start) - 1, after):
            (index, piece), at = pieces[number], starts[number]
            first, last = start - at, min(end - at, len(piece.text))
            if 0 <= first < len(piece.text):
                yield index, (piece, first, last, text)
            elif first < 0 < last:
                yield index, (piece, 0, last, "")


def _join_pieces(key: str, pieces: Sequence[tuple[int, Passage]]) -> Passage:
    """Return the passage of texts that continue each other."""
    first = pieces[0][1]
    return first if len(pieces) == 1 else attrs.evolve(first, path=key, text="".join([one.text for _, one in pieces]))


def _keys(event: _SentEvent) -> Iterator[str | None]:
    """Yield for each text of ``event`` the key under which other events continue it, ``None`` if they do not.

    The key is its path, with the index that the provider gives a choice instead of its position."""
    indexes: Sequence[Any] | None = None
    for path in [one.path for one in event.passages]:
        if _CONTINUED.search(path) is None:
            yield None
        elif (found := _CHOICE.match(path)) is None:
            yield path
        else:
            indexes = _choice_indexes(event.data) if indexes is None else indexes
            at = int(found[1])
            yield f"choices[{indexes[at] if at < len(indexes) else 0}]{path[found.end() :]}"


def _choice_indexes(data: bytes) -> Sequence[Any]:
    """Return the index that the provider gives each choice in an event."""
    try:
        return [one.get("index", 0) if isinstance(one, dict) else 0 for one in any_json(data)["choices"]]
    except (*NOT_JSON, LookupError, TypeError):
        return ()


def is_sound(endpoint: str, content_type: str) -> bool:
    """Return whether a response is spoken text, which no step can read."""
    kind = content_type.partition(";")[0].strip().lower()
    return endpoint == "speech" and not (SSE.matches_type(kind) or "json" in kind or kind.startswith("text/"))


def read_answer(endpoint: str, content_type: str, body: bytes) -> AnswerTexts | PlainAnswer | StreamAnswer:
    """Return the texts of a complete response."""
    if is_sound(endpoint, content_type):
        return PlainAnswer(body, is_sound=True)
    if SSE.matches_type(content_type):
        return StreamAnswer(endpoint, body)
    if body.lstrip()[:1] in (b"{", b"["):
        with contextlib.suppress(NotJson):
            return AnswerTexts.of(endpoint, body)
    return PlainAnswer(body)


def without_echoes(data: bytes) -> bytes:
    """Return ``data`` without the members that repeat its text in pieces."""
    if not any(b'"%b"' % name.encode() in data for name in _ECHOES):
        return data
    try:
        return msgspec.json.encode(_drop_echoes(any_json(data)))
    except NOT_JSON:
        raise KeyMasked("") from None


def _drop_echoes(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: None if name == "logprobs" else _drop_echoes(inner)
            for name, inner in value.items()
            if name == "logprobs" or name not in _ECHOES
        }
    return [_drop_echoes(one) for one in value] if isinstance(value, list) else value
