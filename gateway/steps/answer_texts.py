"""The texts of a response to an endpoint other than conversations, in the bytes that the client gets."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import attrs
import msgspec

from gateway.steps.json_texts import KeyMasked, NotJson, splice
from gateway.steps.request_texts import PassageEdit, RequestTexts
from gateway.steps.tables import answer_table_for
from streams.sse import SSE, SseEvents
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON, any_json
from trigate.steps import Passage

_DELTA: Final = re.compile(r"delta|^choices\[\d+\]\.text$")
"""Paths of text that the next event continues."""

_CHOICE: Final = re.compile(r"^choices\[(\d+)\]")
_ECHOES: Final = ("logprobs", "words", "tokens")
"""Members that repeat the text in pieces: a masked response loses them."""


class AnswerTexts(Protocol):
    """The texts of a complete response."""

    @property
    def passages(self) -> Sequence[Passage]: ...

    def replace(self, edits: Sequence[PassageEdit]) -> bytes:
        """Return the response with each span replaced. Raises ``KeyMasked`` for a mask that it cannot express."""
        ...


class JsonAnswer:
    """A response in JSON. Raises ``NotJson`` for other bytes."""

    def __init__(self, endpoint: str, body: bytes) -> None:
        self._texts = _read_json(endpoint, body)
        self.passages = self._texts.passages

    def replace(self, edits: Sequence[PassageEdit]) -> bytes:
        return _without_echoes(self._texts.replace(edits))


class PlainAnswer:
    """A response that is a text, such as a transcript. Bytes that are not UTF-8 stay unchanged."""

    def __init__(self, body: bytes) -> None:
        self._text = body.decode("utf-8", "surrogateescape")
        shown = "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in self._text)
        self.passages = (Passage("input", "", shown),)

    def replace(self, edits: Sequence[PassageEdit]) -> bytes:
        spans = sorted((start, end, text) for _, start, end, text in edits)
        return splice(self._text, spans).encode("utf-8", "surrogateescape")


class EventsAnswer:
    """A response that is an event stream. Texts that continue each other are one passage."""

    def __init__(self, endpoint: str, body: bytes, event_limit: int) -> None:
        self._events = list(_split(body, event_limit))
        self._texts: list[RequestTexts | None] = []
        self._pieces: dict[Passage, list[tuple[int, Passage]]] = {}
        joined: dict[str, list[tuple[int, Passage]]] = {}
        for at, raw in enumerate(self._events):
            for one, key in self._read(endpoint, at, raw):
                joined.setdefault(key, []).append((at, one))
        for pieces in joined.values():
            first = pieces[0][1]
            text = "".join(one.text for _, one in pieces)
            self._pieces[attrs.evolve(first, text=text)] = pieces
        self.passages = tuple(self._pieces)

    def _read(self, endpoint: str, at: int, raw: bytes) -> Iterator[tuple[Passage, str]]:
        """Yield the passages of an event, each with a key that those of the same text have."""
        parsed = SSE.parse(raw)
        if parsed is None or parsed[1] in (b"", b"[DONE]"):
            self._texts.append(None)
            return
        data = parsed[1]
        try:
            texts = _read_json(endpoint, data)
        except NotJson:
            self._texts.append(None)
            yield Passage("other", "", data.decode("utf-8", "replace")), f"{at}"
            return
        self._texts.append(texts)
        for passage in texts.passages:
            continues = _DELTA.search(passage.path) is not None
            yield passage, _key(data, passage.path) if continues else f"{at} {passage.path}"

    def replace(self, edits: Sequence[PassageEdit]) -> bytes:
        by_event: dict[int, list[PassageEdit]] = {}
        for at, edit in self._local(edits):
            by_event.setdefault(at, []).append(edit)
        return b"".join(self._edited_event(at, raw, by_event.get(at, ())) for at, raw in enumerate(self._events))

    def _local(self, edits: Iterable[PassageEdit]) -> Iterator[tuple[int, PassageEdit]]:
        """Yield ``edits`` for the piece of each event: the first one has the replacement."""
        for passage, start, end, text in edits:
            offset, replacement = 0, text
            for at, piece in self._pieces[passage]:
                first, last = max(start - offset, 0), min(end - offset, len(piece.text))
                if first < last:
                    yield at, (piece, first, last, replacement)
                    replacement = ""
                offset += len(piece.text)

    def _edited_event(self, at: int, raw: bytes, edits: Sequence[PassageEdit]) -> bytes:
        texts = self._texts[at]
        if texts is None:
            if edits:
                raise KeyMasked("a mask in an event that is no JSON")
            return raw
        parsed = SSE.parse(raw)
        assert parsed is not None, "it has texts"
        written = _without_echoes(texts.replace(edits))
        return raw if written == parsed[1] else SseEvents().event(parsed[0], written)


def is_sound(endpoint: str, content_type: str) -> bool:
    """Return whether a response is spoken text, which no step can read."""
    kind = content_type.partition(";")[0].strip().lower()
    return endpoint == "speech" and not (SSE.matches_type(kind) or "json" in kind or kind.startswith("text/"))


def answer_texts(endpoint: str, content_type: str, body: bytes, event_limit: int) -> AnswerTexts | None:
    """Return the texts of a response, ``None`` for sound."""
    if is_sound(endpoint, content_type):
        return None
    if SSE.matches_type(content_type):
        return EventsAnswer(endpoint, body, event_limit)
    if body.lstrip()[:1] in (b"{", b"["):
        with contextlib.suppress(NotJson):
            return JsonAnswer(endpoint, body)
    return PlainAnswer(body)


def _read_json(endpoint: str, data: bytes) -> RequestTexts:
    """Return the texts of a response or event. Raises ``NotJson``, because invalid JSON could hide text."""
    if not has_more_elements(data, MAX_ELEMENTS):
        try:
            any_json(data)
        except NOT_JSON:
            raise NotJson("it cannot be decoded") from None
    return RequestTexts.by_table(answer_table_for(endpoint), data)


def _split(body: bytes, event_limit: int) -> Iterator[bytes]:
    splitter = SSE.splitter(event_limit)
    yield from splitter.feed(body)
    if rest := splitter.close():
        yield SSE.complete(rest) or rest


def _key(data: bytes, path: str) -> str:
    """Return ``path`` with the index that the provider gives a choice instead of its position."""
    found = _CHOICE.match(path)
    if found is None:
        return path
    try:
        index = any_json(data)["choices"][int(found[1])].get("index", 0)
    except (*NOT_JSON, LookupError, TypeError, AttributeError):
        index = 0
    return f"choices[{index}]{path[found.end() :]}"


def _without_echoes(data: bytes) -> bytes:
    """Return ``data`` without the members that repeat its text in pieces."""
    if not any(b'"%b"' % name.encode() in data for name in _ECHOES):
        return data
    try:
        return msgspec.json.encode(_drop_echoes(any_json(data)))
    except NOT_JSON:
        raise KeyMasked("a mask in a response whose JSON is invalid") from None


def _drop_echoes(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: None if name == "logprobs" else _drop_echoes(inner)
            for name, inner in value.items()
            if name == "logprobs" or name not in _ECHOES
        }
    return [_drop_echoes(one) for one in value] if isinstance(value, list) else value
