"""Prices of models, and what a usage costs by them. Amounts are whole nano-dollars."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property, lru_cache
from time import time
from typing import Any, Final, Literal, TypeAlias

import attrs

from providers.catalog.price_list import LONGEST, price_row
from streams.events import Usage

Grade: TypeAlias = Literal["subscription", "exact", "estimated", "at_least"]
"""How well a cost is known: ``exact`` by the provider's usage and a price for each kind of it, ``estimated`` where one
of both was, ``at_least`` where something is missing from it. ``subscription``: a plan pays for it, not by the token."""

Origin: TypeAlias = Literal["catalogue", "config", "free", "subscription"]
"""The source of a price: the price list, or the configuration, also where nothing is paid by the token."""

NANOS: Final = 10**9  # nano-dollars of a dollar
MILLION: Final = 10**6  # the tokens that prices are for
DAY: Final = 86_400

GRADES: Final[tuple[Grade, ...]] = ("exact", "estimated", "at_least")
"""The grades of what is paid by the token, the worst last."""

SUBSCRIPTION_RANK: Final = -1
"""The rank of the grade ``subscription``, which a sum has only if all of its parts have it."""

BATCH: Final = "batch"
"""The service tier of what is worked off in a batch. Where a price says nothing of it, it is half of the price
(https://platform.openai.com/docs/guides/batch, https://platform.claude.com/docs/en/build-with-claude/batch-processing).
"""

USUAL_TIERS: Final = frozenset({"", "default", "standard", "auto", "on_demand"})
"""Words of providers for the service tier that the price itself is for."""

FREE_TOOLS: Final = frozenset({"web_fetch", "tool_search", "tool_search_tool_regex", "tool_search_tool_bm25"})
"""Server tools that cost their tokens alone (https://platform.claude.com/docs/en/about-claude/pricing)."""

KINDS: Final = ("input", "output", "cached", "cache_write", "cache_write_1h")

MODAL: Final[Mapping[str, str]] = {
    f"{kind}_{sense}_token": kind for sense in ("audio", "image") for kind in ("input", "cached", "output")
}
"""Tokens of sounds and pictures that cost something else than those of text: they are among the tokens of their kind,
so that the difference is added."""

UNITS: Final = ("image", "second", "character", "search", "query", "page", *MODAL)
"""What is billed beside tokens: pictures, seconds of sound, characters that are spoken, searches and questions of a
rerank, pages."""

SAME_AS: Final[Mapping[str, str]] = {"query": "search", "search": "query"}
"""Units that two makers name differently: the price of one holds for the other where that has none."""


@attrs.frozen
class Cost:
    """What something has cost, in nano-dollars. ``computed`` is what the price list says of it, where the provider has
    stated the cost itself."""

    nanos: int
    grade: Grade
    computed: int | None = attrs.field(default=None, eq=False)

    @property
    def dollars(self) -> str:
        """The same in dollars, exactly: ``0.054399``."""
        return f"{self.nanos // NANOS}.{self.nanos % NANOS:09}".rstrip("0").removesuffix(".")


@attrs.frozen
class Validity:
    """When a price of a schedule holds: from a moment on (Unix seconds), between two seconds of each day in UTC."""

    since: int = 0
    start: int = 0
    end: int = DAY

    def includes(self, at: float) -> bool:
        """True for ``at``, in Unix seconds. An end before the start is of the next day."""
        second = at % DAY
        if self.end < self.start:
            return at >= self.since and (second >= self.start or second < self.end)
        return at >= self.since and self.start <= second < self.end


@attrs.frozen
class Price:
    """The price of a model: nano-dollars for a million tokens, so that all of them are whole numbers.

    A kind that is ``None`` costs what ``input`` does, and ``cache_write_1h`` what ``cache_write`` does. ``above`` are
    prices for prompts of more tokens, the fewest first; ``tiers`` those of service tiers; of ``schedule`` the last that
    holds at the moment takes the place of the whole. ``fees`` are nano-dollars for a call of a server tool, ``request``
    for a request; ``units`` those for a million of what is billed beside tokens. ``provider`` and ``model`` say what it
    is the price of.
    """

    input: int
    output: int
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    above: tuple[tuple[int, "Price"], ...] = ()
    tiers: tuple[tuple[str, "Price"], ...] = ()
    schedule: tuple[tuple[Validity, "Price"], ...] = ()
    fees: tuple[tuple[str, int], ...] = ()
    request: int = 0
    units: tuple[tuple[str, int], ...] = ()
    origin: Origin = "catalogue"
    provider: str | None = None
    model: str | None = None

    @cached_property
    def with_cache_writes(self) -> "Price":
        """The same for an API in which writing to a cache costs 1.25 times the input and for an hour twice as much,
        unless something else is said."""
        write = -(-self.input * 5 // 4) if self.cache_write is None else self.cache_write
        hour = self.input * 2 if self.cache_write_1h is None else self.cache_write_1h
        return attrs.evolve(
            self,
            cache_write=write,
            cache_write_1h=hour,
            above=tuple((tokens, price.with_cache_writes) for tokens, price in self.above),
            tiers=tuple((tier, price.with_cache_writes) for tier, price in self.tiers),
            schedule=tuple((validity, price.with_cache_writes) for validity, price in self.schedule),
        )

    @cached_property
    def is_by_tokens(self) -> bool:
        """Whether tokens cost something, of text or of pictures and sound."""
        return bool(self.input or self.output or any(nanos for unit, nanos in self.units if unit in MODAL))

    @cached_property
    def half(self) -> "Price":
        """Half of what tokens and units cost: calls of server tools cost the same in a batch."""
        return attrs.evolve(
            self,
            **{kind: -(-nanos // 2) for kind in KINDS if (nanos := getattr(self, kind)) is not None},
            above=tuple((tokens, price.half) for tokens, price in self.above),
            units=tuple((unit, -(-nanos // 2)) for unit, nanos in self.units),
        )


FREE: Final = Price(0, 0, origin="free")
"""The price of what costs nothing: a server of one's own."""

SUBSCRIPTION: Final = Price(0, 0, origin="subscription")
"""The price of requests that a subscription pays for: they are counted, and have no cost of their own."""

NAMED_PRICES: Final[Mapping[str, Price]] = {"free": FREE, "subscription": SUBSCRIPTION}
"""Prices that a configuration gives by a word."""


def cost_of(price: Price | None, usage: Usage, *, estimated: bool = False, at: float | None = None) -> Cost:
    """Return what ``usage`` costs; ``estimated``: its tokens are. A cost that the provider has stated outranks the
    price list, the configuration outranks both (BerriAI/litellm#39441, #27588). ``at`` is Unix seconds, ``None`` for
    now."""
    if usage.reported_nanos is not None and (price is None or price.origin == "catalogue"):
        listed = None if price is None else computed_cost(price, usage, at=at).nanos
        return Cost(usage.reported_nanos, "exact", listed)
    return computed_cost(price, usage, estimated=estimated, at=at)


def computed_cost(price: Price | None, usage: Usage, *, estimated: bool = False, at: float | None = None) -> Cost:
    """Return what ``usage`` costs by ``price``, whatever the provider has stated. All is added up first and then
    rounded once, up to the next nano-dollar: a sum of costs is never below the cost of the sum."""
    if price is None:
        return Cost(0, "at_least")
    if price.origin == "subscription":
        return Cost(0, "subscription")
    if price.schedule:
        price = _holding(price, time() if at is None else at)
    amount, grade = _of_steps(price, usage) if usage.steps else _of_tokens(price, usage, usage.tier)
    if usage.calls:
        fees, fees_grade = _of_calls(price, usage.calls)
        amount, grade = amount + fees, worst_grade((grade, fees_grade))
    amount += price.request * MILLION
    if (estimated or usage.estimated) and grade == "exact":
        grade = "estimated"
    return Cost(-(-amount // MILLION), grade)


def worst_grade(grades: Iterable[Grade]) -> Grade:
    """Return the worst of ``grades``, which a sum of such costs has; ``exact`` for nothing."""
    return max(grades, key=grade_rank, default="exact")


def grade_rank(grade: Grade) -> int:
    """Return the place of ``grade`` in ``GRADES``, or ``SUBSCRIPTION_RANK``: the worse, the higher."""
    return SUBSCRIPTION_RANK if grade == "subscription" else GRADES.index(grade)


def grade_at(rank: int) -> Grade:
    """Return the grade of ``rank``, which may be beyond the worst."""
    return "subscription" if rank == SUBSCRIPTION_RANK else GRADES[min(rank, len(GRADES) - 1)]


def total_cost(costs: Sequence[Cost]) -> Cost:
    """Return the sum of ``costs``."""
    computed = [cost.computed for cost in costs if cost.computed is not None]
    nanos = sum(cost.nanos for cost in costs)
    listed = sum(cost.nanos for cost in costs if cost.computed is None) + sum(computed) if computed else None
    return Cost(nanos, worst_grade([cost.grade for cost in costs]), listed)


def _holding(price: Price, at: float) -> Price:
    return next((other for validity, other in reversed(price.schedule) if validity.includes(at)), price)


def _of_tokens(price: Price, usage: Usage, tier: str | None) -> tuple[int, Grade]:
    """Return the millionths of nano-dollars that the tokens of one turn of a model cost."""
    grade: Grade = "exact"
    if tier is not None and tier not in USUAL_TIERS:
        price, grade = _in_tier(price, tier.lower())
    if price.above:  # by the whole prompt, and then for all kinds of tokens (Helicone/helicone#5766)
        prompt = usage.input + usage.cache_read + usage.cache_write
        if usage.calls and prompt > price.above[0][0]:
            # Each call of a server tool was followed by one more turn, and the prompts of all are added up.
            prompt, grade = prompt // (1 + sum(times for _, times in usage.calls)), worst_grade((grade, "estimated"))
        price = _for_prompt(price, prompt)
    amount = usage.input * price.input + usage.output * price.output
    if usage.cache_read:
        cached, grade = (price.input, _guessed(price, grade)) if price.cached is None else (price.cached, grade)
        amount += usage.cache_read * cached
    if usage.cache_write:
        written, grade = _of_writes(price, usage, grade)
        amount += written
    if usage.units or price.units:
        counted, grade = _of_units(price, usage, grade)
        amount += counted
    return amount, grade


def _of_units(price: Price, usage: Usage, grade: Grade) -> tuple[int, Grade]:
    """Return the cost of what is billed beside tokens, as ``_of_tokens`` does. Where nothing that was counted has a
    price, something is missing: 43 of 55 models of speech were booked at nothing (BerriAI/litellm#36914)."""
    prices, amount, is_known = (
        dict(price.units),
        0,
        bool((price.input or price.output) and (usage.prompt or usage.output)),
    )
    for unit, number in usage.units:
        own = prices.get(unit, prices.get(SAME_AS.get(unit, "")))
        kind = MODAL.get(unit)
        if own is not None and kind is not None:
            usual: int | None = getattr(price, kind)
            amount += number * (own - (price.input if usual is None else usual))
        elif own is not None:
            amount += number * own
            is_known = True
        elif kind is not None and number:
            grade = _guessed(price, grade)
    return amount, grade if is_known or price.origin == "free" else worst_grade((grade, "at_least"))


def _of_writes(price: Price, usage: Usage, grade: Grade) -> tuple[int, Grade]:
    """Return the cost of what was written to a cache: writes that live an hour, and all others."""
    hour = usage.cache_write_1h or 0
    usual = price.input if price.cache_write is None else price.cache_write
    long = usual if price.cache_write_1h is None else price.cache_write_1h
    is_known = price.cache_write is not None and (not hour or price.cache_write_1h is not None)
    amount = (usage.cache_write - hour) * usual + hour * long
    return amount, grade if is_known else _guessed(price, grade)


def _guessed(price: Price, grade: Grade) -> Grade:
    """Return the grade where a kind has no price of its own: that it costs what the input does is a rule of the
    configuration, and a guess where the price list says nothing."""
    return "estimated" if price.origin == "catalogue" and grade == "exact" else grade


def _in_tier(price: Price, tier: str) -> tuple[Price, Grade]:
    if tier in USUAL_TIERS or price.origin == "free":
        return price, "exact"
    found = next((other for name, other in price.tiers if name == tier), None)
    if found is not None:
        return found, "exact"
    if tier == BATCH:
        return price.half, "exact"
    first, _, more = tier.partition(" ")  # fast mode, or a country: nobody has said what that costs in a batch
    return _in_tier(price, BATCH)[0] if first == BATCH and more else price, "estimated"


def _for_prompt(price: Price, tokens: int) -> Price:
    return next((other for above, other in reversed(price.above) if tokens > above), price)


def _of_steps(price: Price, usage: Usage) -> tuple[int, Grade]:
    """Return the cost of an answer that took several turns, each at the price of the model that took it."""
    amounts: list[int] = []
    grades: list[Grade] = []
    for step in usage.steps:
        own = price if step.model is None or _is_own(price, step.model) else price_of(price.provider, step.model)
        amount, grade = _of_tokens(own or price, step.usage, step.usage.tier or usage.tier)
        amounts.append(amount)
        grades.append(grade if own is not None else worst_grade((grade, "estimated")))
    return sum(amounts), worst_grade(grades)


def _is_own(price: Price, model: str) -> bool:
    """Return whether ``model`` is what ``price`` is for: in full, or with a date behind it."""
    own = price.model
    return price.origin == "free" or own in (None, "*") or model == own or model.startswith((f"{own}-20", f"{own}@"))


def _of_calls(price: Price, calls: tuple[tuple[str, int], ...]) -> tuple[int, Grade]:
    """Return the cost of calls of server tools. What a tool costs that nobody has priced is missing."""
    if price.origin == "free":
        return 0, "exact"
    fees = dict(price.fees)
    grade: Grade = "exact" if all(name in fees or name in FREE_TOOLS for name, _ in calls) else "at_least"
    return sum(fees.get(name, 0) * times for name, times in calls) * MILLION, grade


def price_of(provider: str | None, model: str) -> Price | None:
    """Return the price of a provider's model; ``None`` where nobody knows it. Names that are too long are not
    remembered: a client's may have megabytes."""
    return _listed(provider, model) if provider is not None and len(model) <= LONGEST else None


@lru_cache(maxsize=4096)
def _listed(provider: str, model: str) -> Price | None:
    row = price_row(provider, model)
    return None if row is None else read_price(row, "catalogue", provider, model)


def read_price(row: Mapping[str, Any], origin: Origin, provider: str | None = None, model: str | None = None) -> Price:
    """Read the price that ``row`` says in dollars, as a row of the price list or an entry of the configuration has it:
    kinds of tokens by the million, ``above``, ``tiers``, ``tools`` and ``request`` by the call, ``per`` by the unit,
    and a list ``schedule``. What is not said of longer prompts and of tiers is as in ``row`` itself."""
    kinds = {kind: _nanos(row[kind]) for kind in KINDS if row.get(kind) is not None}
    nested = {kind: row[kind] for kind in (*KINDS, "per") if kind in row}
    return Price(
        **{"input": 0, "output": 0, **kinds},
        above=tuple(
            (int(tokens), read_price({**nested, **other}, origin))
            for tokens, other in sorted(row.get("above", {}).items(), key=lambda pair: int(pair[0]))
        ),
        tiers=tuple(
            (tier.lower(), read_price({**nested, **other}, origin)) for tier, other in row.get("tiers", {}).items()
        ),
        schedule=tuple(
            (Validity(**valid), read_price(other, origin, provider, model)) for valid, other in row.get("schedule", ())
        ),
        fees=tuple((name, _nanos(fee)) for name, fee in row.get("tools", {}).items()),
        request=_nanos(row.get("request", 0)),
        units=tuple((unit, _nanos(dollars, MILLION)) for unit, dollars in row.get("per", {}).items()),
        origin=origin,
        provider=provider,
        model=model,
    )


def _nanos(dollars: Any, times: int = 1) -> int:
    return int((Decimal(str(dollars)) * NANOS * times).to_integral_value(ROUND_HALF_UP))
