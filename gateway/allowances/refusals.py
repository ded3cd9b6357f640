"""The refusal of a request for which an allowance has no room: it says which, whose, and when to try again."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.allowances.allowance import Allowance, Measure
from gateway.allowances.budgets import BudgetAllowance
from gateway.allowances.standing import limit_of
from gateway.allowances.used_up import used_up
from gateway.counters.counter import Shortage
from gateway.http.headers import header_safe
from streams.events import ErrorInfo

CODE: Final = "rate_limit_exceeded"
"""The code of OpenAI's own, on which programs wait and try again."""

UNKNOWN_WAIT: Final = 1
"""Seconds to wait for the end of other requests: without any, programs try again at once
(lidge-jun/opencodex#4653)."""

_AWAY: Final = "The store of this gateway's counters is away, and what is limited is refused meanwhile"

_NOUNS: Final[Mapping[Measure, str]] = {
    "requests": "requests",
    "tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
}
_EXACT: Final = 1e-3
"""Seconds: what is added up in floating point is never exact."""


def refusal(short: Sequence[tuple[Allowance, Shortage]]) -> ErrorInfo:
    """The error of a request that met the shortages ``short``, of which there is at least one. All are named
    (maximhq/bifrost#3500), and the wait is that after which this very request would pass."""
    if (spent := used_up(short)) is not None:
        return spent
    wait = max(_wait(shortage) for _, shortage in short)
    limits = tuple(dict.fromkeys(f"{one.holder}.{limit_of(one, shortage.debit.counter)}" for one, shortage in short))
    away = any(shortage.cause == "store_away" for _, shortage in short)
    reached = _AWAY if away else "Rate limit of this gateway reached"
    each = (f"{one.holder.title}: {amount(one)}{_held(one, shortage)}" for one, shortage in short)
    told = "; ".join(dict.fromkeys(each))
    return ErrorInfo(
        "rate_limited",
        f"{reached}: {told}. Try again in {wait}s.",
        code=CODE,
        headers=(("retry-after", str(wait)), limit_header(limits)),
        details={"code": CODE, "limits": limits},
        reason="rate_limited" if any(one.holder.kind == "model_providers" for one, _ in short) else None,
        wait=float(wait),
    )


def limit_header(limits: Sequence[str]) -> tuple[str, str]:
    """The header by which programs know that it is not a provider's limit, and which it is."""
    return "x-trigate-limit", header_safe(", ".join(limits))


def amount(allowance: Allowance) -> str:
    """How much it is, for people: ``400k tokens/m``."""
    if isinstance(allowance, BudgetAllowance):
        return allowance.text
    if allowance.measure == "concurrent":
        return f"{allowance.text} at once"
    much, _, time = allowance.text.partition("/")
    return f"{much} {_NOUNS.get(allowance.measure, allowance.measure)}/{time}"


def _held(allowance: Allowance, shortage: Shortage) -> str:
    """What is in the way of a request in a budget: used up it would be another refusal."""
    if shortage.cause == "store_away" or not isinstance(allowance, BudgetAllowance):
        return ""
    return ", of which requests under way have reserved what is left"


def _wait(shortage: Shortage) -> int:
    return UNKNOWN_WAIT if shortage.wait is None else max(1, math.ceil(shortage.wait - _EXACT))
