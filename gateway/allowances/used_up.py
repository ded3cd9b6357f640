"""The refusal of a request for which there is not enough left of a budget.

A 402 and no 429: programs repeat a 429 for minutes, and repeating changes nothing here. It says whose budget it is, how
much of how much has been used, and from when there is more (pwncollege/dojo#1142, agentgateway/agentgateway#3302).
"""

from collections.abc import Sequence
from typing import Final

from gateway.allowances.allowance import Allowance
from gateway.allowances.budgets import BudgetAllowance
from gateway.config.allowances import Rolling
from gateway.config.amounts import spelled_amount
from gateway.counters.counter import Shortage, SumCounter
from gateway.http.headers import header_safe
from streams.events import ErrorInfo

CODE: Final = "insufficient_quota"
"""OpenAI's own code for an account that is used up: programs stop at it."""


def used_up(short: Sequence[tuple[Allowance, Shortage]]) -> ErrorInfo | None:
    """The error of a request that met the shortages ``short``; ``None`` if no budget is among them that lacks what the
    request needs whatever else ends. All of those are named."""
    found = [(one, shortage) for one, shortage in short if shortage.is_lasting and isinstance(one, BudgetAllowance)]
    if not found:
        return None
    limits = tuple(dict.fromkeys(f"{one.holder}.budgets" for one, _ in found))
    return ErrorInfo(
        "billing",
        " ".join(_sentence(one, shortage) for one, shortage in found),
        code=CODE,
        headers=(("x-should-retry", "false"), ("x-trigate-limit", header_safe(", ".join(limits)))),
        details={"code": CODE, "limits": limits},
        reason="quota" if any(one.holder.kind == "model_providers" for one, _ in found) else None,
    )


def _sentence(budget: BudgetAllowance, shortage: Shortage) -> str:
    currency, need = budget.budget.currency, shortage.debit.amount
    most = spelled_amount(budget.budget.most, currency)
    whose = f"{budget.holder.title} may spend {budget.text}"
    if shortage.used >= budget.budget.most:
        state = f"{whose}: used up ({spelled_amount(shortage.used, currency)} of {most})."
    else:
        used = f"{spelled_amount(shortage.used, currency)} of {most} used"
        if aside := budget.set_aside:
            used += f", {spelled_amount(aside, currency)} set aside for batches that go on"
        state = f"{whose}: {used}, and this request may need {spelled_amount(need, currency)}."
    return f"{state} {_more(budget, shortage.debit.counter)}"


def _more(budget: BudgetAllowance, counter: object) -> str:
    assert isinstance(counter, SumCounter)  # a budget has no others
    more = budget.more_from(counter)
    if more is None:
        return "A run ends 24 hours after its last request; another run has a budget of its own."
    at = budget.local_time(more)
    if isinstance(budget.budget.period, Rolling):
        return f"It comes back as what was spent grows older than that, at {at} at the soonest."
    return f"There is more from {at} on."
