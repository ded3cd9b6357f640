"""The errors of requests that exceed an allowance: which limit, whose, and when to retry."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from gateway.allowances.allowance import Allowance, Consumption, Measure, counted_amount
from gateway.allowances.budgets import BudgetAllowance
from gateway.allowances.levels import kind_of_limit
from gateway.config.allowances import Rolling
from gateway.config.amounts import spelled_amount
from gateway.counters.counter import Shortage, SumCounter
from gateway.http.headers import header_safe
from gateway.request.routing_options import BUDGET, RequestBudget
from gateway.routing.target import Target
from streams.events import ErrorInfo

QUOTA_CODE: Final = "insufficient_quota"
"""OpenAI's own code for an exhausted account; programs stop at it."""


@attrs.frozen
class LimitError(ErrorInfo):
    """The error of a request that exceeds an allowance, with its ``exhausted`` budgets.

    ``available_at`` is the Unix time of each at which the request would pass, or at which any of it refills.
    ``is_store_away`` means that no limit was reached, but their store cannot be."""

    exhausted: tuple[BudgetAllowance, ...] = ()
    available_at: tuple[float | None, ...] = ()
    is_store_away: bool = False


def exhausted_error(short: Sequence[tuple[Allowance, Shortage]]) -> ErrorInfo | None:
    """Return the error for exhausted budgets among the shortages ``short``; ``None`` if there are none.

    A budget is exhausted if it lacks room even after all other requests end. The error lists each."""
    found = [(one, shortage) for one, shortage in short if shortage.is_lasting and isinstance(one, BudgetAllowance)]
    if not found:
        return None
    limits = tuple(dict.fromkeys(f"{one.holder}.budgets" for one, _ in found))
    return LimitError(
        "billing",
        " ".join(_exhaustion_sentence(one, shortage) for one, shortage in found),
        code=QUOTA_CODE,
        headers=(("x-should-retry", "false"), ("x-trigate-limit", header_safe(", ".join(limits)))),
        details={"code": QUOTA_CODE, "limits": limits},
        reason="quota" if _concerns_target(found) else None,
        exhausted=tuple(one for one, _ in found),
        available_at=tuple(_next_available_at(one, shortage) for one, shortage in found),
    )


def _concerns_target(short: Sequence[tuple[Allowance, Shortage]]) -> bool:
    """Return whether another target may have room: the limit is the target's, or its price is the reason."""
    return any(
        one.holder.kind == "model_providers" or (one.measure == "usd" and shortage.cause == "no_room")
        for one, shortage in short
    )


def _exhaustion_sentence(budget: BudgetAllowance, shortage: Shortage) -> str:
    currency, need = budget.budget.currency, shortage.debit.amount
    most = spelled_amount(budget.amount, currency)
    whose = f"{budget.holder.title} may spend {present_text(budget)}"
    if shortage.used >= budget.amount:
        state = f"{whose}: exhausted ({spelled_amount(shortage.used, currency)} of {most})."
    else:
        used = f"{spelled_amount(shortage.used, currency)} of {most} used"
        if aside := budget.set_aside:
            used += f", {spelled_amount(aside, currency)} reserved for running batches"
        state = f"{whose}: {used}, and this request may need {spelled_amount(need, currency)}."
    return f"{state} {_next_available(budget, shortage)}"


def present_text(budget: BudgetAllowance) -> str:
    """Return the text of ``budget`` with the amount that replaces it, if it is raised."""
    raised = f" (raised to {spelled_amount(budget.amount, budget.budget.currency)})" if budget.is_raised else ""
    return f"{budget.text}{raised}"


def _next_available_at(budget: BudgetAllowance, shortage: Shortage) -> float | None:
    counter, need = shortage.debit.counter, shortage.debit.amount
    assert isinstance(counter, SumCounter)  # budgets have no other counters
    missing = shortage.used + need - counter.most if need <= counter.most else 1  # otherwise it never fits
    return budget.next_available_at(counter, shortage.earlier, missing)


def _next_available(budget: BudgetAllowance, shortage: Shortage) -> str:
    more = _next_available_at(budget, shortage)
    if more is None:
        return "A run ends 24 hours after its last request; a new run has its own budget."
    at = budget.local_time(more)
    if isinstance(budget.budget.period, Rolling):
        return f"It refills as earlier spending leaves the period, from {at} on."
    return f"It resets at {at}."


CODE: Final = "rate_limit_exceeded"
"""OpenAI's own code; programs wait and retry on it."""

UNKNOWN_WAIT: Final = 1
"""Seconds to wait for the end of other requests: without a wait, programs retry immediately
(lidge-jun/opencodex#4653)."""

_CAUSES: Final[Mapping[str, str]] = {
    "store_away": "The gateway cannot reach the store of its counters, and rejects requests with limits until it can",
    "no_row": "The gateway counts as many runs and header values as it can. Use fewer different names for them",
}

_NOUNS: Final[Mapping[Measure, str]] = {
    "requests": "requests",
    "tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
}
_EXACT: Final = 1e-3
"""Seconds: tolerance for floating-point sums."""


def refusal_error(short: Sequence[tuple[Allowance, Shortage]]) -> ErrorInfo:
    """Return the error for the shortages ``short`` (at least one).

    The error lists every limit (maximhq/bifrost#3500). Its wait is the time after which this request would pass."""
    if (spent := exhausted_error(short)) is not None:
        return spent
    wait = max(_seconds_to_wait(shortage) for _, shortage in short)
    limits = tuple(
        dict.fromkeys(f"{one.holder}.{kind_of_limit(one, shortage.debit.counter)}" for one, shortage in short)
    )
    causes = {shortage.cause for _, shortage in short}
    reached = next((text for cause, text in _CAUSES.items() if cause in causes), "Rate limit of this gateway reached")
    each = (f"{one.holder.title}: {amount(one)}{_reservation_note(one, shortage)}" for one, shortage in short)
    reasons = "; ".join(dict.fromkeys(each))
    return LimitError(
        "rate_limited",
        f"{reached}: {reasons}. Try again in {wait}s.",
        code=CODE,
        headers=(("retry-after", str(wait)), limit_header(limits)),
        details={"code": CODE, "limits": limits},
        reason="rate_limited" if _concerns_target(short) else None,
        wait=float(wait),
        is_store_away="store_away" in causes,
    )


def limit_header(limits: Sequence[str]) -> tuple[str, str]:
    """Return the header that identifies the gateway's limits, so programs can distinguish them from a provider's."""
    return "x-trigate-limit", header_safe(", ".join(limits))


def amount(allowance: Allowance) -> str:
    """Return the amount of a limit in words: ``400k tokens/m``."""
    if isinstance(allowance, BudgetAllowance):
        return allowance.text
    if allowance.measure == "concurrent":
        return f"{allowance.text} concurrent requests"
    much, _, time = allowance.text.partition("/")
    return f"{much} {_NOUNS.get(allowance.measure, allowance.measure)}/{time}"


def _reservation_note(allowance: Allowance, shortage: Shortage) -> str:
    """Return a note that other requests' reservations fill a budget; empty for other limits."""
    if shortage.cause != "no_room" or not isinstance(allowance, BudgetAllowance):
        return ""
    return "; running requests have reserved the rest"


def _seconds_to_wait(shortage: Shortage) -> int:
    return UNKNOWN_WAIT if shortage.wait is None else max(1, math.ceil(shortage.wait - _EXACT))


_HEADERS: Final = (("x-should-retry", "false"),)


def over_own_budget_error(
    budgets: Sequence[RequestBudget], needed: Consumption, place: str, *, priced: bool
) -> ErrorInfo | None:
    """Return the error if a request may exceed the client's own ``budgets`` at ``place``, else ``None``.

    ``needed`` is the request's cost so far plus the expected cost. The caller may then try a cheaper target. If
    ``priced`` is false, the target has no price, so a budget in dollars always returns the error."""
    for budget in budgets:
        if budget.currency == "usd" and not priced:
            return _own_budget_error(f"{BUDGET}: {place} has no known price, so the limit in dollars cannot be checked")
        amount = counted_amount(budget.currency, needed, count_cached=False)
        if amount > budget.amount:
            may, need = (spelled_amount(number, budget.currency) for number in (budget.amount, amount))
            return _own_budget_error(
                f"{BUDGET}: the request may cost {may}, but could cost {need} at {place}, so it was not sent"
            )
    return None


def _own_budget_error(message: str) -> ErrorInfo:
    return ErrorInfo("billing", message, code=QUOTA_CODE, param=BUDGET, headers=_HEADERS, reason="quota")


def unpriced_error(target: Target) -> ErrorInfo:
    """Return the error for a request whose cost cannot be counted.

    Counted as free, it would pass every budget (BerriAI/litellm#10598, #12337). Model names in the file are checked
    when it is read."""
    unknown = ""
    if target.entry.wildcard:  # the client wrote the name
        unknown = f"trigate knows no such model of {target.entry.provider.display_name}, so check its name; or "
    return ErrorInfo(
        "invalid_request",
        f"{target.name} has no known price, but this request has a budget in dollars: {unknown}use a model with a "
        f"price, or set `price` in the entry {target.entry.name} (or `unpriced: allow` for all models)",
        code="model_not_priced",
        param="model",
    )
