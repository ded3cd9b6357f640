"""A long answer of embeddings on its way through: its vectors are counted and its usage is found, and nothing is held
of it but the end."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import msgspec

from providers.endpoints.embeddings import cohere, gemini, openai
from providers.endpoints.embeddings.vectors import bad_answer
from streams.events import Usage

_SOUGHT: Final = 16 * 2**10  # bytes at the beginning and at the end in which the usage is looked for
_CARRIED: Final = 64  # bytes of a name that may lie in two pieces
_DECODER: Final = json.JSONDecoder()


@attrs.frozen
class PassingForm:
    """Where in an answer's bytes a vector begins, and its usage. A quotation mark inside a JSON string is escaped, so
    that a name with its own is a name."""

    vector: re.Pattern[bytes] | None
    usage: bytes
    read_usage: Callable[[msgspec.Raw | None], Usage | None]


FORMS: Final[Mapping[str, PassingForm]] = {
    "openai": PassingForm(re.compile(rb'"embeddings?"[ \t\r\n]{0,16}:'), b'"usage"', openai.read_usage),
    "gemini": PassingForm(re.compile(rb'"values"[ \t\r\n]{0,16}:'), b'"usageMetadata"', gemini.read_usage),
    "cohere": PassingForm(None, b'"meta"', cohere.read_usage),
}


class PassingAnswer:
    """One answer of a family, ``count`` vectors long where that is known. ``usage`` is what it says at its beginning
    or, once it is closed, at its end."""

    __slots__ = ("_carry", "_count", "_form", "_seen", "_tail", "usage")

    def __init__(self, family: str, count: int | None) -> None:
        self._form = FORMS[family]
        self._count = count
        self._seen = -1
        self._carry = b""
        self._tail = bytearray()
        self.usage: Usage | None = None

    def take(self, piece: bytes) -> None:
        """``piece`` has come, of whatever length."""
        if self._seen < 0:
            self._seen = 0
            self.usage = self._usage(piece[:_SOUGHT])
        if self._form.vector is not None:
            data, end = self._carry + piece, 0
            for found in self._form.vector.finditer(data):
                self._seen += 1
                end = found.end()
            self._carry = data[max(end, len(data) - _CARRIED) :]
        self._tail += piece[-_SOUGHT:]
        if len(self._tail) > 2 * _SOUGHT:
            del self._tail[:-_SOUGHT]

    def _usage(self, data: bytes) -> Usage | None:
        at = data.rfind(self._form.usage)
        start = -1 if at < 0 else data.find(b"{", at)
        if start < 0:
            return None
        try:
            value, _ = _DECODER.raw_decode(data[start:].decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
        return self._form.read_usage(msgspec.Raw(msgspec.json.encode(value)))

    def close(self) -> None:
        """The answer has ended. Raises ``GatewayError`` (502) unless it is whole, with a vector for each input."""
        if self._tail.rstrip(b" \t\r\n")[-1:] != b"}":
            raise bad_answer("ends in the middle")
        self.usage = self._usage(bytes(self._tail)) or self.usage
        if self._form.vector is not None and self._count not in (None, self._seen):
            raise bad_answer(f"has {self._seen} vectors for {self._count} inputs")
