"""What is set aside of budgets for work that goes on at a provider long after its request has ended: batches.

No request and no process holds it, so that it outlives both: who keeps the record of it says how much it is, and every
budget that is to pay for it is smaller by that meanwhile. What the work has cost in the end is charged as ever.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from gateway.config.allowances import Currency

HolderKey: TypeAlias = tuple[str, str]
"""A holder's kind and its name."""


class SetAside:
    """The sums that a process knows of, by all its configurations. ``version`` changes with each of them;
    ``is_wanted``: there are budgets to which they matter."""

    def __init__(self) -> None:
        self.version = 0
        self.is_wanted = False
        self._sums: Mapping[HolderKey, tuple[int, int]] = {}
        self._read: Callable[[float], Awaitable[None]] | None = None

    def tell(self, sums: Mapping[HolderKey, tuple[int, int]]) -> None:
        """Know that ``sums``, in nano-dollars and in tokens, are set aside from now on, and nothing else."""
        if sums != self._sums:
            self._sums = dict(sums)
            self.version += 1

    def follow(self, read: Callable[[float], Awaitable[None]]) -> None:
        """Have ``read`` called to be told what others have set aside, where it is longer ago than so many seconds."""
        self._read = read

    async def look(self, seconds: float = 0.0) -> None:
        """Be told what is set aside now, or was less than so many seconds ago."""
        if self._read is not None:
            await self._read(seconds)

    def of(self, key: HolderKey, currency: Currency) -> int:
        """What is set aside of a holder's budgets in ``currency``."""
        return self._sums.get(key, (0, 0))[currency == "tokens"]
