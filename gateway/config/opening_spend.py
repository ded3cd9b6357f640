"""The key ``opening_spend``: amounts that clients had spent at another gateway before they moved."""

from typing import Annotated, Any, TypeAlias

import attrs

from configfile.expanded import Unresolved
from configfile.keys import Kind, setting
from configfile.kinds import any_of, text_shape
from configfile.wording import Wrong, describe
from gateway.config.allowances import Currency
from gateway.config.amounts import AMOUNT_SHAPE, read_amount
from gateway.config.kinds import Timestamp


@attrs.frozen(repr=False)
class SpentAmount:
    """An amount of nano-dollars or tokens; ``text`` is its spelling in the file."""

    amount: int
    currency: Currency
    text: str

    def __str__(self) -> str:
        return self.text


def _read_spent(value: Any) -> Any:
    if isinstance(value, Unresolved):
        return value
    if not isinstance(value, str):
        raise Wrong(describe(value), "expected an amount such as 12.5 usd or 500k tokens")
    return SpentAmount(*read_amount(value), " ".join(value.split()))


Spent: TypeAlias = Annotated[SpentAmount, Kind("amount", _read_spent, any_of(text_shape(AMOUNT_SHAPE)))]


@attrs.frozen(repr=False)
class OpeningSpend:
    """An item of ``opening_spend``: what a ``client`` or ``group`` had ``spent``, or all clients together."""

    spent: Spent = setting("The amount, such as `12.5 usd` or `500k tokens`.")
    until: Timestamp = setting("When the amount stops counting: the end of the period at the other gateway.")
    client: str | None = setting("The `name` of a client.", None)
    group: str | None = setting(
        "The `name` of a group. Without both, the amount counts in the root's `budgets`.",
        None,
    )
