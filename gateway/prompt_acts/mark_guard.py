"""Decides whether cache marks pay for a client: writing the cache costs money, which only later reads save again."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

from providers.catalog.prices import Price, cost_of
from streams.events import Usage

PERIOD: Final = 100
"""Marked requests after which the account of a client at an entry is settled."""

PAUSE: Final = 3600.0
"""Seconds without marks after a period in which reads saved less than writes cost."""

_MOST: Final = 4096
_WRITE_SHARE: Final = 0.25
_READ_SHARE: Final = 0.9
"""The additional cost of writing a token and the savings of reading one, as shares of the input price, for a model
without a known price (https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing)."""


@attrs.define(eq=False, repr=False)
class _Account:
    requests: int = 0
    saved: float = 0.0
    paused_until: float = float("-inf")


class MarkGuard:
    """Accounts of what marks cost and saved, by client and entry. ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._accounts: OrderedDict[tuple[str, str], _Account] = OrderedDict()

    def allows(self, client: str, entry: str) -> bool:
        """Return whether requests of ``client`` to ``entry`` may be marked now."""
        account = self._accounts.get((client, entry))
        return account is None or account.paused_until <= self._clock()

    def settle(self, client: str, entry: str, usage: Usage, price: Price | None) -> bool:
        """Count a marked request with its ``usage``. Return whether marks pause from now on."""
        account = self._accounts.setdefault((client, entry), _Account())
        self._accounts.move_to_end((client, entry))
        if len(self._accounts) > _MOST:
            self._accounts.popitem(last=False)
        account.requests += 1
        account.saved += saved_by_cache(usage, price)
        if account.requests < PERIOD:
            return False
        pauses = account.saved < 0
        account.requests, account.saved = 0, 0.0
        if pauses:
            account.paused_until = self._clock() + PAUSE
        return pauses


def saved_by_cache(usage: Usage, price: Price | None) -> float:
    """Return what reads of ``usage`` saved minus what writes cost: nano-dollars, or input tokens without a ``price``.

    Negative if the cache costs more than it saves."""
    if price is None:
        return usage.cache_read * _READ_SHARE - usage.cache_write * _WRITE_SHARE
    cached = Usage(
        cache_read=usage.cache_read, cache_write=usage.cache_write, cache_write_5m=usage.cache_write_5m,
        cache_write_1h=usage.cache_write_1h,
    )  # fmt: skip
    return cost_of(price, Usage(input=cached.prompt)).nanos - cost_of(price, cached).nanos
