"""``--exact`` asks for what not every server knows: it is tried with one request before the load."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import attrs

from configfile.document import ConfigError, Mistake
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Failures
from loadtest.plan.load_request import EVEN, LoadRequest
from loadtest.plan.scenario import Scenario
from loadtest.plan.shares import ALL

EXTENSIONS: Final = ("ignore_eos", "min_tokens")
"""Members of vLLM's; SGLang has the first."""


async def check_exact(plan: Scenario, ask: Callable[[Scenario, str], Awaitable[RunResult]]) -> None:
    """Ask each target once for each kind of request with an exact length. Raises ``ConfigError`` where it is refused
    for that; what else may be wrong, the load shows."""
    for target in plan.targets:
        for request in plan.requests:
            if request.exact and not request.requests:
                result = await ask(_once(plan, request), target)
                _check(target or plan.targets[target], result.tally.failures)


def _once(plan: Scenario, request: LoadRequest) -> Scenario:
    only = attrs.evolve(request, weight=EVEN, prompt=1, output=1, prefix=None, cancel=None, slow=None)
    return attrs.evolve(plan, requests=(only,), steps=(), trace=None, concurrency=1, count=1, warmup=0.0,
                        part=ALL, start_at=None)  # fmt: skip


def _check(target: str, failures: Iterable[Failures]) -> None:
    for failure in failures:
        if failure.kind == "status 400" and any(name in failure.example for name in EXTENSIONS):
            found = f"{target} refuses {' and '.join(EXTENSIONS)}: {failure.example}"
            raise ConfigError((Mistake("", "--exact", found, "leave it out: this server cannot be made to go on"),))
