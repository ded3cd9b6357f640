"""The loads of targets: how many answers each is giving, and how long its streams take to begin."""

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
"""Seconds for which a time counts."""
MOST_TIMES: Final = 256
"""Times that are kept of a target, the newest."""

RECENT, FRESH, ENOUGH = 20.0, 60.0, 3
"""A target is as fast as it was in the ``RECENT`` seconds, or at its ``ENOUGH`` newest streams where these are no older
than ``FRESH``: so that one is back soon that is fast again, of whose many slow streams the window is still full."""

TYPICAL: Final = 0.9
_PAUSE: Final = 1.0
"""Seconds between two calculations where many streams begin: nobody waits for one who only asks."""


class FirstContents:
    """Times to first content, and the typical one of them."""

    def __init__(self) -> None:
        self._times: deque[tuple[float, float]] = deque(maxlen=MOST_TIMES)
        self.typical = 0.0
        """Seconds within which 9 of 10 streams began; to be believed for ``WINDOW`` seconds."""
        self.newest = self._calculated = float("-inf")
        """The moment of the last one."""

    def add(self, seconds: float, now: float, *, at_least: bool = False) -> None:
        """A stream began after ``seconds``. Of one that was given up without content (``at_least``) it is only known
        that it was none of the fast ones."""
        if at_least and self.newest > now - WINDOW:
            seconds = max(seconds, self.typical)
        self._times.append((now, seconds))
        self.newest = now
        if now - self._calculated >= _PAUSE or len(self._times) <= 8 * ENOUGH:
            self._calculated = now
            self.typical = self._calculate(now)

    def percentile(self, share: float, now: float) -> float | None:
        """Seconds within which the ``share`` of the streams of the last 5 minutes began; ``None`` without any."""
        times = [seconds for at, seconds in self._times if at > now - WINDOW]
        return _percentile(times, share) if times else None

    def _calculate(self, now: float) -> float:
        times = [seconds for at, seconds in self._times if at > now - WINDOW]
        lately = sum(at > now - RECENT for at, _ in self._times)
        if lately < ENOUGH and len(times) >= ENOUGH and self._times[-ENOUGH][0] > now - FRESH:
            lately = ENOUGH
        typical = _percentile(times, TYPICAL)
        return typical if lately < ENOUGH else min(typical, _percentile(times[-lately:], TYPICAL))


def _percentile(times: Sequence[float], share: float) -> float:
    return sorted(times)[ceil(share * len(times)) - 1]


ANSWER: Final = 1000
"""The tokens of an answer, about, where what it would cost is compared."""

CACHED: Final = 0.9
"""The share of a conversation's prompt that was in the one before, about."""

MOST_TARGETS: Final = 4096
"""Targets that are remembered: wildcards take any name."""


class Loads(Protocol):
    """What a rule may know of the members of a group, in their order."""

    @property
    def open_answers(self) -> Sequence[int]:
        """The number of answers that each member is giving."""

    @property
    def first_contents(self) -> Sequence[float]:
        """Seconds within which 9 of 10 streams of each begin; 0 where there were none in the last minutes."""

    @property
    def prices(self) -> Sequence[float | None]:
        """The price of the request at each; ``None`` where it is unknown."""


def request_price(target: Target, tokens: int, is_warm: bool) -> float | None:
    """Return the price of a request with so many ``tokens`` at ``target``, in nano-dollars; ``None`` where it is
    unknown. If the target has most of the prompt in its cache (``is_warm``), that part is cheaper: by the plain prices
    a conversation would be sent to the wrong provider (theopenco/llmgateway#3873)."""
    price = target.price
    if price is None:
        return None
    if not (is_warm or price.above or price.schedule or price.request):  # of most of a hundred members, in one step
        return -(-(tokens * price.input + ANSWER * price.output) // MILLION)
    read = int(tokens * CACHED) if is_warm else 0
    return computed_cost(price, Usage(input=tokens - read, cache_read=read, output=ANSWER)).nanos


class OpenCounts(Protocol):
    """The numbers of open answers, by the places of targets (``Identity.place``)."""

    def begin(self, key: bytes, /) -> None:
        """One more."""
        ...

    def end(self, key: bytes, /) -> None:
        """One less."""
        ...

    def count(self, key: bytes, /) -> int:
        """How many there are."""
        ...


class LocalOpenCounts:
    """The numbers of open answers in one process."""

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
    """The loads of all targets, from what is told of their answers. Open answers are those of all workers that share
    ``counts``; times are of this process."""

    def __init__(self, counts: OpenCounts) -> None:
        self.counts = counts
        self._times: dict[bytes, FirstContents] = {}

    def opened(self, target: Target) -> None:
        """A request goes to ``target``."""
        self.counts.begin(target.identity.place)

    def closed(self, target: Target) -> None:
        """Its answer has ended, whichever way: to be called once for each ``opened``."""
        self.counts.end(target.identity.place)

    def observed(self, target: Target, seconds: float, now: float, *, at_least: bool = False) -> None:
        """A stream of ``target`` has had its first content so many ``seconds`` after it was asked for. ``at_least``:
        it was given up by then without any."""
        key = target.identity.place
        times = self._times.get(key)
        if times is None:
            if len(self._times) >= MOST_TARGETS:
                del self._times[next(iter(self._times))]
            times = self._times[key] = FirstContents()
        times.add(seconds, now, at_least=at_least)

    def percentile(self, target: Target, share: float, now: float) -> float | None:
        """Seconds within which the ``share`` of its streams of the last 5 minutes began; ``None`` without any."""
        times = self._times.get(target.identity.place)
        return None if times is None else times.percentile(share, now)

    def first_contents(self, keys: Sequence[bytes], now: float) -> list[float]:
        """As ``Loads`` has them, of the targets with these keys."""
        found, oldest = map(self._times.get, keys), now - WINDOW
        return [0.0 if times is None or times.newest <= oldest else times.typical for times in found]


@attrs.frozen(eq=False, slots=False)
class GroupLoads:
    """The loads of ``targets``, whose ``keys`` are at hand, for one choice: of a request with so many ``tokens``, which
    the target whose key is ``warm`` has most of in its cache."""

    loads: MeasuredLoads
    targets: Sequence[Target]
    keys: Sequence[bytes]
    now: float
    tokens: int = 0
    warm: bytes | None = None

    @cached_property
    def open_answers(self) -> list[int]:
        return list(map(self.loads.counts.count, self.keys))

    @cached_property
    def first_contents(self) -> list[float]:
        return self.loads.first_contents(self.keys, self.now)

    @cached_property
    def prices(self) -> list[float | None]:
        pairs = zip(self.targets, self.keys, strict=True)
        return [request_price(target, self.tokens, key == self.warm) for target, key in pairs]
