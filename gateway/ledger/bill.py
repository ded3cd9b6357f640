"""The bill of one exchange: the usage and the cost of each of its attempts."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from providers.catalog.prices import NAMED_PRICES, Cost, Price, cost_of, total_cost
from providers.neutral.codec import complete_usage
from streams.events import Api, FailureReason, Usage

CHARACTERS_PER_TOKEN: Final = 4
"""A typical ratio for English prose."""

AttemptOutcome: TypeAlias = FailureReason | Literal["ok", "hedge_lost", "client_left", "refused", "internal"]
"""The outcome of an attempt.

``ok``: the client received its response. ``hedge_lost``: another attempt that ran at the same time won.
``client_left``: the client disconnected. ``refused``: a step refused the response. ``internal``: the gateway failed."""

OWN_OUTCOMES: Final = ("client_left", "refused", "internal")
"""Outcomes of attempts that are no failures of their provider, which may not have received them."""

_BROKEN_OFF: Final = ("client_left", "connection", "hedge_lost", "timeout")
"""Outcomes of an attempt whose response may have continued: its counts were not final."""

NO_NOTES: Final[Mapping[str, Any]] = {}

Cause: TypeAlias = Literal["first", "retry", "fallback", "hedge"]
"""The reason for an attempt: ``retry`` repeats a target, ``fallback`` uses another one."""


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class AttemptRecord:
    """One attempt of an exchange.

    ``target`` is the entry's name (for a wildcard ``provider/model``), ``provider`` the provider's id, ``model`` always
    ``provider/model``. ``head`` and ``content`` are the seconds until the response's head and its first content, if
    they arrived; ``seconds`` is the duration of a failed attempt. For a response that no client received, ``usage`` is
    the usage that the provider reported. ``unknown_usage`` is the estimated usage of an attempt that the provider may
    have billed without reporting usage (bircex/llmr#48). ``requests`` is the number of requests that it sent, each with
    a part of the client's; 0 for a cached response. ``committed``: the client received this response, so its usage is
    the exchange's usage. ``price`` is the target's price when the attempt started. ``upstream_id`` is the provider's
    request id, ``None`` if it sent none. ``notes`` are facts for observers, by the names of the features that add them
    until the exchange is settled."""

    target: str
    provider: str
    api: Api
    lane: str
    reason: AttemptOutcome = "ok"
    cause: Cause = "first"
    status: int | None = None
    head: float | None = None
    content: float | None = None
    seconds: float | None = None
    usage: Usage | None = None
    unknown_usage: Usage | None = None
    committed: bool = False
    model: str | None = None
    price: Price | None = None
    requests: int = 1
    upstream_id: str | None = None
    notes: Mapping[str, Any] = NO_NOTES

    def add_note(self, feature: str, note: object) -> None:
        """Add the note of a feature. Nothing else of a record changes, also not its charge."""
        vars(self).update(notes={**self.notes, feature: note})


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class Charge:
    """The billed usage of an attempt and its cost, which is ``None`` if the price is unknown."""

    attempt: AttemptRecord
    usage: Usage
    cost: Cost | None


@attrs.frozen(repr=False)
class Booking:
    """Usage of earlier work that a response reports, such as a batch's. ``cost`` is ``None`` if a price is unknown.

    ``id`` is the provider's id of that work."""

    usage: Usage
    cost: Cost | None
    id: str | None = None


def _charge_at_least(tried: AttemptRecord, usage: Usage) -> Charge:
    """Return the charge of an attempt without a response, with ``usage`` as a lower bound."""
    if tried.price is None:
        return Charge(tried, usage, None)
    return Charge(tried, usage, _at_least(cost_of(tried.price, usage, estimated=True), tried.price))


def _at_least(cost: Cost, price: Price | None) -> Cost:
    """Return ``cost`` graded as a lower bound, unless the price is zero."""
    if price is not None and price.origin in NAMED_PRICES:
        return cost_of(price, Usage())
    return attrs.evolve(cost, grade="at_least")


@attrs.define(eq=False, repr=False)
class Bill:
    """The bill of one exchange.

    Only the task that reads the response writes to it. ``usage`` and ``characters`` (of text, reasoning and arguments)
    grow with the response; ``is_complete``: the response ended well. ``request_size`` is the size of the request in
    bytes. ``answers`` is the number of requested choices; only the first one is read. ``expected_background_tokens`` is
    the estimated output of a response that the provider continues in the background. ``billed`` is false for a request
    that only counts tokens or fetches a result that another exchange paid for. ``booked`` replaces the exchange's own
    usage. ``unsent_usage`` returns the usage that the provider has reported before the end of the response.
    ``from_cache``: no provider received the request. ``settled``: the bill is final."""

    attempt_records: tuple[AttemptRecord, ...] = ()
    usage: Usage | None = None
    unsent_usage: Callable[[], Usage | None] | None = None
    characters: int = 0
    is_complete: bool = False
    request_size: int = 0
    answers: int = 1
    expected_background_tokens: int = 0
    billed: bool = True
    booked: Booking | None = None
    from_cache: bool = False
    settled: bool = False
    # The attempts, and the charges computed for them:
    _charges: tuple[tuple[AttemptRecord, ...], tuple[Charge, ...]] = ((), ())
    _final_usage: tuple[Usage | None, bool] | None = None  # of a settled bill

    def book(self, booking: Booking) -> None:
        """Bill ``booking`` instead of the exchange's own usage."""
        self.billed, self.usage, self.booked = True, booking.usage, booking
        self._charges = (), ()  # those computed before

    def charges(self) -> tuple[Charge, ...]:
        """Return the charge of each attempt that its provider bills.

        A provider bills an accepted request even if the client received nothing (QuantumNous/new-api#5235), and it may
        have accepted any request that was sent to its end."""
        if self._charges[0] is self.attempt_records:
            return self._charges[1]
        found = tuple([charge for one in self.attempt_records if (charge := self.charge(one)) is not None])
        if self.settled or self.is_complete:  # the attempts are final
            self._charges = self.attempt_records, found
        return found

    def charge(self, tried: AttemptRecord) -> Charge | None:
        """Return the charge of one attempt, or ``None`` if it is not billed."""
        if not self.billed:
            return None
        if tried.committed and self.from_cache:
            return Charge(tried, Usage(), Cost(0, "exact"))
        if tried.committed and self.booked is not None:
            return Charge(tried, self.booked.usage, self.booked.cost)
        if tried.committed:
            usage, estimated = self.usage_or_estimate()
            if usage is None or (estimated and self.expected_background_tokens):
                usage, estimated = usage or attrs.evolve(self.usage or Usage(), input=self.estimated_input()), True
                usage = attrs.evolve(usage, output=max(usage.output, self.expected_background_tokens))
        elif tried.usage is not None:
            usage = complete_usage(tried.usage, self.estimated_input(), 0)
            estimated = usage.estimated or tried.reason in _BROKEN_OFF or not (usage.output or usage.units)
        elif tried.unknown_usage is not None and tried.status is not None:
            usage, estimated = tried.unknown_usage, True
        elif tried.unknown_usage is not None:  # the provider may have started to respond
            return _charge_at_least(tried, tried.unknown_usage)
        else:
            return None
        if tried.price is None and usage.reported_nanos is None:
            return Charge(tried, usage.with_all_steps if usage.steps else usage, None)
        cost = cost_of(tried.price, usage, estimated=estimated)
        return Charge(tried, usage.with_all_steps if usage.steps else usage, cost)

    def cost(self) -> Cost | None:
        """Return the total cost with the worst grade of the charges, or ``None`` if a price is unknown."""
        charges = self.charges()
        if len(charges) == 1:
            return charges[0].cost
        known = [charge.cost for charge in charges if charge.cost is not None]
        if not known:
            return None
        cost = total_cost(known)
        return cost if len(known) == len(charges) else attrs.evolve(cost, grade="at_least")

    def usage_or_estimate(self) -> tuple[Usage | None, bool]:
        """Return the usage of the committed response, and whether it is an estimate.

        An interrupted response is billed up to the interruption, but most providers report usage only at the end
        (BerriAI/litellm#33736) and some never do. A cached response and a response that another exchange paid for count
        no tokens."""
        if self._final_usage is not None:
            return self._final_usage
        found = self._estimated_usage()
        if self.settled:
            self._final_usage, self.unsent_usage = found, None
        return found

    def _estimated_usage(self) -> tuple[Usage | None, bool]:
        if not self.billed:
            return None, False
        if self.from_cache:
            return Usage(), False
        usage = self.usage
        if not self.is_complete and self.unsent_usage is not None:
            usage = self.unsent_usage() or usage
        has_output = self.characters > 0 or (usage is not None and usage.output > 0)
        if not has_output or (self.is_complete and usage is not None and usage.prompt and usage.output):
            return usage, usage is not None and usage.estimated
        characters = self.characters * self.answers
        found = complete_usage(usage, self.estimated_input(), characters, trusts_zeros=False)
        if not self.is_complete and found.output < (written := -(-characters // CHARACTERS_PER_TOKEN)):
            found = attrs.evolve(found, output=written, estimated=True)
        return found, found.estimated

    def saved_charge(self) -> Charge | None:
        """Return the charge that the cached response avoided, or ``None`` if the response is not cached."""
        if not self.from_cache:
            return None
        asked = copy.copy(self)
        asked.from_cache, asked._final_usage = False, None
        return next((asked.charge(one) for one in self.attempt_records if one.committed), None)

    def estimated_input(self) -> int:
        """Return the estimated input tokens of the request."""
        return max(1, self.request_size // CHARACTERS_PER_TOKEN)
