"""The loads of targets: their open responses, and how long their streams take to start."""

from collections import deque
from collections.abc import Sequence
from functools import cached_property
from math import ceil
from typing import Final, Protocol

import attrs

from gateway.routing.target import Target
from providers.catalog.prices import MILLION, computed_cost
from streams.events import Usage

WINDOW: Final = 300.0
"""Seconds for which a measured time counts."""
MOST_TIMES: Final = 256
"""The most recent times stored for a target."""

RECENT, FRESH, ENOUGH = 20.0, 60.0, 3
"""A target's speed is that of the last ``RECENT`` seconds, or of its ``ENOUGH`` newest streams within ``FRESH``
seconds.

A target that is fast again therefore recovers, although its window is still full of slow streams."""

TYPICAL: Final = 0.9
_PAUSE: Final = 1.0
"""Seconds between calculations if many streams start: reading the value must stay cheap."""


class FirstContentTimes:
    """Times to first content, and their typical value."""

    def __init__(self) -> None:
        self._times: deque[tuple[float, float]] = deque(maxlen=MOST_TIMES)
        self.typical = 0.0
        """Seconds within which 9 of 10 streams started; valid for ``WINDOW`` seconds after the newest."""
        self.newest = self._calculated = float("-inf")
        """The time of the newest one."""

    def add(self, seconds: float, now: float, *, at_least: bool = False) -> None:
        """Record that a stream started after ``seconds``.

        With ``at_least``, the stream was abandoned without content: it counts as slow."""
        if at_least and self.newest > now - WINDOW:
            seconds = max(seconds, self.typical)
        self._times.append((now, seconds))
        self.newest = now
        if now - self._calculated >= _PAUSE or len(self._times) <= 8 * ENOUGH:
            self._calculated = now
            self.typical = self._calculate(now)

    def percentile(self, share: float, now: float) -> float | None:
        """Return the seconds within which ``share`` of the last 5 minutes' streams started, ``None`` without any."""
        times = [seconds for at, seconds in self._times if at > now - WINDOW]
        return _percentile(times, share) if times else None

    def _calculate(self, now: float) -> float:
        times = [seconds for at, seconds in self._times if at > now - WINDOW]
        recent = sum(at > now - RECENT for at, _ in self._times)
        if recent < ENOUGH and len(times) >= ENOUGH and self._times[-ENOUGH][0] > now - FRESH:
            recent = ENOUGH
        typical = _percentile(times, TYPICAL)
        return typical if recent < ENOUGH else min(typical, _percentile(times[-recent:], TYPICAL))


def _percentile(times: Sequence[float], share: float) -> float:
    return sorted(times)[ceil(share * len(times)) - 1]


ANSWER: Final = 1000
"""Assumed output tokens when costs are compared."""

CACHED: Final = 0.9
"""The assumed share of a prompt that the previous turn already had."""

MOST_TARGETS: Final = 4096
"""Targets remembered: wildcards accept any name."""


def request_price(target: Target, tokens: int, is_warm: bool) -> float | None:
    """Return the price of a request with ``tokens`` at ``target`` in nano-dollars, ``None`` if unknown.

    With ``is_warm``, the target caches most of the prompt, which then costs less: list prices would select the wrong
    provider (theopenco/llmgateway#3873)."""
    price = target.price
    if price is None:
        return None
    if not (
        is_warm or price.above or price.schedule or price.request or price.unreported
    ):  # fast path for most targets
        return -(-(tokens * price.input + ANSWER * price.output) // MILLION)
    read = int(tokens * CACHED) if is_warm else 0
    return computed_cost(price, Usage(input=tokens - read, cache_read=read, output=ANSWER)).nanos


class OpenCounts(Protocol):
    """Counts of open responses by target identity (``Identity.place``)."""

    def begin(self, key: bytes, /) -> None:
        """Add one open response."""

    def end(self, key: bytes, /) -> None:
        """Remove one open response."""

    def count(self, key: bytes, /) -> int:
        """Return the number of open responses."""


class LocalOpenCounts:
    """The counts of open responses in one process."""

    def __init__(self) -> None:
        self._open: dict[bytes, int] = {}

    def begin(self, key: bytes, /) -> None:
        self._open[key] = self._open.get(key, 0) + 1

    def end(self, key: bytes, /) -> None:
        left = self._open.get(key, 0) - 1
        if left > 0:
            self._open[key] = left
        else:
            self._open.pop(key, None)

    def count(self, key: bytes, /) -> int:
        return self._open.get(key, 0)


class MeasuredLoads:
    """The loads of all targets, measured from their responses.

    Open responses are those of all workers that share ``counts``; times are those of this process."""

    def __init__(self, counts: OpenCounts) -> None:
        self.counts = counts
        self._times: dict[bytes, FirstContentTimes] = {}

    def begin_request(self, target: Target) -> None:
        """Count a request sent to ``target``."""
        self.counts.begin(target.identity.place)

    def end_response(self, target: Target) -> None:
        """Count the end of the response of ``target``; call once for each ``begin_request``."""
        self.counts.end(target.identity.place)

    def record_start(self, target: Target, seconds: float, now: float, *, at_least: bool = False) -> None:
        """Record a stream of ``target`` whose first content came after ``seconds``; ``at_least`` as in
        ``FirstContentTimes.add``."""
        key = target.identity.place
        times = self._times.get(key)
        if times is None:
            if len(self._times) >= MOST_TARGETS:
                del self._times[next(iter(self._times))]
            times = self._times[key] = FirstContentTimes()
        times.add(seconds, now, at_least=at_least)

    def percentile(self, target: Target, share: float, now: float) -> float | None:
        """Return the seconds within which ``share`` of the target's streams in the last 5 minutes started, ``None``
        without any."""
        times = self._times.get(target.identity.place)
        return None if times is None else times.percentile(share, now)

    def first_contents(self, keys: Sequence[bytes], now: float) -> list[float]:
        """Return the typical seconds to first content of the targets with these keys, 0 without recent streams."""
        found, oldest = map(self._times.get, keys), now - WINDOW
        return [0.0 if times is None or times.newest <= oldest else times.typical for times in found]


@attrs.frozen(eq=False, repr=False, slots=False)
class GroupLoads:
    """The loads of ``targets`` (with ``keys``), the members of a group, for one request of ``tokens``, in their order.

    The target with the key ``warm`` caches most of the request."""

    loads: MeasuredLoads
    targets: Sequence[Target]
    keys: Sequence[bytes]
    now: float
    tokens: int = 0
    warm: bytes | None = None

    @cached_property
    def open_answers(self) -> list[int]:
        """The number of open responses of each member."""
        return list(map(self.loads.counts.count, self.keys))

    @cached_property
    def first_contents(self) -> list[float]:
        """Seconds within which 9 of 10 streams of each member start; 0 without recent streams."""
        return self.loads.first_contents(self.keys, self.now)

    @cached_property
    def prices(self) -> list[float | None]:
        """The price of the request at each member, ``None`` if unknown."""
        pairs = zip(self.targets, self.keys, strict=True)
        return [request_price(target, self.tokens, key == self.warm) for target, key in pairs]
