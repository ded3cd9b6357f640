"""Reader of image answers, whole and streamed (https://platform.openai.com/docs/api-reference/images).

A whole answer has megabytes of base64, so only its start and end are scanned.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import attrs

from providers.endpoints.media_tokens import token_usage
from providers.errors.failures import read_event_failure
from providers.neutral.draft import Draft, Edit
from providers.neutral.values import load
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from streams.structure import MAX_ELEMENTS, has_more_elements

ENDS: Final = 16 * 1024
"""Bytes at the start and end of a whole answer that are searched for its ``usage``."""

_USAGE: Final = re.compile(rb'"usage"\s*:\s*(?=\{)')
_COMPLETED: Final = re.compile(rb'"type"\s*:\s*"image_(?:generation|edit)\.completed"')
_ERROR: Final = re.compile(rb'\s*\{\s*"(?:error|message)"\s*:|"type"\s*:\s*"error"')

EARLY: Final = ErrorInfo("upstream", "the provider ended the stream before the image was complete", reason="bad_answer")


_ALWAYS_INLINE: Final = re.compile(r"(?:chat)?gpt-image")
"""Models that accept no `response_format` and always return base64."""


def drop_response_format(draft: Draft, model: str) -> None:
    """Remove `response_format` if ``model`` rejects it.

    Clients decide by the model's name whether to send it, and an alias hides that name (langwatch/langwatch#7769,
    managoat/fountain#110).
    """
    if "response_format" not in draft or not _ALWAYS_INLINE.match(model.rpartition("/")[2]):
        return
    if draft.value("response_format") == "b64_json":
        draft.put("response_format", None)
        draft.note(Edit("response_format", lost=False, form="=b64_json"))
    else:
        draft.drop("response_format")


class ImageReader:
    """A reader of an answer with images, which is forwarded. ``expected`` returns their number: the form that requests
    them may arrive after the answer's reader is made."""

    def __init__(self, expected: Callable[[], int]) -> None:
        self._expected = expected
        self._head = b""
        self._tail = bytearray()
        self._reported: Usage | None = None
        self._done = 0

    @property
    def usage(self) -> Usage | None:
        """The number of images, and tokens if reported, because an entry may have a price for either."""
        told = self._reported or token_usage(_usage_in(self._head) or _usage_in(bytes(self._tail)))
        units = (("image", max(self._done, self._expected())),)
        return Usage(units=units) if told is None else attrs.evolve(told, units=(*units, *told.units))

    @property
    def has_ended(self) -> bool:
        """False: an entry may request more images than the client, so the last one is not known."""
        return False

    def read_event(self, name: str, data: bytes) -> None:
        """Read an event of a stream; one may have megabytes of an image."""
        ends = data if len(data) <= 2 * ENDS else data[:ENDS] + data[-ENDS:]
        if name == "error" or _ERROR.search(ends[:ENDS]):
            raise GatewayError.of(read_event_failure(_decode_bounded(data) if len(data) <= ENDS else None))
        if _COMPLETED.search(ends) or name.endswith(".completed"):
            self._done += 1
            if (found := token_usage(_usage_in(ends))) is not None:
                self._reported = found if self._reported is None else self._reported + found

    def read_whole(self, value: object) -> None:
        """Read a whole answer that was short enough to decode."""
        if isinstance(value, dict) and value.get("error") and "data" not in value:
            raise GatewayError.of(read_event_failure(value))
        if isinstance(value, dict):
            self._reported = token_usage(value.get("usage"))

    def scan(self, piece: bytes) -> None:
        """Scan a piece of a whole answer."""
        if len(self._head) < ENDS:
            self._head += piece[: ENDS - len(self._head)]
        self._tail += piece[-ENDS:]
        if len(self._tail) > 4 * ENDS:
            del self._tail[:-ENDS]

    def close(self, *, streamed: bool) -> None:
        """End the answer. Raises ``GatewayError`` if a stream is incomplete."""
        if streamed and not self._done:
            raise GatewayError.of(EARLY)


def _usage_in(data: bytes) -> Any:
    """Return the object ``usage`` in a piece of JSON. Text cannot contain the quoted name, as its quotes would be
    escaped."""
    match = _USAGE.search(data)
    if match is None:
        return None
    depth = 0
    for brace in _BRACE.finditer(data, match.end()):
        depth += 1 if brace[0] == b"{" else -1
        if not depth:
            return _decode_bounded(data[match.end() : brace.end()])
    return None


_BRACE: Final = re.compile(rb"[{}]")


def _decode_bounded(data: bytes) -> Any:
    return None if has_more_elements(data, MAX_ELEMENTS) else load(data)
