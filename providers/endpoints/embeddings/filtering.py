"""Checking of one answer of embeddings between provider and client: buffered, or forwarded immediately if it is long.

In a long answer the vectors are counted and the usage is read; only its end is buffered.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from providers.endpoints.embeddings import cohere, gemini, openai
from providers.endpoints.embeddings.answer import bad_answer_error, sum_usages
from providers.endpoints.embeddings.calling import AnswerPlan
from streams.events import Usage

_SEARCHED: Final = 16 * 2**10  # bytes at the start and the end that are searched for the usage
_OVERLAP: Final = 64  # bytes of a name that may be split between two pieces
_DECODER: Final = json.JSONDecoder()


@attrs.frozen
class PassingForm:
    """The byte patterns of a vector's start and of the usage in an answer.

    Quotation marks inside a JSON string are escaped, so a quoted name is always a member name.
    """

    vector: re.Pattern[bytes] | None
    usage: bytes
    read_usage: Callable[[msgspec.Raw | None], Usage | None]


FORMS: Final[Mapping[str, PassingForm]] = {
    "openai": PassingForm(re.compile(rb'"embeddings?"[ \t\r\n]{0,16}:'), b'"usage"', openai.read_usage),
    "gemini": PassingForm(re.compile(rb'"values"[ \t\r\n]{0,16}:'), b'"usageMetadata"', gemini.read_usage),
    "cohere": PassingForm(None, b'"meta"', cohere.read_usage),
}


class PassingAnswer:
    """A forwarded answer of a family with ``count`` vectors, if known.

    ``usage`` comes from its start or, once it is closed, from its end.
    """

    __slots__ = ("_carry", "_count", "_form", "_tail", "_vector_count", "usage")

    def __init__(self, family: str, count: int | None) -> None:
        self._form = FORMS[family]
        self._count = count
        self._vector_count = -1
        self._carry = b""
        self._tail = bytearray()
        self.usage: Usage | None = None

    def scan(self, piece: bytes) -> None:
        """Scan ``piece``, of any length."""
        if self._vector_count < 0:
            self._vector_count = 0
            self.usage = self._parse_usage(piece[:_SEARCHED])
        if self._form.vector is not None:
            data, end = self._carry + piece, 0
            for found in self._form.vector.finditer(data):
                self._vector_count += 1
                end = found.end()
            self._carry = data[max(end, len(data) - _OVERLAP) :]
        self._tail += piece[-_SEARCHED:]
        if len(self._tail) > 2 * _SEARCHED:
            del self._tail[:-_SEARCHED]

    def _parse_usage(self, data: bytes) -> Usage | None:
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
        """End the answer. Raises ``GatewayError`` (502) unless it is complete, with a vector for each input."""
        if self._tail.rstrip(b" \t\r\n")[-1:] != b"}":
            raise bad_answer_error("ends in the middle")
        self.usage = self._parse_usage(bytes(self._tail)) or self.usage
        if self._form.vector is not None and self._count not in (None, self._vector_count):
            raise bad_answer_error(f"has {self._vector_count} vectors for {self._count} inputs")


if TYPE_CHECKING:
    from providers.endpoints.embeddings.answer import Embeddings

MAX_BUFFERED: Final = 2**20
"""The most bytes of an answer that are buffered to reorder its vectors; a longer one keeps its order."""

_NUMBERS: Final = re.compile(rb'"embeddings?"[ \t\r\n]{0,16}:[ \t\r\n]{0,16}\[')


class EmbeddingAnswerConverter:
    """A converter of a provider's answers to an ``EmbeddingCall`` for the client; ``begin`` starts each answer, and
    ``end_part`` ends each but the last.

    ``take`` returns the bytes for the client, none while the answer is buffered: whole if it must be converted, else up
    to ``MAX_BUFFERED`` bytes. ``close`` returns the rest, and raises ``GatewayError`` (502) for an incomplete or
    incorrect answer.
    """

    __slots__ = ("_held", "_may_pass", "_passing", "_plan", "_read", "_reported", "_size", "_usage")

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._read: list[Embeddings] = []  # the earlier answers
        self._held: list[bytes] = []
        self._size = 0
        self._may_pass = plan.passes
        self._passing: PassingAnswer | None = None
        self._usage: Usage | None = None
        self._reported: int | None = None

    @property
    def usage(self) -> Usage:
        """The reported usage, else an estimate."""
        read = sum_usages(one.usage for one in self._read) if self._read else None
        found, estimate = self._usage or read, self._plan.estimate
        if found is None or found.prompt or found.units:
            return found or estimate
        return attrs.evolve(estimate, reported_nanos=found.reported_nanos)

    @property
    def buffered_bytes(self) -> int:
        return self._size if self._passing is None else 0

    def begin(self, reported: int | None = None) -> None:
        """Start the next answer; ``reported`` are the tokens in its headers, if its body has none."""
        self._reported = reported

    def end_part(self) -> None:
        """Parse an answer that is one of several or must be translated: its vectors take less memory. Raises as
        ``close`` does."""
        data, self._held = b"".join(self._held), []
        self._size -= len(data)
        found = self._plan.read(len(self._read), data)
        if found.usage is None and self._reported is not None:
            found = attrs.evolve(found, usage=Usage(input=self._reported))
        self._read.append(found)
        self._size += self._read[-1].size

    def take(self, piece: bytes) -> bytes:
        if self._passing is not None:
            self._passing.scan(piece)
            return piece
        self._held.append(piece)
        self._size += len(piece)
        if self._size <= MAX_BUFFERED or not self._may_pass:
            return b""
        return self._forward_held()

    def _forward_held(self) -> bytes:
        """Forward an answer that is too long to buffer, if it has the requested form."""
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
            body, self._usage = self._plan.checked_answer(b"".join(self._held))
        else:
            self.end_part()
            body, self._usage = self._plan.write(self._read)
        return body
