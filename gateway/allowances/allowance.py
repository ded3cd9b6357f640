"""An allowance: what one holder may use of one thing, and what a request takes of it."""

from typing import Literal, Protocol, TypeAlias

import attrs

from gateway.counters.counter import Counter
from streams.events import Usage

HolderKind: TypeAlias = Literal["client_keys", "client_groups", "model_providers", "ratelimits"]
"""Under which key of the file the holder stands."""

Measure: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens", "concurrent", "usd"]
"""What is counted; ``usd`` in nano-dollars."""


@attrs.frozen
class Holder:
    """Who has an allowance: a client key, a group of them, an entry, or one of Plano's root ``ratelimits``."""

    kind: HolderKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}"


@attrs.frozen
class Consumption:
    """What a request uses, expected or real: ``usage`` in tokens, ``nanos`` in nano-dollars."""

    usage: Usage
    nanos: int = 0
    requests: int = 1


class Allowance(Protocol):
    """What ``holder`` may use of what ``measure`` says. ``text`` is how it stands in the file."""

    @property
    def holder(self) -> Holder: ...

    @property
    def measure(self) -> Measure: ...

    @property
    def text(self) -> str: ...

    @property
    def count_cached(self) -> bool:
        """Whether tokens read from a cache count."""
        ...

    def counter(self, at: float, run: str | None) -> Counter | None:
        """The counter of a request that began ``at`` (Unix seconds) and belongs to ``run``; ``None`` where it does not
        concern it: a budget for runs, and there is none."""
        ...


def measured(measure: Measure, consumption: Consumption, *, count_cached: bool) -> int:
    """How much of ``consumption`` counts (BerriAI/litellm#18728)."""
    usage = consumption.usage
    fresh = usage.input + usage.cache_write + (usage.cache_read if count_cached else 0)
    match measure:
        case "requests":
            return consumption.requests
        case "concurrent":
            return 1
        case "usd":
            return consumption.nanos
        case "tokens":
            return fresh + usage.output
        case "input_tokens":
            return fresh
        case "output_tokens":
            return usage.output
