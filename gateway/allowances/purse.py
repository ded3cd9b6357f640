"""The budget that a client gives one request, in ``x-trigate-budget``."""

from collections.abc import Sequence
from typing import Final

from gateway.allowances.allowance import Consumption, measured
from gateway.allowances.used_up import CODE
from gateway.config.amounts import spelled_amount
from gateway.request.wishes import BUDGET, RequestBudget
from streams.events import ErrorInfo

_HEADERS: Final = (("x-should-retry", "false"),)


def too_dear(budgets: Sequence[RequestBudget], needed: Consumption, place: str, *, priced: bool) -> ErrorInfo | None:
    """Why a request may not go to ``place`` for what its client gives it, ``None`` where it may. ``needed`` is what it
    has cost so far and will, about; another place may do with less. Not ``priced``: nobody knows what it costs."""
    for budget in budgets:
        if budget.currency == "usd" and not priced:
            return _refusal(f"{BUDGET}: no price of {place} is known, so that no dollars can be held to")
        amount = measured(budget.currency, needed, count_cached=False)
        if amount > budget.most:
            may, need = (spelled_amount(number, budget.currency) for number in (budget.most, amount))
            return _refusal(f"{BUDGET}: the request may cost {may}, and might need {need} of {place}: it was not sent")
    return None


def _refusal(message: str) -> ErrorInfo:
    return ErrorInfo("billing", message, code=CODE, param=BUDGET, headers=_HEADERS, reason="quota")
