"""The refusal of a request whose client, or whose target, has no allowance left."""

import math
from collections.abc import Sequence

from gateway.allowances.allowance import Allowance
from gateway.allowances.used_up import used_up
from gateway.counters.counter import Shortage
from streams.events import ErrorInfo


def refusal(short: Sequence[tuple[Allowance, Shortage]]) -> ErrorInfo:
    """The error for a request that meets these shortages, of which there is at least one and all are named."""
    if (spent := used_up(short)) is not None:
        return spent
    told = ", ".join(f"{one.holder} {one.measure} {one.text}" for one, _ in short)
    wait = max(math.ceil(found.wait or 1) for _, found in short)
    ours = any(one.holder.kind == "model_providers" for one, _ in short)
    return ErrorInfo(
        "rate_limited",
        told,
        code="rate_limit_exceeded",
        headers=(("retry-after", str(wait)),),
        reason="rate_limited" if ours else None,
        wait=float(wait),
    )
