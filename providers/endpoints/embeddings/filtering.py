"""One answer of embeddings between provider and client: held until it can be checked, or passed where it is long."""

import re
from typing import TYPE_CHECKING, Final

from providers.endpoints.embeddings.calling import AnswerPlan
from providers.endpoints.embeddings.passing import PassingAnswer

if TYPE_CHECKING:
    from streams.events import Usage

HELD: Final = 2**20
"""Bytes of an answer that are held for the order of its vectors; a longer one passes in its own."""

_NUMBERS: Final = re.compile(rb'"embeddings?"[ \t\r\n]{0,16}:[ \t\r\n]{0,16}\[')


class EmbeddingAnswer:
    """The one answer to an ``EmbeddingCall`` of one request.

    ``take`` gives what goes to the client of a piece, nothing while the answer is held: it is read whole where it is
    not as the client wants it, else up to ``HELD`` bytes. ``close`` gives the rest, and raises ``GatewayError`` (502)
    where the answer is not whole or not right."""

    __slots__ = ("_held", "_may_pass", "_passing", "_plan", "_size", "usage")

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._held: list[bytes] = []
        self._size = 0
        self._may_pass = plan.passes
        self._passing: PassingAnswer | None = None
        self.usage: Usage | None = None

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
                self.usage = self._passing.usage
            return b""
        body, self.usage = self._plan.write([b"".join(self._held)])
        self._held = []
        return body
