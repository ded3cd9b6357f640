"""The loads that a scenario requests: one, several in turn, or a search for the highest sustainable load."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind
from configfile.kinds import read_positive_duration
from configfile.wording import Wrong, describe

LoadUnit: TypeAlias = Literal["rate", "clients"]

RESOLUTION: Final = 0.05
"""The greatest relative difference between the bounds at the end of a search."""

STEP: Final = 5.0
"""The default length of a search step in seconds."""

OF_SEARCHES: Final = "remove it: a search has its own steps"
"""The advice for keys that do not go with a search."""

_MOST: Final = 10**6
_BURST: Final = re.compile(r"\s*([0-9]{1,6})\s*:\s*(\S+)\s*")


@attrs.frozen
class SearchBounds:
    """The limits of a search: from ``first`` up to ``most``, or without end if it is ``None``."""

    unit: LoadUnit
    first: float
    most: float | None = None

    def are_near(self, low: float, high: float) -> bool:
        """Return whether the search between two loads is finished."""
        return high - low <= max(1.0 if self.unit == "clients" else 0.0, RESOLUTION * low) + 1e-9

    def middle_load(self, low: float, high: float) -> float:
        return self.round_load((low + high) / 2)

    def round_load(self, load: float) -> float:
        """Round ``load`` to three digits, or to a whole number of clients."""
        return float(max(1, int(load))) if self.unit == "clients" else float(f"{load:.3g}")


@attrs.frozen
class ArrivalBurst:
    """``size`` simultaneous requests every ``seconds`` seconds."""

    size: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.size / self.seconds


def _parse_burst(value: Any) -> ArrivalBurst:
    wrong = Wrong(describe(value), "expected a number of requests and a time, such as 32:2s")
    found = _BURST.fullmatch(value) if isinstance(value, str) else None
    if found is None or not int(found[1]):
        raise wrong
    try:
        return ArrivalBurst(int(found[1]), read_positive_duration(found[2]))
    except Wrong:
        raise wrong from None


def _parse_burstiness(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not number >= 0.01:
        raise Wrong(describe(value), "expected a number, 0.01 or more: 1 is Poisson, below 1 is bursty, inf is even")
    return number


Burst: TypeAlias = Annotated[ArrivalBurst, Kind("a burst", _parse_burst)]
Burstiness: TypeAlias = Annotated[float, Kind("a number", _parse_burstiness)]

LoadMistake: TypeAlias = tuple[str, str, str]
"""A key, the problem, and the expected value."""

_FINDS: Final[Mapping[str, tuple[str, str, LoadUnit]]] = {
    "find_rate": ("rate", "max_rate", "rate"),
    "find_concurrency": ("concurrency", "max_concurrency", "clients"),
}
"""Keys of searches, with the keys of their first and greatest load, and the unit of the load."""


@attrs.frozen
class RequestedLoads:
    """The loads of a scenario. ``content`` has the keys of the first load; each of ``loads`` is a separate run."""

    content: Mapping[str, Any]
    loads: tuple[float, ...] = ()
    search: SearchBounds | None = None
    mistakes: tuple[LoadMistake, ...] = ()


def requested_loads(content: Mapping[str, Any]) -> RequestedLoads:
    """Extract lists of loads, bursts and searches from the keys of a scenario."""
    given = {key: value for key, value in content.items() if value is not None}
    found, mistakes = dict(given), list(_contradictions(given))
    loads: tuple[float, ...] = ()
    for key in ("rate", "concurrency"):
        several = found[key] = _parse_loads(given.get(key))
        if isinstance(several, list):
            numbers, wrong = _parse_numbers(several, whole=key == "concurrency")
            mistakes += [(key, wrong.found, wrong.expected)] if wrong else []
            found[key] = (int(numbers[0]) if key == "concurrency" else numbers[0]) if numbers else 1
            loads = numbers if len(numbers) > 1 else loads
        elif several is None:
            del found[key]
    if "burst" in given and "rate" not in given:
        found["rate"] = _burst_rate(given["burst"])
    search = None
    for key, (first, most, unit) in _FINDS.items():
        if given.get(key) is True and not {"steps", "trace", "burst"} & given.keys():
            greatest = found.get(most)
            found.setdefault(first, greatest if isinstance(greatest, int | float) and 0 < greatest < 1 else 1)
            found.setdefault("seconds", STEP)
            search = None if mistakes else _search_bounds(unit, found[first], greatest)
            if search is not None and search.most is not None and 0 < search.most < search.first:
                mistakes.append((most, f"{search.most:g} below {first} {search.first:g}", "a search starts there"))
    return RequestedLoads(found, loads, search, tuple(mistakes))


def _burst_rate(burst: Any) -> float:
    """Return the rate of valid bursts, or any number for invalid ones, which are reported elsewhere."""
    try:
        return _parse_burst(burst).rate
    except Wrong:
        return 1.0


def _search_bounds(unit: LoadUnit, first: Any, most: Any) -> SearchBounds | None:
    """Return the limits of a search, or ``None`` if a value is no number, which is reported elsewhere."""
    try:
        return SearchBounds(unit, float(first), None if most is None else float(most))
    except (TypeError, ValueError):
        return None


def _parse_loads(value: Any) -> Any:
    """Return ``5,10,20`` as a list, ``5`` as a number, and other values unchanged."""
    if isinstance(value, str) and "," in value:
        return [part.strip() for part in value.split(",")]
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]+(?:\.[0-9]+)?\s*", value):
        return float(value) if "." in value else int(value)
    return value


def _parse_numbers(values: list[Any], *, whole: bool) -> tuple[tuple[float, ...], Wrong | None]:
    found: list[float] = []
    for value in values:
        try:
            number = float("nan" if isinstance(value, bool) else value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 < number <= _MOST or (whole and number != int(number)):
            what = "whole numbers of clients" if whole else "numbers"
            return (), Wrong(describe(value), f"expected {what} above 0, such as 5,10,20")
        found.append(number)
    if not found:
        return (), Wrong("the list is empty", "give one number, or several such as 5,10,20")
    return tuple(found), None


def _contradictions(given: Mapping[str, Any]) -> Iterator[LoadMistake]:
    finds = [key for key in _FINDS if given.get(key) is True]
    if len(finds) > 1:
        yield finds[1], "find_rate and find_concurrency", "use one of them at a time"
    if len(_load_list(given.get("concurrency"))) > 1 and {"rate", "steps", "burst", "trace"} & given.keys():
        yield "concurrency", "several limits for one rate", "give one, or a list of rates"
    for key, (first, most, _) in _FINDS.items():
        if key in finds:
            yield from _search_conflicts(key, given)
        elif most in given:
            yield most, f"{most} without {key}", f"add {key}, or {first} for a load of that size"
    yield from _spacing_conflicts(given)


def _search_conflicts(find: str, given: Mapping[str, Any]) -> Iterator[LoadMistake]:
    """Yield mistakes in keys that do not go with a search."""
    first = _FINDS[find][0]
    if len(_load_list(given.get(first))) > 1:
        yield first, f"several loads do not work with {find}", "give only the start value"
    if find == "find_concurrency" and "rate" in given:
        yield "rate", f"rate does not work with {find}", "remove it: a client sends its next request after a response"
    for key in ("steps", "trace", "burst", "repeat", "count", "until"):
        if given.get(key) not in (None, (), []) and not (key == "repeat" and given[key] == 1):
            yield key, f"{key} beside {find}", OF_SEARCHES


def _spacing_conflicts(given: Mapping[str, Any]) -> Iterator[LoadMistake]:
    spread = [key for key in ("burst", "burstiness") if key in given]
    if given.get("spacing") == "poisson":
        spread.insert(0, "spacing")
    if len(spread) > 1:
        yield spread[1], " and ".join(spread), "use one of them: each sets the arrival pattern"
    if "burst" in given and "rate" in given:
        yield "burst", "both rate and burst are set", "use one of them: bursts have their own rate"
    if "concurrency" in given and not {"rate", "steps", "burst", "trace", "find_rate"} & given.keys():
        yield from ((key, f"{key} does not work with concurrency", "add a rate") for key in spread)
    if "trace" in given and spread:
        yield spread[0], f"{spread[0]} does not work with a trace", "remove it: the trace sets the times"


def _load_list(value: Any) -> list[Any]:
    listed = _parse_loads(value)
    return listed if isinstance(listed, list) else []
