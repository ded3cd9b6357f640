"""An allowance: what one holder may use of one thing, and what a request takes of it."""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

import attrs

from gateway.counters.counter import Counter
from streams.events import Usage

HolderKind: TypeAlias = Literal["everybody", "client_keys", "client_groups", "model_providers", "ratelimits"]
"""The key of the file that lists the holder; ``everybody`` for the limits at its root."""

Measure: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens", "concurrent", "usd"]
"""What is counted; ``usd`` in nano-dollars."""


_TITLES: Final[Mapping[HolderKind, str]] = {
    "client_keys": "client key",
    "client_groups": "client group",
    "model_providers": "entry",
    "ratelimits": "ratelimits",
}


@attrs.frozen
class Holder:
    """The owner of an allowance: all clients together, a client key, a group of them, an entry, or one of Plano's
    limits by a header."""

    kind: HolderKind
    name: str

    def __str__(self) -> str:
        return self.name if self.kind == "everybody" else f"{self.kind}.{self.name}"

    @property
    def title(self) -> str:
        """The owner in words for people: ``client key alice``."""
        return "all clients together" if self.kind == "everybody" else f"{_TITLES[self.kind]} {self.name}"


EVERYBODY: Final = Holder("everybody", "everybody")
"""The owner of the limits at the root of the file, which apply to every request."""


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


def counter_key(text: str) -> bytes:
    """The key of the counter that ``text`` names: whose it is, of what, and where that may change of how much and of
    which period, such as ``client_keys.alice.tokens 400k/m``. 16 bytes."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
