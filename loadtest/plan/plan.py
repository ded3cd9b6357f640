"""The plan of a load as frozen values, and the start times of its requests.

In an open loop, the plan alone determines the start times. Latencies count from them, so a stalled server is charged
with the waiting of every request that was due meanwhile, including requests that this process started late.
"""

import math
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from loadtest.masking import mask_url
from loadtest.plan.limits import Limit
from streams.events import Api


@attrs.frozen
class Lengths:
    """A uniform distribution of lengths in tokens."""

    least: int
    most: int

    def draw(self, rng: random.Random) -> int:
        return self.least if self.least == self.most else rng.randint(self.least, self.most)


@attrs.frozen
class Leaving:
    """The clients that disconnect early: a ``share`` of all, after some ``seconds`` or ``tokens``, whichever is set.

    Tokens are counted as events with content.
    """

    share: float
    seconds: float = math.inf
    tokens: int = sys.maxsize


STEP = 5.0
"""The default length of a step of a search, in seconds."""


@attrs.frozen(kw_only=True)
class LoadPlan:
    """A load test.

    With a ``rate``, requests begin at planned times. Otherwise ``concurrency`` clients each send their next request
    after a response. ``seconds`` is the duration of the measured arrivals, after the ``warmup``, infinite if only
    ``count`` limits the measured requests. Requests under way have ``grace`` seconds to end.

    ``requests`` is a file of bodies, instead of made prompts. With two ``targets``, ``rounds`` alternate between them.
    ``seed`` determines all random values except the texts of prompts.
    """

    targets: Mapping[str, str]
    model: str = ""
    api: Api = "chat"
    stream: bool = True
    prompt: Lengths = Lengths(20, 20)
    output: Lengths = Lengths(1024, 1024)
    requests: Path | None = None
    rate: float | None = None
    poisson: bool = False
    concurrency: int = 1
    seconds: float = 30.0
    count: int | None = None
    warmup: float = 0.0
    timeout: float = 300.0
    grace: float = 30.0
    leave: Leaving | None = None
    slo: tuple[Limit, ...] = ()
    fail_if: tuple[Limit, ...] = ()
    find_rate: bool = False
    max_rate: float | None = None
    rounds: int = 1
    seed: int = 1

    @property
    def planned_requests(self) -> float:
        """The number of requests to one target, infinite if it depends on the server."""
        rate = math.inf if self.rate is None or self.find_rate else self.rate
        measured = min(rate * self.seconds, math.inf if self.count is None else self.count)
        return measured + (self.warmup and self.rounds * self.warmup * rate)

    def dump(self) -> dict[str, Any]:
        """Return the plan as JSON values, without credentials."""
        texts = {name: [limit.text for limit in getattr(self, name)] for name in ("slo", "fail_if")}
        targets = {name: mask_url(url) for name, url in self.targets.items()}
        return attrs.asdict(self) | texts | {"targets": targets, "requests": self.requests and str(self.requests)}


def arrival_times(plan: LoadPlan) -> Iterator[float]:
    """Yield the arrivals of an open loop, in seconds from the begin of the warm-up."""
    assert plan.rate is not None
    rng = random.Random(f"{plan.seed} arrivals")
    left = math.inf if plan.count is None else plan.count
    position, number = 0.0, 0  # in expected arrivals; whole numbers, because sums of fractions drift
    while (start := (position if plan.poisson else number) / plan.rate) < plan.warmup + plan.seconds - 1e-9:
        if start >= plan.warmup - 1e-9:
            if not left:
                return
            left -= 1
        yield start
        number += 1
        position += rng.expovariate(1.0)
