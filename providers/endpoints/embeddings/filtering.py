"""One answer of embeddings between provider and client: held until it can be checked, or passed where it is long."""

import re
from typing import TYPE_CHECKING, Final

from providers.endpoints.embeddings.answer import total
from providers.endpoints.embeddings.calling import AnswerPlan
from providers.endpoints.embeddings.passing import PassingAnswer
from streams.events import Usage

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
        """The next answer begins, if there has been one: that is read, since its vectors take less room than it. Raises
        as ``close`` does."""
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
