"""An allowance: the limit of one holder on one measure, and the consumption that counts towards it."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

import attrs

from gateway.counters.counter import Counter
from streams.events import Usage

HolderKind: TypeAlias = Literal["everybody", "client_keys", "client_groups", "model_providers", "ratelimits"]
"""The configuration key that lists the holder; ``everybody`` for limits at the root."""

Measure: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens", "concurrent", "usd"]
"""The unit of a limit; ``usd`` counts nano-dollars."""


_TITLES: Final[Mapping[HolderKind, str]] = {
    "client_keys": "client key",
    "client_groups": "client group",
    "model_providers": "entry",
    "ratelimits": "ratelimits",
}


_LIMIT_IN_NAME: Final = re.compile(r"\.(?:budgets|requests|tokens|input_tokens|output_tokens) |\0")
"""The text that follows an owner in a counter's name, or the mark before a name's length."""


@attrs.frozen(repr=False)
class Holder:
    """The owner of an allowance: all clients, a client key, a client group, an entry, or one of Plano's header
    limits. A client that no list has is a client key with ``is_unlisted``."""

    kind: HolderKind
    name: str
    is_unlisted: bool = attrs.field(default=False, eq=False)

    def __str__(self) -> str:
        return self.name if self.kind == "everybody" else f"{self.kind}.{self.name}"

    @property
    def counter_name(self) -> str:
        """The owner in names of counters: no name of another owner's counter equals one of this owner's.

        Only a name that contains the name of a limit needs its length. Others keep the counters of earlier versions."""
        name = self.name if _LIMIT_IN_NAME.search(self.name) is None else f"\0{len(self.name)}:{self.name}"
        return name if self.kind == "everybody" else f"{self.kind}.{name}"

    @property
    def title(self) -> str:
        """The owner in words for people: ``client key alice``."""
        return "all clients together" if self.kind == "everybody" else f"{_TITLES[self.kind]} {self.name}"


EVERYBODY: Final = Holder("everybody", "everybody")
"""The owner of the limits at the root of the file, which apply to every request."""


@attrs.frozen(eq=False, repr=False)
class Consumption:
    """The usage of a request, expected or actual: ``usage`` in tokens, ``nanos`` in nano-dollars."""

    usage: Usage
    nanos: int = 0
    requests: int = 1


class Allowance(Protocol):
    """A limit on what ``holder`` may use of ``measure``; ``text`` is its text in the file."""

    @property
    def holder(self) -> Holder: ...

    @property
    def measure(self) -> Measure: ...

    @property
    def text(self) -> str: ...

    @property
    def count_cached(self) -> bool:
        """Whether tokens read from a cache count."""

    def counter(self, at: float, run: str | None) -> Counter | None:
        """Return the counter for a request that began ``at`` (Unix seconds) and belongs to ``run``.

        Return ``None`` if the allowance does not apply: a budget for runs without a run."""


def counted_amount(measure: Measure, consumption: Consumption, *, count_cached: bool) -> int:
    """Return how much of ``consumption`` counts towards ``measure`` (BerriAI/litellm#18728)."""
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
    """Return the 16-byte key of the counter with the name ``text``.

    The name has the holder, the measure and, where they may change, amount and period, such as
    ``client_keys.alice.tokens 400k/m``."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
