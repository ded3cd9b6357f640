"""The texts of a complete response in the bytes that the client gets: of other endpoints, and of compactions.

``relayed_stream`` has those of streams."""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import msgspec

from gateway.features.steps.json_texts import KeyMasked, NotJson, raw_bytes, raw_text, splice, without_surrogates
from gateway.features.steps.masks import PassageEdit
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.tables import TextTable, answer_table_for
from gateway.http.offload import offload
from streams.sse import SSE
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON, any_json
from trigate.steps import PARTS, Part, Passage

_ECHOES: Final = ("logprobs", "words", "tokens")
"""Members that repeat the text in pieces: a masked response loses them."""


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
    unchanged."""

    unreadable: Mapping[str, Part | None] = {}

    def __init__(self, body: bytes, *, is_sound: bool = False) -> None:
        self.body = body
        self.passages: Sequence[Passage] = ()
        if not is_sound:
            self.passages = (Passage("input", "", without_surrogates(raw_text(body))),)

    def is_latest(self, passage: Passage) -> bool:
        return True

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        spans = sorted((start, end, text) for _, start, end, text in edits)
        return await offload(len(self.body), lambda: type(self)(raw_bytes(splice(raw_text(self.body), spans))))


def is_sound(endpoint: str, content_type: str) -> bool:
    """Return whether a response is spoken text, which no step can read."""
    kind = content_type.partition(";")[0].strip().lower()
    return endpoint == "speech" and not (SSE.matches_type(kind) or "json" in kind or kind.startswith("text/"))


def read_answer(endpoint: str, content_type: str, body: bytes) -> AnswerTexts | PlainAnswer:
    """Return the texts of a complete response."""
    if is_sound(endpoint, content_type):
        return PlainAnswer(body, is_sound=True)
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
