"""A step as it goes to a store and comes back: JSON, in which amounts are text, for numbers lose digits there."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway.counters.counter import Claim, Counter, Debit, RateCounter, SlotCounter


@attrs.frozen
class CountingStep:
    """What a process asks of the store, all of it at once and in this order. ``number`` is one more than that of the
    step before, under the same ``name``; one that ``joins`` is the first, and takes the place of its ``former`` names.
    Rates and sums are ``raised`` to a value at least; claims are held (``holds``) without looking whether there is
    room, or ``ended``: true where not even their rates were used. What is ``added`` was used; what is ``reserved`` is
    taken, each as a whole, if there is room. The counters that are ``looked`` at do not change. Who ``leaves`` is not
    missed. ``lease`` are the seconds after which one that says nothing is dead."""

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


State: TypeAlias = tuple[float | int, int, int, int]
"""Of a counter: its value, what is held of it, and what earlier slices have used and hold. The value of a rate is the
moment at which it has refilled, by the store's clock; of a sum the units that are used."""


class StepReply(msgspec.Struct):
    """What the store says: its ``time`` in Unix seconds, how many processes are ``alive``, and of each counter a
    ``State``. ``lost``: it does not know of the steps before, and has done
    nothing."""

    lost: int = 0
    time: float = 0.0
    alive: int = 1
    reserved: list[tuple[int, list[State]]] = []
    added: list[State] = []
    looked: list[State] = []  # empty of a store whose functions another version has made


_REPLY = msgspec.json.Decoder(StepReply)
decoded = _REPLY.decode


def answers(reply: StepReply, step: CountingStep) -> bool:
    """Return whether ``reply`` has a state of all that ``step`` asks for."""
    asked = [sum(len(claim.debits) for _, claim in claims) for claims in step.reserved]
    if len(reply.added) != len(step.added) or len(reply.looked) not in (0, len(step.looked)):
        return False
    return [len(states) for _, states in reply.reserved] == asked


def encoded(step: CountingStep) -> bytes:
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
            "reserved": [[[name, _debits(claim)] for name, claim in one] for one in step.reserved],
        }
    )


def _debits(claim: Claim) -> list[list[Any]]:
    return [_debit(debit) for debit in claim.debits]


def _debit(debit: Debit) -> list[Any]:
    return [*_counter(debit.counter), str(debit.amount)]


def _counter(counter: Counter) -> list[Any]:
    """Kind, key, two numbers, earlier keys: of a rate the seconds in which a unit and its burst refill; else how much
    there is and until when."""
    if isinstance(counter, RateCounter):
        refill = counter.seconds / counter.amount
        return ["rate", counter.key.hex(), refill, counter.burst * refill, []]
    if isinstance(counter, SlotCounter):
        return ["slots", counter.key.hex(), str(counter.most), 0, []]
    return ["sum", counter.key.hex(), str(counter.most), counter.until, [key.hex() for key in counter.earlier]]


def _value(counter: Counter, value: float) -> str:
    return repr(value) if isinstance(counter, RateCounter) else str(int(value))
