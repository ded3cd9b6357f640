"""The bill of one exchange: what its attempts are billed for, and what that costs."""

import copy
from typing import Final, Literal, TypeAlias

import attrs

from providers.catalog.prices import NAMED_PRICES, Cost, Price, cost_of, total_cost
from streams.events import Api, FailureReason, Usage

CHARACTERS_PER_TOKEN: Final = 4
"""Of English prose, about."""

TriedReason: TypeAlias = FailureReason | Literal["ok", "hedge_lost", "client_left", "internal"]
"""What became of an attempt. ``ok``: its answer went to the client; ``hedge_lost``: another one's did, which had begun
beside it; ``own``: trigate's limits ended it, or its mistake."""

Cause: TypeAlias = Literal["first", "retry", "fallback", "hedge"]
"""Why an attempt was made: ``retry`` at a target that was asked before, ``fallback`` at another one."""


@attrs.frozen(eq=False, repr=False, slots=False)  # one for each request, and made with fewer calls
class Tried:
    """One attempt of an exchange, as its record tells of it.

    ``target`` is the entry's name (of a wildcard ``provider/model``), ``provider`` the provider's id, ``model`` always
    ``provider/model``. ``head`` and ``content`` are seconds from its sending to the head of the answer and to its
    first content, as far as it came; ``seconds`` to its end, for one that failed. Of an answer that went to nobody
    ``usage`` is what the provider has said that it took; ``unknown_input`` are the tokens of its request, about, where
    the provider had all of it, may have billed it and has not said what for (bircex/llmr#48). ``committed``: its
    answer went to the client, so that the exchange's tokens are its own. ``price`` is the target's when it was asked.
    """

    target: str
    provider: str
    api: Api
    lane: str
    reason: TriedReason = "ok"
    cause: Cause = "first"
    status: int | None = None
    head: float | None = None
    content: float | None = None
    seconds: float | None = None
    usage: Usage | None = None
    unknown_input: int | None = None
    committed: bool = False
    model: str | None = None
    price: Price | None = None


@attrs.frozen(eq=False, repr=False, slots=False)  # one for each request, and made with fewer calls
class Charge:
    """What an attempt is billed for: tokens, and what they cost, ``None`` where nobody knows their price."""

    tried: Tried
    usage: Usage
    cost: Cost | None


@attrs.frozen(repr=False)
class Booking:
    """What an answer says that work has taken which was done before it, and what that costs: of a batch. ``cost`` is
    ``None`` where nobody knows a price."""

    usage: Usage
    cost: Cost | None


def _charge_at_least(tried: Tried, usage: Usage) -> Charge:
    """Return the charge of an attempt that the provider was answering when it was cancelled, and that has cost
    ``usage`` or more."""
    if tried.price is None:
        return Charge(tried, usage, None)
    return Charge(tried, usage, _at_least(cost_of(tried.price, usage, estimated=True), tried.price))


def _at_least(cost: Cost, price: Price | None) -> Cost:
    """Return ``cost`` with a grade that says that tokens may be missing from it. Where no token costs anything, nothing
    is missing."""
    if price is not None and price.origin in NAMED_PRICES:
        return cost_of(price, Usage())
    return attrs.evolve(cost, grade="at_least")


@attrs.define(eq=False, repr=False)
class Bill:
    """What one exchange is billed for. One task at a time writes to it: the one that reads the answer.

    ``usage`` and ``said`` (characters of the answer) are as far as the answer has come, ``whole`` says that it has
    ended well, ``asked_size`` is the request's, in bytes, ``answers`` are those that were asked for in one, of which
    only the first is looked at. ``goes_on`` are the tokens that are expected of an answer with which its provider goes
    on by itself. ``billed`` is false where it only counts tokens, or fetches what another exchange has paid for;
    ``booked`` stands in place of its own tokens, ``from_cache`` says that nobody was asked. ``settled``: it does not
    change any more."""

    tried: tuple[Tried, ...] = ()
    usage: Usage | None = None
    said: int = 0
    whole: bool = False
    asked_size: int = 0
    answers: int = 1
    goes_on: int = 0
    billed: bool = True
    booked: Booking | None = None
    from_cache: bool = False
    settled: bool = False
    _charges: tuple[tuple[Tried, ...], tuple[Charge, ...]] = ((), ())  # of which attempts they are, and they

    def charges(self) -> tuple[Charge, ...]:
        """What each of its attempts is billed for, those left out for which a provider bills nothing: it bills what it
        has accepted, whether or not the client got a word (QuantumNous/new-api#5235)."""
        if self._charges[0] is self.tried:
            return self._charges[1]
        found = tuple([charge for one in self.tried if (charge := self.charge(one)) is not None])
        if self.settled or self.whole:  # no attempt changes any more
            self._charges = self.tried, found
        return found

    def charge(self, tried: Tried) -> Charge | None:
        """The same of one of them."""
        if not self.billed:
            return None
        if tried.committed and self.from_cache:
            return Charge(tried, Usage(), Cost(0, "exact"))
        if tried.committed and self.booked is not None:
            return Charge(tried, self.booked.usage, self.booked.cost)
        if tried.committed:
            usage, estimated = self.counted()
            if usage is None or (estimated and self.goes_on):
                usage, estimated = usage or self._asked_usage(), True
                usage = attrs.evolve(usage, output=max(usage.output, self.goes_on))
        elif tried.usage is not None:
            usage, estimated = tried.usage, not (tried.usage.output or tried.usage.units)
        elif tried.unknown_input is not None and tried.status is not None:
            usage, estimated = Usage(input=tried.unknown_input), True
        elif tried.unknown_input is not None and tried.reason == "hedge_lost":
            return _charge_at_least(tried, Usage(input=tried.unknown_input))
        elif tried.unknown_input is not None:  # nobody knows whether it has begun
            return Charge(tried, Usage(), _at_least(Cost(0, "at_least"), tried.price))
        else:
            return None
        if tried.price is None and usage.reported_nanos is None:
            return Charge(tried, usage.with_all_steps, None)
        cost = cost_of(tried.price, usage, estimated=estimated)
        return Charge(tried, usage.with_all_steps if usage.steps else usage, cost)

    def cost(self) -> Cost | None:
        """What it has cost, with the worst grade of its attempts; ``None`` where nobody knows a price."""
        charges = self.charges()
        if len(charges) == 1:
            return charges[0].cost
        known = [charge.cost for charge in charges if charge.cost is not None]
        if not known:
            return None
        cost = total_cost(known)
        return cost if len(known) == len(charges) else attrs.evolve(cost, grade="at_least")

    def counted(self) -> tuple[Usage | None, bool]:
        """The tokens, and whether they are an estimate: an answer that breaks off has been paid for as far as it came,
        and most providers count only at its end (BerriAI/litellm#33736); some count never. An answer out of the cache
        has taken none, and what another exchange has paid for was counted there."""
        if not self.billed:
            return None, False
        if self.from_cache:
            return Usage(), False
        counted = self.usage is not None and bool(self.usage.prompt or self.usage.output)
        if not self.said or (self.whole and counted):
            return self.usage, self.usage is not None and self.usage.estimated
        known = self.usage if self.usage is not None and self.usage.prompt else self._asked_usage()
        output = -(-self.said * self.answers // CHARACTERS_PER_TOKEN)
        estimated = not counted or known.output < output
        return attrs.evolve(known, output=max(known.output, output)), estimated

    def _asked_usage(self) -> Usage:
        """The request's tokens, estimated."""
        return attrs.evolve(self.usage or Usage(), input=self.tokens_asked())

    def saved(self) -> Charge | None:
        """What an answer out of the cache would have been billed for, had its provider been asked."""
        if not self.from_cache:
            return None
        asked = copy.copy(self)
        asked.from_cache = False
        return next((asked.charge(one) for one in self.tried if one.committed), None)

    def tokens_asked(self) -> int:
        """The tokens of the request, about: what an attempt may have been billed for."""
        return max(1, self.asked_size // CHARACTERS_PER_TOKEN)
