"""The interface of a store of answers."""

from typing import Protocol


class AnswersAway(Exception):
    """The store cannot be asked now. The words are for the operator: without secrets."""


class AnswerStore(Protocol):
    """Keeps values under keys of 32 bytes. What was used least recently goes first where there is no room, and no owner
    has more than half of it. Cancelled, a value is kept wholly or not at all. Methods raise ``AnswersAway``."""

    async def run(self) -> None:
        """Has to run as long as the store is used."""
        ...

    async def get(self, key: bytes) -> bytes | None:
        """The value under ``key``, if its time is not over."""
        ...

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        """Keep ``value`` for ``ttl`` seconds, in place of another one under ``key``."""
        ...

    async def aclose(self) -> None: ...
