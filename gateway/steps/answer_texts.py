"""The texts of a complete response in the bytes that the client gets: of other endpoints, and of compactions.

``relayed_stream`` has those of streams."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, Self

import msgspec

from gateway.http.offload import offload
from gateway.steps.json_texts import KeyMasked, NotJson, splice
from gateway.steps.masks import PassageEdit
from gateway.steps.request_texts import RequestTexts
from gateway.steps.tables import answer_table_for
from streams.sse import SSE
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON, any_json
from trigate.steps import Part, Passage

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
        self._texts = read_json(endpoint, body)
        self.passages = self._texts.passages

    def replace(self, edits: Sequence[PassageEdit]) -> bytes:
        return without_echoes(self._texts.replace(edits))


class PlainAnswer:
    """A response that is a text, such as a transcript. Bytes that are not UTF-8 stay unchanged."""

    def __init__(self, body: bytes) -> None:
        self._text = body.decode("utf-8", "surrogateescape")
        shown = "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in self._text)
        self.passages = (Passage("input", "", shown),)

    def replace(self, edits: Sequence[PassageEdit]) -> bytes:
        spans = sorted((start, end, text) for _, start, end, text in edits)
        return splice(self._text, spans).encode("utf-8", "surrogateescape")


class BodyTexts:
    """The texts of the complete ``body`` of a response, which has all edits. Media have none."""

    unreadable: Mapping[str, Part | None] = {}

    def __init__(self, endpoint: str, content_type: str, body: bytes) -> None:
        self.body = body
        self._source = endpoint, content_type
        self._texts: AnswerTexts | None = answer_texts(endpoint, content_type, body)

    @property
    def passages(self) -> Sequence[Passage]:
        return () if self._texts is None else self._texts.passages

    def is_latest(self, passage: Passage) -> bool:
        return True

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        assert self._texts is not None, "it has passages"
        body = await offload(len(self.body), self._texts.replace, edits)
        endpoint, content_type = self._source
        return await offload(len(body), type(self), endpoint, content_type, body)


def is_sound(endpoint: str, content_type: str) -> bool:
    """Return whether a response is spoken text, which no step can read."""
    kind = content_type.partition(";")[0].strip().lower()
    return endpoint == "speech" and not (SSE.matches_type(kind) or "json" in kind or kind.startswith("text/"))


def answer_texts(endpoint: str, content_type: str, body: bytes) -> AnswerTexts | None:
    """Return the texts of a complete response, ``None`` for sound."""
    if is_sound(endpoint, content_type):
        return None
    if body.lstrip()[:1] in (b"{", b"["):
        with contextlib.suppress(NotJson):
            return JsonAnswer(endpoint, body)
    return PlainAnswer(body)


def read_json(endpoint: str, data: bytes) -> RequestTexts:
    """Return the texts of a response or event. Raises ``NotJson``, because invalid JSON could hide text."""
    if not has_more_elements(data, MAX_ELEMENTS):
        try:
            any_json(data)
        except NOT_JSON:
            raise NotJson("it cannot be decoded") from None
    return RequestTexts.by_table(answer_table_for(endpoint), data)


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
