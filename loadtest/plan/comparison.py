"""Comparisons of a figure with a limit, as text: ``ttft.p95>500ms``, or for a part: ``chat demo: ttft.p95>500ms``."""

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import attrs

from configfile.wording import Wrong, nearest

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
SECONDS: Final = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
STATISTICS: Final = "min, mean, max, p50, p95, p99 or any other percentile"

_SHAPE: Final = re.compile(
    r"(?:(?P<of>.+?):\s+|(?P<close>.+):)?"  # a name may contain colons
    r"(?P<name>[a-z][a-z0-9_]*)(?:\.(?P<statistic>[a-z]+[0-9.]*))?\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[a-zµ%]*)"
)
_SEVERAL: Final = re.compile(r"[<>]=?\s*[0-9]")
EXAMPLE: Final = "write a condition, such as ttft.p95>500ms, errors>0 or not_whole>1%"


class AdvisedMistake(Wrong):
    """A mistake whose text includes the solution."""

    def __str__(self) -> str:
        return f"{self.found}; {self.expected}"


class InvalidCondition(AdvisedMistake):
    """A text that is not a condition."""

    def __init__(self, text: str, found: str, expected: str) -> None:
        super().__init__(f"{text!r}: {found}", expected)


class UnknownPart(AdvisedMistake):
    """A name that is not a part of the load."""


@attrs.frozen
class Comparison:
    """A parsed comparison with its original ``text``. ``of`` is its kind of request or target, "" for all."""

    text: str
    name: str
    statistic: str
    sign: str
    number: float
    unit: str
    of: str = ""

    def __call__(self, value: float) -> bool:
        """Return the result of the comparison with the limit. Times are in seconds."""
        return OPERATORS[self.sign](value, self.limit)

    @property
    def limit(self) -> float:
        return self.number * SECONDS.get(self.unit, 1.0)

    @property
    def is_upper_bound(self) -> bool:
        """True if the limit is an upper bound."""
        return self.sign in ("<", "<=")

    @property
    def figure(self) -> str:
        return f"{self.name}.{self.statistic}" if self.statistic else self.name

    def require_time(self) -> None:
        """Raise ``InvalidCondition`` unless the limit is a time."""
        if self.unit not in SECONDS:
            raise InvalidCondition(self.text, f"{self.unit or 'no unit'}, but a time is expected", "use ms, s or us")

    def require_plain_number(self, expected: str = "remove it", place: str = "after a plain number") -> None:
        """Raise ``InvalidCondition`` if the limit has a unit."""
        if self.unit:
            raise InvalidCondition(self.text, f"{self.unit} {place}", expected)


def parse_comparison(text: str, example: str = EXAMPLE) -> Comparison:
    """Parse ``text``. Raises ``InvalidCondition``, which includes ``example``."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None and len(_SEVERAL.findall(text)) > 1:
        raise InvalidCondition(text, "several conditions", "give each separately")
    if found is None:
        raise InvalidCondition(text, "this is not a condition", example)
    of = (found["of"] or found["close"] or "").strip()
    parts = found["name"], found["statistic"] or "", found["sign"], float(found["number"]), found["unit"]
    return Comparison(text.strip(), *parts, of)


def unknown_figure(text: str, name: str, names: Iterable[str], elsewhere: Mapping[str, str]) -> InvalidCondition:
    """Return the error for an unknown figure. ``elsewhere`` maps the names of other tools to ours."""
    known = tuple(names)
    near = elsewhere.get(name) or nearest(name, known)
    expected = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
    return InvalidCondition(text, f"{name} is not measured", expected)


def parse_percentile(text: str, statistic: str) -> float:
    """Return the percentile of ``statistic``. Raises ``InvalidCondition``."""
    percent = re.fullmatch(r"p(\d{1,2}(?:\.\d{1,4})?|100)", statistic)
    if percent is None:
        raise InvalidCondition(text, f"{statistic} is not a statistic", f"there are {STATISTICS}")
    return float(percent[1])


_ON: Final = " on "


@attrs.frozen
class LoadPart:
    """A part of a load. "" means all targets, or all kinds of requests."""

    target: str = ""
    request: str = ""

    @property
    def rank(self) -> int:
        """The specificity: a kind counts more than a target."""
        return 2 * bool(self.request) + bool(self.target)

    def contains(self, target: str, request: str) -> bool:
        """Return whether a request of this kind on this target is in the part."""
        return self.target in ("", target) and self.request in ("", request)


def part_of(name: str, targets: Collection[str], requests: Collection[str]) -> LoadPart:
    """Return the part with this ``name``: a target, a kind, ``KIND on TARGET``, or "" for all.

    Raises ``UnknownPart``.
    """
    if not name:
        return LoadPart()
    if name in requests and name in targets:
        raise UnknownPart(f"both a target and a kind of request have the name {name}", "rename the request")
    if name in requests:
        return LoadPart(request=name)
    if name in targets:
        return LoadPart(target=name)
    for place in (found.start() for found in re.finditer(_ON, name)):
        request, target = name[:place], name[place + len(_ON) :]
        if request in requests and target in targets:
            return LoadPart(target, request)
    names = [*requests, *filter(None, targets)]
    near = nearest(name, names)
    raise UnknownPart(
        f"{name} is neither a target nor a kind of request",
        f"did you mean {near}?" if near else f"there are {', '.join(names)}",
    )
