"""What a holder may use: rates, requests at once and budgets, as values that the file's words are read into."""

from typing import Literal, TypeAlias

import attrs

Currency: TypeAlias = Literal["usd", "tokens"]
"""What a budget is counted in. Dollars are held as whole nano-dollars."""

Calendar: TypeAlias = Literal["hour", "day", "week", "month"]
"""A period that begins when the clock of ``timezone`` says so; weeks begin on Mondays."""


@attrs.frozen
class Rate:
    """So much in so many ``seconds``, refilled evenly; ``text`` is how it stands in the file (``600/m``)."""

    amount: int
    seconds: float
    text: str

    def __str__(self) -> str:
        return self.text


@attrs.frozen
class RateLimits:
    """The rates of one holder, and how many of its requests may be under way at once; ``None`` is no limit.
    ``count_cached``: tokens that were read from a cache count, too."""

    requests: Rate | None = None
    tokens: Rate | None = None
    input_tokens: Rate | None = None
    output_tokens: Rate | None = None
    concurrent: int | None = None
    count_cached: bool = False


@attrs.frozen
class RootLimit:
    """A rate of tokens for the requests to ``model`` that have the header ``header``: for those with ``value`` in it,
    or, where that is ``None``, for each value of its own."""

    model: str
    header: str
    value: str | None
    tokens: Rate

    def __str__(self) -> str:
        return f"{self.model}: {self.header}={'*' if self.value is None else self.value} {self.tokens}"


@attrs.frozen
class Rolling:
    """The last so many ``seconds``, whenever one looks."""

    seconds: float


@attrs.frozen
class SpendingBudget:
    """What may be spent in a period: ``most`` nano-dollars or tokens. ``text`` is how it stands in the file
    (``5 usd/run``). A run is what its client calls one."""

    most: int
    currency: Currency
    period: Calendar | Rolling | Literal["run"]
    text: str

    def __str__(self) -> str:
        return self.text


@attrs.frozen
class QueueSettings:
    """The requests that may wait for their place at a target, ``size`` at most and for ``wait`` seconds each."""

    size: int = 0
    wait: float = 0.0


@attrs.frozen
class CounterSettings:
    """Where rates, budgets and slots are counted. ``when_down``: while that is away each gateway goes on with its
    share, or refuses what is limited."""

    type: Literal["memory", "redis", "postgres"] = "memory"
    url: str | None = attrs.field(default=None, repr=False)
    when_down: Literal["share", "refuse"] = "share"
