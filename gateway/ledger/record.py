"""The record of one exchange, from its arrival to its settlement."""

import copy
import time
from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

import attrs

from gateway.http.headers import Headers
from gateway.ledger.buckets import Buckets
from providers.catalog.prices import NAMED_PRICES, Cost, Price, cost_of, total_cost
from streams.events import AnswerStart, Api, ErrorInfo, FailureReason, Usage

CHARACTERS_PER_TOKEN = 4  # of English prose, about

Ended: TypeAlias = Literal[
    "complete", "refused", "upstream_error", "client_disconnected", "shutdown", "internal_error"
]  # fmt: skip

TriedReason: TypeAlias = FailureReason | Literal["ok", "hedge_lost", "client_left", "internal"]
"""What became of an attempt. ``ok``: its answer went to the client; ``hedge_lost``: another one's did, which had begun
beside it; ``own``: trigate's limits ended it, or its mistake."""

Cause: TypeAlias = Literal["first", "retry", "fallback", "hedge"]
"""Why an attempt was made: ``retry`` at a target that was asked before, ``fallback`` at another one."""


CacheOutcome: TypeAlias = Literal["hit", "miss", "bypass", "off"]
"""What the cache of answers had for an exchange: an answer, none; ``bypass``: it was not to be asked, ``off``: it is
not for this client and this name."""


@attrs.frozen
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


@attrs.frozen
class Charge:
    """What an attempt is billed for: tokens, and what they cost, ``None`` where nobody knows their price."""

    tried: Tried
    usage: Usage
    cost: Cost | None


@attrs.frozen
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


class Settlement(Protocol):
    """What has to be settled with an exchange, once and at once; it never raises. ``at`` is when its request began, as
    Unix has it."""

    @property
    def at(self) -> float: ...

    def settle(self, record: "Record") -> None: ...

    def left(self, record: "Record") -> Headers:
        """The headers that tell a client what it may still use."""
        ...


@attrs.define(eq=False)
class Record:
    """One exchange while it runs. Only the tasks of its own request write to it."""

    id: str
    api: Api
    served: bool = True  # there is such a path; else ``api`` is only whose shape the error has
    began: float = attrs.field(factory=time.perf_counter)
    endpoint: str | None = None  # of a request that is no conversation
    asked: str | None = None  # the model's name in the client's words
    target: str | None = None  # provider/model
    model: str | None = None  # the upstream's name for it
    provider_api: Api | None = None
    lane: str | None = None
    stream: bool = False
    status: int | None = None
    attempts: int = 0
    route: str | None = None  # the name of several targets, in the file's words
    tried: tuple[Tried, ...] = ()
    waited: float = 0.0  # seconds between attempts, or for a target that was out
    first_byte: float | None = None  # seconds from the request to the first byte for the client
    first_write: float | None = None  # the same to the first write of a stream's own events
    last_write: float = 0.0  # when the last one had been taken
    gaps: Buckets | None = None  # between writes, of all streams together
    opening: AnswerStart | None = None  # the answer's id and model, in the provider's words
    usage: Usage | None = None
    picture: Mapping[str, str] | None = None  # what a request for pictures says of them
    asked_size: int = 0  # bytes of the request
    said: int = 0  # characters of the answer that have come
    reason: str | None = None  # why the answer ended
    failed: ErrorInfo | None = None
    whole: bool = False  # the answer has ended well
    client: str | None = None  # whose key let it in
    address: str | None = None  # the client's
    abandoned: bool = False  # the client left, and the answer was read on without it
    shut_down: bool = False  # the end of the process has cut the provider's answer off
    upstream_id: str | None = None
    dropped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    settled: bool = False
    run: str | None = None  # what its client calls the run that it belongs to
    reservation: Settlement | None = None  # of what its client and its targets may use
    billed: bool = True  # else it only counts tokens, or fetches what another exchange has paid for
    booked: Booking | None = None  # in place of its own tokens, at its target's price
    goes_on: int = 0  # tokens that are expected of an answer with which its provider goes on by itself
    answers: int = 1  # that were asked for in one: only the first of them is looked at
    cache: CacheOutcome | None = None  # ``None`` where nothing is cached
    cache_age: int | None = None  # seconds since an answer out of the cache was given by its provider
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
        if tried.committed and self.cache == "hit":
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
        if tried.price is None and usage.told_nanos is None:
            return Charge(tried, usage.of_all_steps, None)
        cost = cost_of(tried.price, usage, estimated=estimated)
        return Charge(tried, usage.of_all_steps if usage.steps else usage, cost)

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
        if self.cache == "hit":
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
        if self.cache != "hit":
            return None
        asked = copy.copy(self)
        asked.cache = None
        return next((asked.charge(one) for one in self.tried if one.committed), None)

    def tokens_asked(self) -> int:
        """The tokens of the request, about: what an attempt may have been billed for."""
        return max(1, self.asked_size // CHARACTERS_PER_TOKEN)

    @property
    def delivered(self) -> bool:
        """Whether its client got a word of an answer, and not of an error or a keep-alive alone. What is booked was
        made before, and is not booked again for another look at it."""
        if self.booked is not None:
            return True
        return self.first_byte is not None and (self.whole or (self.first_write is not None and self.said > 0))

    def answered(self, status: int) -> None:
        """The first byte goes to the client."""
        self.status = status
        if self.first_byte is None:
            self.first_byte = time.perf_counter() - self.began

    def writes(self) -> None:
        """Events of a stream go to the client."""
        now = time.perf_counter()
        if self.first_write is None:
            self.first_write = now - self.began
        elif self.gaps is not None:
            self.gaps.add(now - self.last_write)

    def wrote(self) -> None:
        """They have been taken: the time until then was the client's."""
        self.last_write = time.perf_counter()

    def ended(self, disconnected: bool) -> Ended:
        """The way the exchange ended; what the upstream or we did wrong outranks what the client did about it, but not
        what it had done before."""
        if self.failed is not None and self.failed.kind == "internal":
            return "internal_error"
        if self.abandoned:
            return "client_disconnected"
        # What had failed before the process came to its end keeps its own reason; "overloaded" is what is said then.
        if self.shut_down and not self.whole and (self.failed is None or self.failed.kind == "overloaded"):
            return "shutdown"
        if self.failed is not None:
            asked = self.attempts or self.cache == "miss"  # by itself, or by the one whose answer it followed
            return "upstream_error" if asked else "refused"
        if self.whole:
            return "complete"
        # Neither told of a failure nor whole, and the client still there: a task of ours has crashed.
        return "client_disconnected" if disconnected else "internal_error"
