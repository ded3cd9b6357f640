"""``--check``, ``--wait-ready`` and ``--exact``: one request of each kind before a load, so that a wrong model, key
or path causes one error instead of a thousand."""

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

PAUSE: Final = 1.0  # seconds between two attempts
LEAST: Final = 1.0  # least timeout of an attempt in seconds

Asking: TypeAlias = Callable[[Scenario, str], Awaitable[RunResult]]
"""Loads the target with this name, without a report."""


class NotReady(Exception):
    """A target that does not answer a request well. ``kind`` is the kind of the error."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


def single_request_load(plan: Scenario, request: LoadRequest, timeout: float) -> Scenario:
    """Return a load of a single request of this kind."""
    asked = attrs.evolve(request, cancel=None, slow=None, think=NO_THINKING, turns=ONE_TURN, weight=EVEN)
    return attrs.evolve(
        plan, requests=(asked,), steps=(), trace=None, concurrency=1, count=1, seconds=math.inf, warmup=0.0,
        timeout=timeout, grace=timeout, deadline=None, respect_retry_after=False, fail_if=(), until=(), slo=(),
        part=ALL, start_at=None,
    )  # fmt: skip


async def wait_until_ready(plan: Scenario, target: str, wait: float, ask: Asking) -> RunResult | None:
    """Request one answer of each kind, and repeat until it is whole, for up to ``wait`` seconds. Raises ``NotReady``.

    Returns the result of an interrupted request, or else ``None``.
    """
    end = trio.current_time() + wait
    for request in plan.requests:
        if not request.weight:
            continue
        while True:
            left = end - trio.current_time()
            result = await ask(
                single_request_load(plan, request, min(plan.timeout, max(LEAST, left) if wait else math.inf)), target
            )
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
"""Members of vLLM's API. SGLang has the first."""


async def check_exact(plan: Scenario, ask: Asking) -> None:
    """Send each target one request of each kind with an exact length.

    Raises ``ConfigError`` if a target refuses the length; the load reveals other problems.
    """
    for target in plan.targets:
        for request in plan.requests:
            if request.exact and not request.requests:
                short = attrs.evolve(request, prompt=1, output=1, prefix=None)
                result = await ask(single_request_load(plan, short, plan.timeout), target)
                _check_failures(target or plan.targets[target], result.tally.failures)


def _check_failures(target: str, failures: Iterable[Failures]) -> None:
    for failure in failures:
        if failure.kind == "status 400" and any(name in failure.example for name in EXTENSIONS):
            found = f"{target} refuses {' and '.join(EXTENSIONS)}: {failure.example}"
            raise ConfigError((Mistake("", "--exact", found, "remove it: this server stops answers early anyway"),))
