"""``--check`` and ``--wait-ready``: one request of each kind before a load, so that a wrong model, key or path costs
one error and not a thousand."""

import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import attrs
import trio

from loadtest.figures.result import RunResult
from loadtest.plan.load_request import EVEN, NO_THINKING, ONE_TURN, LoadRequest
from loadtest.plan.scenario import Scenario
from loadtest.plan.shares import ALL

PAUSE: Final = 1.0  # seconds between two tries
LEAST: Final = 1.0  # seconds that a try has, however little is left

Asking: TypeAlias = Callable[[Scenario, str], Awaitable[RunResult]]
"""Loads the target of that name as the scenario says, and shows nobody what came of it."""


class NotReady(Exception):
    """A target does not answer one request well. ``kind`` is that of the error."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


def single(plan: Scenario, request: LoadRequest, timeout: float) -> Scenario:
    """The load that is one request of this kind, by a client that waits for its answer."""
    asked = attrs.evolve(request, cancel=None, slow=None, think=NO_THINKING, turns=ONE_TURN, weight=EVEN)
    return attrs.evolve(
        plan, requests=(asked,), steps=(), trace=None, concurrency=1, count=1, seconds=math.inf, warmup=0.0,
        timeout=timeout, grace=timeout, deadline=None, respect_retry_after=False, fail_if=(), until=(), slo=(),
        part=ALL, start_at=None,
    )  # fmt: skip


async def until_ready(plan: Scenario, target: str, wait: float, ask: Asking) -> RunResult | None:
    """Ask for one answer of each kind, for up to ``wait`` seconds until that is whole. Raises ``NotReady`` where it
    does not come. The result of a request that was interrupted; else none."""
    end = trio.current_time() + wait
    for request in plan.requests:
        if not request.weight:
            continue
        while True:
            left = end - trio.current_time()
            result = await ask(single(plan, request, min(plan.timeout, max(LEAST, left) if wait else math.inf)), target)
            if result.interrupted:
                return result
            if result.tally.counts["whole"]:
                break
            if trio.current_time() + PAUSE >= end:
                raise _not_ready(result, request.name, wait)
            await trio.sleep(PAUSE)
    return None


def _not_ready(result: RunResult, request: str, wait: float) -> NotReady:
    kind, said = "no answer", ""
    for failure in result.tally.failures:
        kind, said = failure.kind, f", waiting for {failure.phase}: {failure.example}"
    after = f" after {wait:g} s" if wait else ""
    return NotReady(f"{result.name}: not ready{after}: {request}: {kind}{said}".rstrip(": "), kind)
