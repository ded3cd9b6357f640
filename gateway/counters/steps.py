"""The JSON form of steps sent to a store and of its replies. Amounts are text, because JSON numbers lose digits."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import msgspec

from gateway.counters.counter import Claim, Counter, RateCounter, SlotCounter

if TYPE_CHECKING:
    from gateway.counters.notes import UnsentNote


@attrs.frozen(eq=False, repr=False)
class CountingStep:
    """The requests of a process that the store performs together, in this order.

    ``number`` increments under the same ``name``. A step that ``joins`` is the first, and replaces the ``former``
    names. Rates and sums are ``raised`` to at least a value. Claims in ``holds`` are held without a check, those in
    ``ended`` are released: true if not even their rates were used. Amounts ``added`` were used; claims ``reserved`` are
    reserved entirely or not at all. Counters ``looked`` at do not change. Notes ``noted`` replace earlier ones, unless
    another process has written that one after number ``read_to``. The reply has others' notes after that number. A
    process that ``leaves`` is not missed; another one that is silent for ``lease`` seconds counts as dead."""

    name: str
    number: int
    lease: float
    joins: bool
    leaves: bool
    former: Sequence[str]
    raised: Sequence[tuple[Counter, float]]
    holds: Mapping[str, Claim]
    ended: Mapping[str, bool]
    added: Sequence[tuple[Counter, int]]
    reserved: Sequence[Sequence[tuple[str, Claim]]]
    looked: Sequence[Counter] = ()
    noted: "Sequence[UnsentNote]" = ()
    read_to: int = 0


State: TypeAlias = tuple[float | int, int, int, int]
"""A counter's value, its held amount, and the amounts used and held in earlier slices.

A rate's value is its refill time by the store's clock, a sum's the used units."""


class StepReply(msgspec.Struct):
    """The store's reply: its ``time`` in Unix seconds, the number of ``alive`` processes, and a state for each counter.

    ``noted`` are notes of other processes, up to number ``read_to``. ``lost`` means that it does not know the previous
    steps and did nothing."""

    lost: int = 0
    time: float = 0.0
    alive: int = 1
    reserved: list[tuple[int, list[State]]] = []
    added: list[State] = []
    looked: list[State] = []  # empty if another version made the store's functions, as the next
    noted: list[tuple[str, str, float]] = []  # their names, values and lifetimes in milliseconds
    read_to: int = 0


_REPLY = msgspec.json.Decoder(StepReply)
decode_reply = _REPLY.decode


def is_complete(reply: StepReply, step: CountingStep) -> bool:
    """Return whether ``reply`` has a state for every counter in ``step``."""
    asked = [sum(len(claim.debits) for _, claim in claims) for claims in step.reserved]
    if len(reply.added) != len(step.added) or len(reply.looked) not in (0, len(step.looked)):
        return False
    return [len(states) for _, states in reply.reserved] == asked


def encode_step(step: CountingStep) -> bytes:
    """Return ``step`` as JSON for the server."""
    return msgspec.json.encode(
        {
            "name": step.name,
            "number": step.number,
            "lease": step.lease,
            "joins": int(step.joins),
            "leaves": int(step.leaves),
            "former": list(step.former),
            "raised": [[*_counter(counter), _value(counter, value)] for counter, value in step.raised],
            "holds": [[name, _debits(claim)] for name, claim in step.holds.items()],
            "ended": [[name, int(refund)] for name, refund in step.ended.items()],
            "added": [[*_counter(counter), str(amount)] for counter, amount in step.added],
            "looked": [_counter(counter) for counter in step.looked],
            "noted": step.noted,
            "read_to": step.read_to,
            "reserved": [[[name, _debits(claim)] for name, claim in one] for one in step.reserved],
        }
    )


def _debits(claim: Claim) -> list[list[Any]]:
    return [[*_counter(debit.counter), str(debit.amount)] for debit in claim.debits]


def _counter(counter: Counter) -> list[Any]:
    """Return the JSON form of a counter: kind, key, two numbers and earlier keys.

    For a rate, the numbers are the seconds in which a unit and the burst refill; otherwise the limit and the expiry."""
    if isinstance(counter, RateCounter):
        refill = counter.seconds / counter.amount
        return ["rate", counter.key.hex(), refill, counter.burst * refill, []]
    if isinstance(counter, SlotCounter):
        return ["slots", counter.key.hex(), str(counter.most), 0, []]
    return ["sum", counter.key.hex(), str(counter.most), counter.until, [key.hex() for key in counter.earlier]]


def _value(counter: Counter, value: float) -> str:
    return repr(value) if isinstance(counter, RateCounter) else str(int(value))
