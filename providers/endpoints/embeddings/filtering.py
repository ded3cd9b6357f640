"""One answer of embeddings between provider and client: held until it can be checked, or passed on where it is long.

Of a long answer the vectors are counted and the usage is found; only its end is held.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from providers.endpoints.embeddings import cohere, gemini, openai
from providers.endpoints.embeddings.answer import bad_answer, total
from providers.endpoints.embeddings.calling import AnswerPlan
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
        """Take note that the answer has ended. Raises ``GatewayError`` (502) unless it is whole, with a vector for each
        input."""
        if self._tail.rstrip(b" \t\r\n")[-1:] != b"}":
            raise bad_answer("ends in the middle")
        self.usage = self._usage(bytes(self._tail)) or self.usage
        if self._form.vector is not None and self._count not in (None, self._seen):
            raise bad_answer(f"has {self._seen} vectors for {self._count} inputs")


if TYPE_CHECKING:
    from providers.endpoints.embeddings.answer import Embeddings

HELD: Final = 2**20
"""Bytes of an answer that are held for the order of its vectors; a longer one passes in its own."""

_NUMBERS: Final = re.compile(rb'"embeddings?"[ \t\r\n]{0,16}:[ \t\r\n]{0,16}\[')


class EmbeddingAnswer:
    """The answers to the requests of an ``EmbeddingCall``, each of which ``begin`` begins.

    ``take`` gives what goes to the client of a piece, nothing while the answer is held: it is read whole where it is
    not as the client wants it, else up to ``HELD`` bytes. ``close`` gives the rest, and raises ``GatewayError`` (502)
    where an answer is not whole or not right."""

    __slots__ = ("_held", "_may_pass", "_passing", "_plan", "_read", "_size", "_usage")

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._read: list[Embeddings] = []  # the answers before this one
        self._held: list[bytes] = []
        self._size = 0
        self._may_pass = plan.passes
        self._passing: PassingAnswer | None = None
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage:
        """What the provider has counted, else about what there was to count."""
        read = total(one.usage for one in self._read) if self._read else None
        return self._usage or read or self._plan.estimate

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return self._size if self._passing is None else 0

    def begin(self) -> None:
        """Begin the next answer; the one before it, if any, is read now, since its vectors take less room than it.
        Raises as ``close`` does."""
        if self._held:
            self._end()

    def _end(self) -> None:
        """One of several answers has ended, or one that is translated."""
        data, self._held = b"".join(self._held), []
        self._size -= len(data)
        self._read.append(self._plan.read(len(self._read), data))
        self._size += self._read[-1].size

    def take(self, piece: bytes) -> bytes:
        if self._passing is not None:
            self._passing.take(piece)
            return piece
        self._held.append(piece)
        self._size += len(piece)
        if self._size <= HELD or not self._may_pass:
            return b""
        return self._release()

    def _release(self) -> bytes:
        """Let an answer pass that is too long to be held, if it is in the form that was asked for."""
        data = b"".join(self._held)
        plan = self._plan
        if plan.family == "openai" and plan.request.types[0] == "base64" and _NUMBERS.search(data):
            self._held, self._may_pass = [data], False
            return b""
        self._held = []
        self._passing = PassingAnswer(plan.family, plan.counts[0])
        return self.take(data)

    def close(self) -> bytes:
        if self._passing is not None:
            try:
                self._passing.close()
            finally:
                self._usage = self._passing.usage
            return b""
        if self._plan.passes:
            body, self._usage = self._plan.passed(b"".join(self._held))
        else:
            self._end()
            body, self._usage = self._plan.write(self._read)
        return body
