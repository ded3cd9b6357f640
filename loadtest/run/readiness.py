"""``--check``, ``--wait-ready`` and ``--exact``: one request of each kind before a load, so that a wrong model, key or
path costs one error and not a thousand."""

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

import attrs
import trio

from configfile.document import ConfigError, Mistake
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Failures
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


EXTENSIONS: Final = ("ignore_eos", "min_tokens")
"""Members of vLLM's; SGLang has the first."""


async def check_exact(plan: Scenario, ask: Asking) -> None:
    """Ask each target once for each kind of request with an exact length. Raises ``ConfigError`` where it is refused
    for that; what else may be wrong, the load shows."""
    for target in plan.targets:
        for request in plan.requests:
            if request.exact and not request.requests:
                short = attrs.evolve(request, prompt=1, output=1, prefix=None)
                result = await ask(single(plan, short, plan.timeout), target)
                _check(target or plan.targets[target], result.tally.failures)


def _check(target: str, failures: Iterable[Failures]) -> None:
    for failure in failures:
        if failure.kind == "status 400" and any(name in failure.example for name in EXTENSIONS):
            found = f"{target} refuses {' and '.join(EXTENSIONS)}: {failure.example}"
            raise ConfigError((Mistake("", "--exact", found, "leave it out: this server cannot be made to go on"),))
