"""What is left of a client's budgets, for the headers of its answers."""

from collections.abc import Iterable
from typing import Final

from gateway.allowances.budgets import BudgetAllowance
from gateway.config.amounts import dollars
from gateway.http.headers import Headers

BUDGET_LEFT: Final = "x-trigate-budget-left"
RUN_LEFT: Final = "x-trigate-run-left"


def left_headers(left: Iterable[tuple[BudgetAllowance, int]]) -> Headers:
    """``x-trigate-budget-left: usd/day=12.4, tokens/30d=80000`` and ``x-trigate-run-left: 4.21 usd``, of budgets and
    what each has left, in nano-dollars or tokens. Of several for the same time, as a client's and its group's, it is
    the least: no more can be spent."""
    least: dict[tuple[str, str], int] = {}
    for budget, amount in left:
        name = budget.budget.currency, budget.text.rpartition("/")[2]
        least[name] = min(amount, least.get(name, amount))
    periods = [f"{unit}/{time}={_number(unit, amount)}" for (unit, time), amount in least.items() if time != "run"]
    runs = [f"{_number(unit, amount)} {unit}" for (unit, time), amount in least.items() if time == "run"]
    found = ((BUDGET_LEFT, ", ".join(periods)), (RUN_LEFT, ", ".join(runs)))
    return tuple(header for header in found if header[1])


def _number(unit: str, amount: int) -> str:
    amount = max(0, amount)
    return dollars(amount) if unit == "usd" else str(amount)
