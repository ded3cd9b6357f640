"""Counters: rates, slots and sums, and how requests reserve and settle them.

A request reserves all debits of its claim, or none. At its end it settles the claim once: each reservation is replaced
by the amount actually used. Amounts are integers."""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    from gateway.counters.notes import SharedNotes


MOST_AMOUNT: Final = 10**17
"""The largest amount of one debit: 100 million dollars. Every store can add it to ``MOST_TOTAL`` exactly."""

MOST_TOTAL: Final = 10**18
"""The largest amount of a sum, used or reserved. Larger totals stay at it, instead of failing to be stored."""


NO_ROW_WAIT: Final = 60.0
"""Seconds until a request without a row is worth another attempt: other counters expire."""


def bounded_amount(amount: int) -> int:
    """Return ``amount`` between 0 and ``MOST_AMOUNT``.

    Amounts come from providers. A negative one would refund money, and one too large to store would lose the whole
    settlement."""
    return 0 if amount < 0 else min(amount, MOST_AMOUNT)


def _bounded_total(amount: int) -> int:
    return min(amount, MOST_TOTAL)


@attrs.frozen(repr=False)
class RateCounter:
    """A rate: ``amount`` units refill evenly in ``seconds``, up to ``burst``.

    A debit larger than ``burst`` passes when the burst is full. ``key`` (16 bytes, a digest of ``name``) is the
    counter's identity; ``name`` is for people and headers, such as ``client_keys.alice.tokens``. ``chosen_by`` is the
    client that chose the counted value; ``None`` for counters of the configuration. ``is_unlisted`` means that it
    is one of a rule's counters for each of its clients, which may be many."""

    key: bytes
    name: str
    amount: int
    seconds: float
    burst: int
    chosen_by: str | None = None
    is_unlisted: bool = False


@attrs.frozen(repr=False)
class SlotCounter:
    """A number of simultaneous requests; each debit is 1."""

    key: bytes
    name: str
    most: int
    is_unlisted: bool = False
    chosen_by: ClassVar[None] = None


@attrs.frozen(repr=False)
class SumCounter:
    """A sum of one period that only grows, up to ``most``; other periods have other keys.

    It expires at ``until`` (Unix seconds), which each debit extends. A rolling period consists of slices with a key
    each: the amounts of the ``earlier`` slices count, too."""

    key: bytes
    name: str
    most: int = attrs.field(converter=_bounded_total)
    until: float
    earlier: tuple[bytes, ...] = ()
    chosen_by: str | None = None
    is_unlisted: bool = False


Counter: TypeAlias = RateCounter | SlotCounter | SumCounter


@attrs.frozen(repr=False)
class Debit:
    """An amount that a claim reserves of ``counter``; an amount of 0 always fits."""

    counter: Counter
    amount: int = attrs.field(converter=bounded_amount)


@attrs.frozen(eq=False, repr=False)
class Claim:
    """Debits that are settled together. ``id`` is unique, so that a repeated step counts once."""

    id: str
    debits: tuple[Debit, ...]


OnSettled: TypeAlias = Callable[[Claim, Sequence[int]], None]
"""Receives a settled claim, and the amounts that its debits used."""

_PROCESS: Final = os.urandom(8).hex()
_numbers: Final = itertools.count()
"""Numbers that name claims: request ids are unsuitable, because clients may send the same one twice."""


def new_claim(*debits: Debit) -> Claim:
    """Return a claim of ``debits`` with an id that no other claim has."""
    return Claim(f"{_PROCESS}-{next(_numbers)}", debits)


@attrs.frozen(eq=False, repr=False)
class Shortage:
    """A debit without room.

    ``wait`` is the number of seconds until it fits if no request ends: ``None`` for slots, sums full of reservations,
    and exhausted sums. ``used`` and ``held`` are the amounts that counted. ``cause`` is ``store_away`` if requests are
    refused because the store is unavailable, and ``no_row`` if the counter is new and none can be added. ``earlier``
    are the used amounts of a rolling period's earlier slices, if they were read."""

    debit: Debit
    wait: float | None
    used: int
    held: int
    cause: Literal["no_room", "store_away", "no_row"] = "no_room"
    earlier: Sequence[int] | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether the debit would not fit even without any reservations."""
        counter = self.debit.counter
        return isinstance(counter, SumCounter) and self.used + self.debit.amount > counter.most


@attrs.frozen(repr=False)
class Level:
    """The level of a counter: ``used`` (for a rate, what has not refilled), and ``held`` by reservations."""

    used: int
    held: int = 0


class Counters(Protocol):
    """A set of counters, used from one thread."""

    @property
    def remote(self) -> "ServerCounters | None":
        """These counters, if a server keeps them for several gateways."""

    def now(self) -> float:
        """Return the Unix time by which periods begin, the same for all processes that share these counters."""

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        """Reserve all debits of all ``claims``, or none, and return the shortages. On cancellation nothing is
        reserved."""

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        """Settle a reserved claim: ``used`` has the actual amount of each debit in order, ignored for slots.

        Returns immediately and never fails. Settling again has no effect."""

    def level(self, counter: Counter) -> Level:
        """Return the level of ``counter`` as far as this process knows, immediately."""

    async def refresh(self, counters: "Sequence[Counter]") -> bool:
        """Refresh the levels of ``counters`` from the store, if it replies in time. Never raises.

        Return whether the store has confirmed all amounts settled here, and the levels include them."""

    async def earlier_sums(self, counter: SumCounter) -> Sequence[int] | None:
        """Return the used amounts of the ``earlier`` slices of ``counter``, ``None`` if they are unknown.

        Never raises."""

    def shortage_for(self, debit: Debit) -> Shortage | None:
        """Return the shortage that ``debit`` would have now as far as this process knows, without reserving it."""

    def raise_to(self, counter: SumCounter, used: int) -> None:
        """Raise the used amount of ``counter`` to at least ``used``; repeating it has no effect."""

    def on_settled(self, callback: OnSettled) -> None:
        """Call ``callback`` with each claim settled in this process: it freed room, and used amounts."""


class ServerCounters(Counters, Protocol):
    """Counters on a server, common to several gateways, which also share ``notes`` there."""

    notes: "SharedNotes"

    @property
    def is_away(self) -> bool:
        """True if the server does not respond."""

    def state(self) -> Mapping[str, Any]:
        """Return the state of the connection, as ``GET /readyz?verbose`` shows it."""

    def take_outage_reservations(self) -> int:
        """Return the number of reservations that were made without the server since the last call."""

    async def read_clock(self) -> None:
        """Wait a moment until ``now`` is the server's time. Never raises."""

    async def read_notes(self) -> None:
        """Wait a moment until the notes of other gateways are read. Never raises."""

    async def wait_until_confirmed(self) -> None:
        """Wait a second at most until the server has all amounts settled so far. Never raises."""

    async def run(self) -> None:
        """Exchange counts with the server until cancelled."""

    async def finish(self) -> None:
        """Send the counts that are left."""
