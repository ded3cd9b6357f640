"""One answer of embeddings between provider and client: held until it can be checked, or passed where it is long."""

import re
from typing import Final

from providers.endpoints.embeddings.calling import AnswerPlan
from providers.endpoints.embeddings.passing import PassingAnswer
from streams.events import Usage

HELD: Final = 2**20
"""Bytes of an answer that are held for the order of its vectors; a longer one passes in its own."""

_NUMBERS: Final = re.compile(rb'"embeddings?"[ \t\r\n]{0,16}:[ \t\r\n]{0,16}\[')


class EmbeddingAnswer:
    """The answers to the requests of an ``EmbeddingCall``, each of which ``begin`` begins.

    ``take`` gives what goes to the client of a piece, nothing while the answer is held: it is read whole where it is
    not as the client wants it, else up to ``HELD`` bytes. ``close`` gives the rest, and raises ``GatewayError`` (502)
    where an answer is not whole or not right."""

    __slots__ = ("_held", "_may_pass", "_passing", "_plan", "_size", "_usage", "_whole")

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._whole: list[bytes] = []  # the answers before this one
        self._held: list[bytes] = []
        self._size = 0
        self._may_pass = plan.passes
        self._passing: PassingAnswer | None = None
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage:
        """What the provider has counted, else about what there was to count."""
        return self._usage or self._plan.estimate

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return self._size if self._passing is None else 0

    def begin(self) -> None:
        """The next answer begins, if there has been one."""
        if self._held:
            self._whole.append(b"".join(self._held))
            self._held = []

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
        self._whole.append(b"".join(self._held))
        self._held = []
        body, self._usage = self._plan.write(self._whole)
        self._whole = []
        return body
