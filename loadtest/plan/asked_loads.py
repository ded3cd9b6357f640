"""How many loads a scenario asks for: one, several one after the other, or a search for the highest that holds."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind
from configfile.kinds import read_wait
from configfile.wording import Wrong, describe

LoadUnit: TypeAlias = Literal["rate", "clients"]

RESOLUTION: Final = 0.05
"""The bounds between which a search ends differ by this part at most."""

STEP: Final = 5.0
"""Seconds that a step of a search lasts at least, where nothing else is said."""

OF_SEARCHES: Final = "leave it out: a search has steps of its own"
"""What to do about keys that ask for another load."""

_MOST: Final = 10**6
_BURST: Final = re.compile(r"\s*([0-9]{1,6})\s*:\s*(\S+)\s*")


@attrs.frozen
class SearchBounds:
    """What a search may try: from ``first`` up to ``most`` (``None``: without end)."""

    unit: LoadUnit
    first: float
    most: float | None = None

    def near(self, low: float, high: float) -> bool:
        """Whether nothing is left to be found between two loads."""
        return high - low <= max(1.0 if self.unit == "clients" else 0.0, RESOLUTION * low) + 1e-9

    def between(self, low: float, high: float) -> float:
        return self.rounded((low + high) / 2)

    def rounded(self, load: float) -> float:
        """Three figures, or a whole number of clients."""
        return float(max(1, int(load))) if self.unit == "clients" else float(f"{load:.3g}")


@attrs.frozen
class ArrivalBurst:
    """``size`` requests at once, every so many ``seconds``."""

    size: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.size / self.seconds


def _burst(value: Any) -> ArrivalBurst:
    wrong = Wrong(describe(value), "this must be a number of requests and a time, such as 32:2s")
    found = _BURST.fullmatch(value) if isinstance(value, str) else None
    if found is None or not int(found[1]):
        raise wrong
    try:
        return ArrivalBurst(int(found[1]), read_wait(found[2]))
    except Wrong:
        raise wrong from None


def _burstiness(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not number >= 0.01:
        raise Wrong(describe(value), "this must be a number, 0.01 or more: 1 as Poisson, below 1 in bursts, inf evenly")
    return number


Burst: TypeAlias = Annotated[ArrivalBurst, Kind("a burst", _burst)]
Burstiness: TypeAlias = Annotated[float, Kind("a number", _burstiness)]

AskedMistake: TypeAlias = tuple[str, str, str]
"""A key, what is wrong with it, and what it should be."""

_FINDS: Final[Mapping[str, tuple[str, str, LoadUnit]]] = {
    "find_rate": ("rate", "max_rate", "rate"),
    "find_concurrency": ("concurrency", "max_concurrency", "clients"),
}
"""The key of a search: the keys of its first and its greatest load, and what it counts."""


@attrs.frozen
class AskedLoads:
    """What came of a scenario's keys: ``content`` asks for one load, the first. ``loads`` are several, each for a run
    of its own."""

    content: Mapping[str, Any]
    loads: tuple[float, ...] = ()
    search: SearchBounds | None = None
    mistakes: tuple[AskedMistake, ...] = ()


def asked_loads(content: Mapping[str, Any]) -> AskedLoads:
    """Take lists of rates and of clients, bursts and searches out of a scenario's keys."""
    given = {key: value for key, value in content.items() if value is not None}
    found, mistakes = dict(given), list(_contradictions(given))
    loads: tuple[float, ...] = ()
    for key in ("rate", "concurrency"):
        several = found[key] = _listed(given.get(key))
        if isinstance(several, list):
            numbers, wrong = _numbers(several, whole=key == "concurrency")
            mistakes += [(key, wrong.found, wrong.expected)] if wrong else []
            found[key] = (int(numbers[0]) if key == "concurrency" else numbers[0]) if numbers else 1
            loads = numbers if len(numbers) > 1 else loads
        elif several is None:
            del found[key]
    if "burst" in given and "rate" not in given:
        found["rate"] = _rate_of(given["burst"])
    search = None
    for key, (first, most, unit) in _FINDS.items():
        if given.get(key) is True and not {"steps", "trace", "burst"} & given.keys():
            greatest = found.get(most)
            found.setdefault(first, greatest if isinstance(greatest, int | float) and 0 < greatest < 1 else 1)
            found.setdefault("seconds", STEP)
            search = None if mistakes else _bounds(unit, found[first], greatest)
            if search is not None and search.most is not None and 0 < search.most < search.first:
                mistakes.append((most, f"{search.most:g} below {first} {search.first:g}", "a search begins there"))
    return AskedLoads(found, loads, search, tuple(mistakes))


def _rate_of(burst: Any) -> float:
    """That of well-spelled bursts; of others, whose mistake is told elsewhere, any."""
    try:
        return _burst(burst).rate
    except Wrong:
        return 1.0


def _bounds(unit: LoadUnit, first: Any, most: Any) -> SearchBounds | None:
    """None where one of them is no number, which is a mistake elsewhere."""
    try:
        return SearchBounds(unit, float(first), None if most is None else float(most))
    except (TypeError, ValueError):
        return None


def _listed(value: Any) -> Any:
    """``5,10,20`` as a list, and ``5`` as a number; all else as it is."""
    if isinstance(value, str) and "," in value:
        return [part.strip() for part in value.split(",")]
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]+(?:\.[0-9]+)?\s*", value):
        return float(value) if "." in value else int(value)
    return value


def _numbers(values: list[Any], *, whole: bool) -> tuple[tuple[float, ...], Wrong | None]:
    found: list[float] = []
    for value in values:
        try:
            number = float("nan" if isinstance(value, bool) else value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 < number <= _MOST or (whole and number != int(number)):
            what = "whole numbers of clients" if whole else "numbers"
            return (), Wrong(describe(value), f"these must be {what} above 0, such as 5,10,20")
        found.append(number)
    if not found:
        return (), Wrong("an empty list", "give one number, or several such as 5,10,20")
    return tuple(found), None


def _contradictions(given: Mapping[str, Any]) -> Iterator[AskedMistake]:
    finds = [key for key in _FINDS if given.get(key) is True]
    if len(finds) > 1:
        yield finds[1], "find_rate and find_concurrency", "give one of them, and then the other"
    if len(_many(given.get("concurrency"))) > 1 and {"rate", "steps", "burst", "trace"} & given.keys():
        yield "concurrency", "several caps of one rate", "give one, or a list of rates"
    for key, (first, most, _) in _FINDS.items():
        if key in finds:
            yield from _beside(key, given)
        elif most in given:
            yield most, f"{most} without {key}", f"give {key} with it, or {first} for a load of so much"
    yield from _of_spacing(given)


def _beside(find: str, given: Mapping[str, Any]) -> Iterator[AskedMistake]:
    """What no search can have beside it."""
    first = _FINDS[find][0]
    if len(_many(given.get(first))) > 1:
        yield first, f"several loads beside {find}", "give the one to begin with"
    if find == "find_concurrency" and "rate" in given:
        yield "rate", f"rate beside {find}", "leave it out: clients ask again when they were answered"
    for key in ("steps", "trace", "burst", "repeat", "count", "until"):
        if given.get(key) not in (None, (), []) and not (key == "repeat" and given[key] == 1):
            yield key, f"{key} beside {find}", OF_SEARCHES


def _of_spacing(given: Mapping[str, Any]) -> Iterator[AskedMistake]:
    spread = [key for key in ("burst", "burstiness") if key in given]
    if given.get("spacing") == "poisson":
        spread.insert(0, "spacing")
    if len(spread) > 1:
        yield spread[1], " and ".join(spread), "give one of them: each says how arrivals are spread"
    if "burst" in given and "rate" in given:
        yield "burst", "rate and burst", "give one of them: bursts have a rate of their own"
    if "concurrency" in given and not {"rate", "steps", "burst", "trace", "find_rate"} & given.keys():
        yield from ((key, f"{key} in a closed loop", "give a rate with it") for key in spread)
    if "trace" in given and spread:
        yield spread[0], f"{spread[0]} beside a trace", "leave it out: its requests come as the trace says"


def _many(value: Any) -> list[Any]:
    listed = _listed(value)
    return listed if isinstance(listed, list) else []
