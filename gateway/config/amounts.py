"""Amounts of money and tokens, and their periods, as written in files and headers."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import attrs

from configfile.expanded import Unresolved
from configfile.keys import Kind, setting
from configfile.kinds import any_of, text_shape
from configfile.wording import Wrong, describe, nearest
from gateway.config.allowances import Calendar, Currency, Rolling, SpendingBudget
from gateway.config.kinds import Timestamp
from providers.catalog.prices import NANOS

Period: TypeAlias = Calendar | Rolling | Literal["run"]

MOST: Final = 9 * 10**15
"""Nano-dollars (nine million dollars) or tokens: shared stores may use floating point, exact up to 2^53."""

_HUNDREDTH_OF_A_CENT: Final = NANOS // 10**4

_AMOUNT: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([kKmMbB]?)\s*(usd|tokens?)", re.IGNORECASE)
_DOLLARS: Final = re.compile(r"\$\s*([0-9.]+[kKmM]?)")
_TIMES: Final[Mapping[str, int]] = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_NAMED: Final = (*get_args(Calendar), "run")
_ROLLING: Final = re.compile(r"([1-9][0-9]{0,4})\s*([mhd])")
_SECONDS: Final[Mapping[str, int]] = {"m": 60, "h": 3600, "d": 86400}
_LONGEST: Final = 366 * 86400

AMOUNT_SHAPE: Final = r"\s*[0-9]{1,12}(?:\.[0-9]{1,9})?\s*[kKmMbB]?\s*(?:[uU][sS][dD]|[tT][oO][kK][eE][nN][sS]?)\s*"
"""The pattern of an amount without a period, for the JSON Schema."""

_BUDGET: Final = (
    rf"{AMOUNT_SHAPE}/\s*"
    r"(?:hour|day|week|month|run|[1-9][0-9]{0,4}\s*[mhd])\s*"
)

_SUCH_AS: Final = "such as 20 usd/day, 500 usd/month, 100 usd/30d, 5 usd/run or 5M tokens/day"


def read_budget(value: Any) -> Any:
    """Return a budget from its text in the file. Raises ``Wrong``."""
    if isinstance(value, Unresolved):
        return value
    if not isinstance(value, str):
        raise Wrong(describe(value), f"expected an amount for a period, {_SUCH_AS}")
    text = " ".join(value.split())
    amount, slash, period = (part.strip() for part in text.partition("/"))
    if not slash:
        raise Wrong(
            describe(value), f"the period is missing: write an amount and a period, {_SUCH_AS}", _spell_dollars(text)
        )
    most, currency = _read_amount(amount, value, f"expected an amount for a period, {_SUCH_AS}", text)
    return SpendingBudget(most, currency, _read_period(period, value), text)


Budget: TypeAlias = Annotated[SpendingBudget, Kind("amounts", read_budget, any_of(text_shape(_BUDGET)))]


def read_amount(text: str) -> tuple[int, Currency]:
    """Return an amount without a period, such as ``2 usd``. Raises ``Wrong``."""
    return _read_amount(text.strip(), text, "expected an amount such as 2 usd or 500k tokens", text.strip())


def spelled_amount(amount: int, currency: Currency) -> str:
    """Return ``amount`` (nano-dollars or tokens) as text: ``19.9984 usd``, ``4,812,000 tokens``."""
    return f"{amount:,} tokens" if currency == "tokens" else f"{dollars(amount)} usd"


def dollars(nanos: int) -> str:
    """Return nano-dollars as dollars: to a hundredth of a cent, exactly below; without exponent and trailing zeros."""
    size = abs(nanos)
    if size >= NANOS // 10**3:
        size = (size + _HUNDREDTH_OF_A_CENT // 2) // _HUNDREDTH_OF_A_CENT * _HUNDREDTH_OF_A_CENT
    whole, rest = divmod(size, NANOS)
    decimals = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{'-' if nanos < 0 else ''}{whole}{decimals}"


def _read_amount(amount: str, value: Any, expected: str, whole: str) -> tuple[int, Currency]:
    match = _AMOUNT.fullmatch(amount)
    if match is None:
        raise Wrong(describe(value), expected, _spell_dollars(whole))
    number, times, unit = match.groups()
    currency: Currency = "usd" if unit.lower() == "usd" else "tokens"
    exact = Decimal(number) * _TIMES[times.lower()] * (NANOS if currency == "usd" else 1)
    if exact != int(exact):
        raise Wrong(describe(value), "expected a whole number of tokens")
    if not exact:
        raise Wrong(
            describe(value), "this would reject every request: set an amount above 0, or remove it for no limit"
        )
    if exact > MOST:
        raise Wrong(describe(value), f"expected at most {spelled_amount(MOST, currency)}")
    return int(exact), currency


def _read_period(word: str, value: Any) -> Period:
    if word in _NAMED:
        return word  # type: ignore[return-value]
    match = _ROLLING.fullmatch(word)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if 0 < seconds <= _LONGEST:
        return Rolling(float(seconds))
    expected = "expected the period hour, day, week, month, run, or a rolling one, such as 12h or 30d (at most 366d)"
    near = {"daily": "day", "d": "day", "h": "hour", "w": "week", "mo": "month"}.get(word) or nearest(word, _NAMED, 0.6)
    head = " ".join(str(value).partition("/")[0].split())
    raise Wrong(describe(value), expected, None if near is None else f"{head}/{near}")


def _spell_dollars(text: str) -> str | None:
    """Return ``$5/day`` in the canonical spelling, ``None`` for other texts."""
    match = _DOLLARS.match(text)
    return None if match is None else f"{match[1]} usd{text[match.end() :]}"


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
    until: Timestamp = setting("When the amount stops counting.")
    client: str | None = setting("The `name` of a client.", None)
    group: str | None = setting(
        "The `name` of a group. Without both, the amount counts in the root's `budgets`.",
        None,
    )
