"""Prices of models and the costs of usage, in whole nano-dollars."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property, lru_cache
from time import time
from typing import Any, Final, Literal, TypeAlias

import attrs

from providers.catalog.price_list import MAX_NAME, price_row
from providers.neutral.token_usage import PROVISIONED
from streams.events import Usage

Grade: TypeAlias = Literal["subscription", "exact", "estimated", "at_least"]
"""The reliability of a cost.

``exact``: the provider's usage, with a price for each kind; ``estimated``: one of them was estimated; ``at_least``:
something is missing. ``subscription``: a plan pays, not by the token.
"""

Origin: TypeAlias = Literal["catalogue", "config", "free", "subscription"]
"""The source of a price: the price list or the configuration, which also sets free and subscription prices."""

NANOS: Final = 10**9  # nano-dollars per dollar
MILLION: Final = 10**6  # prices are per million tokens
DAY: Final = 86_400

GRADES: Final[tuple[Grade, ...]] = ("exact", "estimated", "at_least")
"""The grades of costs that are paid by the token, the worst last."""

SUBSCRIPTION_RANK: Final = -1
"""The rank of the grade ``subscription``; a sum has it only if all its parts have it."""

BATCH: Final = "batch"
"""The service tier of batches. Unless its price is listed, it costs half
(https://platform.openai.com/docs/guides/batch, https://platform.claude.com/docs/en/build-with-claude/batch-processing).
"""

RESIDENT: Final = "us"
"""The end of the service tier of requests that Anthropic answered in the United States only. All tokens cost a tenth
more (https://platform.claude.com/docs/en/about-claude/pricing#data-residency-pricing)."""

USUAL_TIERS: Final = frozenset({"", "default", "standard", "auto", "on_demand"})
"""Providers' names for the standard service tier, which the base price is for."""

FREE_TOOLS: Final = frozenset({"web_fetch", "tool_search", "tool_search_tool_regex", "tool_search_tool_bm25"})
"""Server tools that only cost their tokens (https://platform.claude.com/docs/en/about-claude/pricing)."""

KINDS: Final = ("input", "output", "cached", "cache_write", "cache_write_1h")

MODAL: Final[Mapping[str, str]] = {
    f"{kind}_{sense}_token": kind for sense in ("audio", "image") for kind in ("input", "cached", "output")
}
"""By unit, the kind of tokens that includes these audio and image tokens; the difference in price is added."""

UNITS: Final = ("image", "second", "character", "search", "query", "page", *MODAL)
"""Billed units besides tokens: images, seconds of audio, spoken characters, searches and rerank queries, pages."""

SAME_AS: Final[Mapping[str, str]] = {"query": "search", "search": "query"}
"""Units that two makers name differently; the price of one applies to the other."""


@attrs.frozen(repr=False)
class Cost:
    """A cost in nano-dollars. ``computed`` is the price list's cost if the provider reported ``nanos`` itself."""

    nanos: int
    grade: Grade
    computed: int | None = attrs.field(default=None, eq=False)

    @property
    def dollars(self) -> str:
        """The exact cost in dollars, such as ``0.054399``."""
        return f"{self.nanos // NANOS}.{self.nanos % NANOS:09}".rstrip("0").removesuffix(".")


@attrs.frozen(repr=False)
class Validity:
    """A period of a price schedule: from Unix second ``since`` on, daily between two seconds of the day in UTC."""

    since: int = 0
    start: int = 0
    end: int = DAY

    def includes(self, at: float) -> bool:
        """Return whether the period includes ``at``, in Unix seconds. An end before the start is on the next day."""
        second = at % DAY
        if self.end < self.start:
            return at >= self.since and (second >= self.start or second < self.end)
        return at >= self.since and self.start <= second < self.end


@attrs.frozen(repr=False)
class Price:
    """The price of a model, in nano-dollars for a million tokens, so that every price is a whole number.

    A kind that is ``None`` costs the same as ``input``, and ``cache_write_1h`` the same as ``cache_write``. ``above``
    are prices for prompts of more tokens, the fewest first; ``tiers`` are prices of service tiers; the last currently
    valid price of ``schedule`` replaces the whole price. ``fees`` are per call of a server tool and ``request`` per
    request, in nano-dollars; ``units`` are per million of other units, ``least`` the fewest billed ones of a request.
    ``unreported`` are the tools that each request calls at least once, although answers do not report it. ``provider``
    and ``model`` identify the priced model.
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
    least: tuple[tuple[str, int], ...] = ()
    unreported: tuple[str, ...] = ()
    origin: Origin = "catalogue"
    provider: str | None = None
    model: str | None = None

    @cached_property
    def with_cache_writes(self) -> "Price":
        """A copy where cache writes cost 1.25 times the input, and for one hour twice the input, unless priced
        otherwise."""
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
        """True if text, image or audio tokens have a price."""
        return bool(self.input or self.output or any(nanos for unit, nanos in self.units if unit in MODAL))

    @cached_property
    def half(self) -> "Price":
        """A copy with half the prices of tokens and units; server tool calls cost the same in a batch."""
        return self._scaled_copy(1, 2)

    @cached_property
    def resident(self) -> "Price":
        """A copy where tokens and units cost a tenth more."""
        return self._scaled_copy(11, 10)

    def _scaled_copy(self, by: int, over: int) -> "Price":
        """Return a copy with the prices of tokens and units multiplied by ``by / over``, rounded up."""
        return attrs.evolve(
            self,
            **{kind: -(-nanos * by // over) for kind in KINDS if (nanos := getattr(self, kind)) is not None},
            above=tuple((tokens, price._scaled_copy(by, over)) for tokens, price in self.above),
            units=tuple((unit, -(-nanos * by // over)) for unit, nanos in self.units),
        )


FREE: Final = Price(0, 0, origin="free")
"""The price of own servers, which cost nothing."""

SUBSCRIPTION: Final = Price(0, 0, origin="subscription")
"""The price of requests that a subscription pays for."""

NAMED_PRICES: Final[Mapping[str, Price]] = {"free": FREE, "subscription": SUBSCRIPTION}
"""Prices that a configuration sets by name."""


_NOTHING: Final[tuple[int, Grade]] = (0, "subscription")


def cost_of(price: Price | None, usage: Usage, *, estimated: bool = False, at: float | None = None) -> Cost:
    """Return the cost of ``usage``; with ``estimated`` its tokens are estimates.

    A cost reported by the provider overrides the price list, the configuration overrides both (BerriAI/litellm#39441,
    #27588). ``at`` is in Unix seconds, ``None`` for now.
    """
    if usage.reported_nanos is not None and (price is None or price.origin == "catalogue"):
        listed = None if price is None else computed_cost(price, usage, at=at).nanos
        return Cost(usage.reported_nanos, "exact", listed)
    return computed_cost(price, usage, estimated=estimated, at=at)


def computed_cost(price: Price | None, usage: Usage, *, estimated: bool = False, at: float | None = None) -> Cost:
    """Return the cost of ``usage`` by ``price``, ignoring a cost reported by the provider.

    The total is rounded up to whole nano-dollars once, so a sum of costs is never below the cost of the sum.
    """
    if price is None:
        return Cost(0, "at_least")
    if price.origin == "subscription":
        return Cost(0, "subscription")
    if price.schedule:
        price = _current_price(price, time() if at is None else at)
    amount, grade = _NOTHING
    if not _is_prepaid(price, usage.tier):
        amount, grade = _steps_cost(price, usage) if usage.steps else _tokens_cost(price, usage, usage.tier)
    calls = _with_unreported(usage.calls, price.unreported) if price.unreported else usage.calls
    if calls:
        fees, fees_grade = _calls_cost(price, calls)
        amount, grade = amount + fees, worst_grade((grade, fees_grade))
        if calls is not usage.calls:
            grade = worst_grade((grade, "at_least"))
    amount += price.request * MILLION
    if (estimated or usage.estimated) and grade == "exact":
        grade = "estimated"
    return Cost(-(-amount // MILLION), grade)


def write_premium(price: Price, usage: Usage, *, at: float | None = None) -> int:
    """Return the nano-dollars by which the tokens written to a cache cost more than plain input.

    ``usage`` counts as one model turn, even if it lists several."""
    if price.schedule:
        price = _current_price(price, time() if at is None else at)
    price, _ = _applying_price(price, usage, usage.tier)
    written, _ = _writes_cost(price, usage, "exact")
    return max(written - usage.cache_write * price.input, 0) // MILLION


def worst_grade(grades: Iterable[Grade]) -> Grade:
    """Return the worst of ``grades``, the grade of a sum of such costs; ``exact`` if there are none."""
    return max(grades, key=grade_rank, default="exact")


def grade_rank(grade: Grade) -> int:
    """Return the position of ``grade`` in ``GRADES``, or ``SUBSCRIPTION_RANK``; a higher rank is worse."""
    return SUBSCRIPTION_RANK if grade == "subscription" else GRADES.index(grade)


def grade_at(rank: int) -> Grade:
    """Return the grade of ``rank``; ranks beyond the worst give the worst."""
    return "subscription" if rank == SUBSCRIPTION_RANK else GRADES[min(rank, len(GRADES) - 1)]


def total_cost(costs: Sequence[Cost]) -> Cost:
    computed = [cost.computed for cost in costs if cost.computed is not None]
    nanos = sum(cost.nanos for cost in costs)
    listed = sum(cost.nanos for cost in costs if cost.computed is None) + sum(computed) if computed else None
    return Cost(nanos, worst_grade([cost.grade for cost in costs]), listed)


def _current_price(price: Price, at: float) -> Price:
    return next((other for validity, other in reversed(price.schedule) if validity.includes(at)), price)


def _tokens_cost(price: Price, usage: Usage, tier: str | None) -> tuple[int, Grade]:
    """Return the cost of the tokens of one model turn, in millionths of a nano-dollar, and its grade."""
    price, grade = _applying_price(price, usage, tier)
    amount = usage.input * price.input + usage.output * price.output
    if usage.cache_read:
        cached, grade = (price.input, _fallback_grade(price, grade)) if price.cached is None else (price.cached, grade)
        amount += usage.cache_read * cached
    if usage.cache_write:
        writes_cost, grade = _writes_cost(price, usage, grade)
        amount += writes_cost
    if usage.units or price.units:
        units_cost, grade = _units_cost(price, usage, grade)
        amount = max(0, amount + units_cost)  # media tokens beyond the counted ones refund nothing
    return amount, grade


def _applying_price(price: Price, usage: Usage, tier: str | None) -> tuple[Price, Grade]:
    """Return the price of the tokens of one model turn, by its service tier and its prompt, and the grade of that."""
    grade: Grade = "exact"
    if tier is not None and tier not in USUAL_TIERS:
        price, grade = _tier_price(price, tier.lower())
    if price.above:  # depends on the whole prompt and applies to all kinds of tokens (Helicone/helicone#5766)
        prompt = usage.input + usage.cache_read + usage.cache_write
        if usage.calls and prompt > price.above[0][0]:
            # Each call of a server tool adds a turn, and the prompts of all turns are added up.
            prompt, grade = prompt // (1 + sum(times for _, times in usage.calls)), worst_grade((grade, "estimated"))
        price = next((other for above, other in reversed(price.above) if prompt > above), price)
    return price, grade


def _units_cost(price: Price, usage: Usage, grade: Grade) -> tuple[int, Grade]:
    """Return the cost of other units than tokens, as ``_tokens_cost`` does.

    The grade is ``at_least`` if nothing has a price: elsewhere 43 of 55 speech models were billed as free
    (BerriAI/litellm#36914).
    """
    prices, amount, is_known = (
        dict(price.units),
        0,
        bool((price.input or price.output) and (usage.prompt or usage.output)),
    )
    least = dict(price.least)
    for unit, counted in usage.units:
        number = max(counted, least.get(unit, 0)) if counted else 0
        own = prices.get(unit, prices.get(SAME_AS.get(unit, "")))
        kind = MODAL.get(unit)
        if own is not None and kind is not None:
            usual: int | None = getattr(price, kind)
            amount += number * (own - (price.input if usual is None else usual))
        elif own is not None:
            amount += number * own
            is_known = True
        elif kind is not None and number:
            grade = _fallback_grade(price, grade)
    return amount, grade if is_known or price.origin == "free" else worst_grade((grade, "at_least"))


def _writes_cost(price: Price, usage: Usage, grade: Grade) -> tuple[int, Grade]:
    """Return the cost of cache writes: those with the longer lifetime (an hour, or OpenAI's 12), and all others."""
    hour = min(usage.cache_write_1h or 0, usage.cache_write)
    usual = price.input if price.cache_write is None else price.cache_write
    long = usual if price.cache_write_1h is None else price.cache_write_1h
    is_known = price.cache_write is not None and (not hour or price.cache_write_1h is not None)
    amount = (usage.cache_write - hour) * usual + hour * long
    return amount, grade if is_known else _fallback_grade(price, grade)


def _fallback_grade(price: Price, grade: Grade) -> Grade:
    """Return the grade for a kind without a price, which costs the same as the input.

    That is a rule in configured prices, but a guess for the price list.
    """
    return "estimated" if price.origin == "catalogue" and grade == "exact" else grade


def has_tier_price(price: Price, tier: str) -> bool:
    """Return whether the price of the service tier ``tier`` is known; otherwise its cost is an estimate."""
    return _is_prepaid(price, tier) or _tier_price(price, tier.lower())[1] == "exact"


def _is_prepaid(price: Price, tier: str | None) -> bool:
    """Return whether a commitment pays for the tokens of the service tier ``tier``, unless that tier has a price."""
    is_priced = price.origin == "free" or any(name == PROVISIONED for name, _ in price.tiers)
    return tier is not None and tier.lower() == PROVISIONED and not is_priced


def _tier_price(price: Price, tier: str) -> tuple[Price, Grade]:
    if tier in USUAL_TIERS or price.origin == "free":
        return price, "exact"
    found = next((other for name, other in price.tiers if name == tier), None)
    if found is not None:
        return found, "exact"
    if tier == BATCH:
        return price.half, "exact"
    usual, _, place = tier.rpartition(" ")
    if place == RESIDENT and price.origin == "catalogue":
        resident, grade = _tier_price(price, usual)
        return resident.resident, grade
    first, _, more = tier.partition(" ")  # fast mode or a country: its batch price is unknown
    return _tier_price(price, BATCH)[0] if first == BATCH and more else price, "estimated"


def _steps_cost(price: Price, usage: Usage) -> tuple[int, Grade]:
    """Return the cost of an answer of several turns, each at the price of its model."""
    amounts: list[int] = []
    grades: list[Grade] = []
    for step in usage.steps:
        own = price if step.model is None or _is_for_model(price, step.model) else price_of(price.provider, step.model)
        amount, grade = _tokens_cost(own or price, step.usage, step.usage.tier or usage.tier)
        amounts.append(amount)
        grades.append(grade if own is not None else worst_grade((grade, "estimated")))
    return sum(amounts), worst_grade(grades)


def _is_for_model(price: Price, model: str) -> bool:
    """Return whether ``price`` is for ``model``, possibly followed by a date."""
    own = price.model
    return price.origin == "free" or own in (None, "*") or model == own or model.startswith((f"{own}-20", f"{own}@"))


def _calls_cost(price: Price, calls: tuple[tuple[str, int], ...]) -> tuple[int, Grade]:
    """Return the cost of server tool calls; without a price for one, the grade is ``at_least``."""
    if price.origin == "free":
        return 0, "exact"
    fees = dict(price.fees)
    grade: Grade = "exact" if all(name in fees or name in FREE_TOOLS for name, _ in calls) else "at_least"
    return sum(fees.get(name, 0) * times for name, times in calls) * MILLION, grade


def _with_unreported(calls: tuple[tuple[str, int], ...], tools: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Return ``calls`` and one call of each of ``tools`` without any, the same object if all are reported."""
    reported = {name for name, _ in calls}
    missing = tuple((name, 1) for name in tools if name not in reported)
    return calls + missing if missing else calls


def price_of(provider: str | None, model: str) -> Price | None:
    """Return the price of a provider's model, or ``None`` if unknown.

    Long names are not cached, because a client may send megabytes.
    """
    return _listed_price(provider, model) if provider is not None and len(model) <= MAX_NAME else None


@lru_cache(maxsize=4096)
def _listed_price(provider: str, model: str) -> Price | None:
    row = price_row(provider, model)
    return None if row is None else read_price(row, "catalogue", provider, model)


def read_price(row: Mapping[str, Any], origin: Origin, provider: str | None = None, model: str | None = None) -> Price:
    """Return the price of ``row``, in dollars, from the price list or the configuration.

    Rows have kinds of tokens by the million, ``above``, ``tiers``, ``tools`` and ``request`` by the call, ``per`` by
    the unit, ``least`` units, and lists ``schedule`` and ``unreported``. Prices for longer prompts and tiers default to
    those of ``row``.
    """
    kinds = {kind: _to_nanos(row[kind]) for kind in KINDS if row.get(kind) is not None}
    nested = {kind: row[kind] for kind in (*KINDS, "per", "least") if kind in row}
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
        fees=tuple((name, _to_nanos(fee)) for name, fee in row.get("tools", {}).items()),
        request=_to_nanos(row.get("request", 0)),
        units=tuple((unit, _to_nanos(dollars, MILLION)) for unit, dollars in row.get("per", {}).items()),
        least=tuple((unit, int(number)) for unit, number in row.get("least", {}).items()),
        unreported=tuple(row.get("unreported", ())),
        origin=origin,
        provider=provider,
        model=model,
    )


def _to_nanos(dollars: Any, times: int = 1) -> int:
    return int((Decimal(str(dollars)) * NANOS * times).to_integral_value(ROUND_HALF_UP))
