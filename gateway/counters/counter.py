"""Counters: rates, slots and sums, and the two steps in which a request uses them.

A request first reserves: its claim's debits are all taken, or none is. At its end the claim is settled, once: each
reservation becomes what was really used, or goes back. Amounts are whole numbers.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import attrs


@attrs.frozen
class RateCounter:
    """A rate: ``amount`` units refill evenly in ``seconds``, at most ``burst`` of them are there at once. It has no
    memory beyond the refill. A debit larger than ``burst`` passes where all of that is there.

    ``key`` (16 bytes, a digest of ``name``) is the counter's identity; ``name`` is for people and headers, such as
    ``client_keys.alice.tokens``. ``by_clients``: it is one of any number, for clients choose what there is one for:
    where there are too many of these, those are forgotten that were used longest ago."""

    key: bytes
    name: str
    amount: int
    seconds: float
    burst: int
    by_clients: bool = False


@attrs.frozen
class SlotCounter:
    """So many at once. A debit of it is 1."""

    key: bytes
    name: str
    most: int


@attrs.frozen
class SumCounter:
    """A sum that only grows, up to ``most``, of one period: another one has another key. It ends ``until`` (Unix
    seconds), which each debit of it moves on; where that has passed, nothing of it counts any more. A
    period that rolls is cut into slices with a key each: what ``earlier`` ones have used and hold counts, too."""

    key: bytes
    name: str
    most: int
    until: float
    earlier: tuple[bytes, ...] = ()
    by_clients: bool = False


Counter: TypeAlias = RateCounter | SlotCounter | SumCounter


@attrs.frozen
class Debit:
    """What a claim takes of ``counter``, or wants to. For nothing there is always room."""

    counter: Counter
    amount: int


@attrs.frozen
class Claim:
    """Debits that are settled together. ``id`` is never used twice: whoever hears of a step twice does it once."""

    id: str
    debits: tuple[Debit, ...]


@attrs.frozen
class Shortage:
    """A debit for which there is no room. ``wait`` is the seconds after which it would pass if nothing else happened;
    ``None`` where that hangs on the end of other requests (slots, and sums in which reservations stand in its way) or
    does not come (a sum that is used up). ``used`` and ``held`` are what counted against it. ``cause``: what is limited
    is refused while the ``store_away`` is, whatever room there was."""

    debit: Debit
    wait: float | None
    used: int
    held: int
    cause: Literal["no_room", "store_away"] = "no_room"

    @property
    def is_lasting(self) -> bool:
        """True if no end of another request makes room: without all reservations it would not pass."""
        counter = self.debit.counter
        return isinstance(counter, SumCounter) and self.used + self.debit.amount > counter.most


@attrs.frozen
class Level:
    """How much of a counter is used: ``used`` for good (of a rate what has not refilled yet), ``held`` by
    reservations."""

    used: int
    held: int = 0


class Counters(Protocol):
    """Keeps counters. Used from one thread."""

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        """Take all debits of all ``claims``, or none: what there is no room for, all of it, is the answer. Where it is
        cancelled nothing stays taken."""
        ...

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        """End a claim that was reserved: ``used`` is what was really used, of each of its debits in order (of slots
        nothing counts). It returns at once and never fails; a claim that is settled already stays as it is."""
        ...

    def level(self, counter: Counter) -> Level:
        """How much of ``counter`` is used, as far as this process knows; at once."""
        ...

    async def look(self, counters: "Sequence[Counter]") -> None:
        """Find out how much of ``counters`` is used now, as far as others know it in time; raises nothing."""
        ...

    def room(self, debit: Debit) -> Shortage | None:
        """The shortage that ``debit`` would meet now, as far as this process knows; at once, and nothing is taken."""
        ...

    def raise_to(self, counter: SumCounter, used: int) -> None:
        """Know that ``used`` of ``counter`` is used at least, as a ledger says; told twice it is no more."""
        ...

    def on_settled(self, tell: "Tell") -> None:
        """Have ``tell`` called with each claim that has been settled in this process, when room was made."""
        ...


class Tell(Protocol):
    def __call__(self, claim: Claim) -> None: ...
