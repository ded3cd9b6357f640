"""The limits of a holder: rates, simultaneous requests, their queue, and budgets."""

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, setting
from configfile.kinds import HeaderName, Natural, Wait, any_of, text_shape
from configfile.wording import Wrong, describe

Currency: TypeAlias = Literal["usd", "tokens"]
"""The unit of a budget; dollars are stored as integer nano-dollars."""

Calendar: TypeAlias = Literal["hour", "day", "week", "month"]
"""A calendar period in ``timezone``; weeks begin on Mondays."""


@attrs.frozen(repr=False)
class Rate:
    """An amount per ``seconds``, refilled evenly; ``text`` is its spelling in the file (``600/m``)."""

    amount: int
    seconds: float
    text: str

    def __str__(self) -> str:
        return self.text


_EXPECTED: Final = "expected a rate, such as 600/m, 2M/m, 50k/d or 10/s"
_TIMES: Final = {
    "s": 1.0, "second": 1.0, "m": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0,
}  # fmt: skip
_MULTIPLES: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6}
_RATE: Final = re.compile(rf"([0-9]{{1,15}})(?:\.([0-9]{{1,3}}))?([kKM]?)\s*/\s*({'|'.join(_TIMES)})")
"""A fraction must give an integer: ``1.5M`` does, ``0.5`` does not."""


def _read_rate(value: Any) -> Rate:
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Wrong(describe(value), _EXPECTED)
    whole, fraction, multiple, unit = match[1], match[2] or "", match[3], match[4]
    amount, rest = divmod(int(whole + fraction) * _MULTIPLES[multiple], 10 ** len(fraction))
    if rest:
        raise Wrong(describe(value), "expected a whole number: use a longer unit of time, such as 30/m")
    if not amount:
        raise Wrong(describe(value), "this would reject every request: remove it for no limit")
    return Rate(amount, _TIMES[unit], re.sub(r"\s", "", value))


RateAmount: TypeAlias = Annotated[
    Rate,
    Kind(
        "rate",
        _read_rate,
        any_of(
            text_shape(
                r"\s*(?=[0-9.]*[1-9])(?:[0-9]{1,15}(?:\.0{1,3})?|[0-9]{1,15}(?:\.[0-9]{1,3})?[kKM])"
                r"\s*/\s*(?:s|second|m|minute|h|hour|d|day)\s*"
            )
        ),
    ),
]


@attrs.frozen(repr=False)
class RateLimits:
    """The rates of one holder, and its simultaneous requests; ``None`` is no limit.

    With ``count_cached``, tokens read from a cache also count."""

    requests: RateAmount | None = setting("Such as `600/m`.", None, shown="no limit")
    tokens: RateAmount | None = setting(
        "Tokens of prompts and answers together, such as `2M/m`.", None, shown="no limit"
    )
    input_tokens: RateAmount | None = setting("Prompt tokens.", None, shown="no limit")
    output_tokens: RateAmount | None = setting("Answer tokens, including reasoning.", None, shown="no limit")
    concurrent: Natural | None = setting("Simultaneous requests.", None, shown="no limit")
    count_cached: bool = setting(
        "Count tokens that the provider reads from its cache.",
        False,
        shown="`false`; for an entry, `counts_cached` of its [quirks](#quirks)",
    )


@attrs.frozen(repr=False)
class HeaderSelector:
    """The requests to which a header limit applies."""

    key: HeaderName = setting("The header's name. Requests without it are not limited.")
    value: str | None = setting(
        "The header's value. Without it, or with `*`, each value has its own limit.",
        None,
        shown="any",
        may_be_empty=True,
    )


@attrs.frozen(repr=False)
class TokenLimit:
    """The tokens of a header limit."""

    tokens: int = setting("Tokens of prompts and answers together.")
    unit: Literal["second", "minute", "hour", "day"] = setting("The period.")


@attrs.frozen(repr=False)
class HeaderLimit:
    """A header limit in Plano's format."""

    model: str = setting("The requested name, `provider/model id`, or bare id.")
    selector: HeaderSelector = setting("The requests that count.")
    limit: TokenLimit = setting("The limit for them.")


@attrs.frozen(repr=False)
class RootLimit:
    """A token rate for requests to ``model`` with the header ``header``, made from a ``HeaderLimit``.

    It applies to the header value ``value``, or, if that is ``None``, to each value separately."""

    model: str
    header: str
    value: str | None
    tokens: Rate

    def __str__(self) -> str:
        return f"{self.model}: {self.header}={'*' if self.value is None else self.value} {self.tokens}"


def _pick_limits_type(value: Any) -> Any:
    if isinstance(value, dict | list):
        return RateLimits if isinstance(value, dict) else tuple[HeaderLimit, ...]
    raise Wrong(describe(value), "expected a mapping such as {requests: 600/m}, or a list of limits by a header")


RatesOrHeaderLimits: TypeAlias = Annotated[
    RateLimits | tuple[HeaderLimit, ...],
    Kind("mapping or list", pick=_pick_limits_type, parts=(tuple[HeaderLimit, ...], RateLimits)),
]


@attrs.frozen(repr=False)
class Rolling:
    """A period that always covers the last ``seconds``."""

    seconds: float


@attrs.frozen(repr=False)
class SpendingBudget:
    """The amount that may be spent in a period: ``most`` nano-dollars or tokens.

    ``text`` is its spelling in the file (``5 usd/run``). Clients name their runs."""

    most: int
    currency: Currency
    period: Calendar | Rolling | Literal["run"]
    text: str

    def __str__(self) -> str:
        return self.text


@attrs.frozen(repr=False)
class QueueSettings:
    """The requests that may wait for a target, at most ``size``, each for ``wait`` seconds."""

    size: Natural = setting("The largest number of waiting requests. Others go to the next target.", 0, required=True)
    wait: Wait = setting("The longest wait. Then the request goes to the next target.", 5.0)


NO_QUEUE: Final = QueueSettings(0, 0.0)


def _pick_queue_type(value: Any) -> Any:
    if isinstance(value, dict):
        return QueueSettings
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return None
    raise Wrong(describe(value), "expected a mapping such as {size: 64, wait: 3s}, or 0 for no queue")


QueueOrNone: TypeAlias = Annotated[
    QueueSettings,
    Kind(
        "mapping, or `0`",
        lambda value: value or NO_QUEUE,
        pick=_pick_queue_type,
        parts=(Literal[0], QueueSettings),
    ),
]
