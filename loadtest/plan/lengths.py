"""Random lengths of prompts and answers in tokens, and prefixes that prompts share."""

import math
import random
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from configfile.wording import Wrong, describe, nearest

LONGEST: Final = 1_000_000  # tokens of a prompt, or of an answer
_Z95: Final = 1.6448536269514722  # standard deviations from the mean to the 95th percentile of a normal distribution


@attrs.frozen
class UniformLengths:
    """A uniform distribution from ``least`` to ``most``."""

    least: int
    most: int

    @property
    def mean(self) -> float:
        return (self.least + self.most) / 2

    def draw(self, rng: random.Random) -> int:
        return self.least if self.least == self.most else rng.randint(self.least, self.most)


@attrs.frozen
class NormalLengths:
    """A normal distribution, clamped to its bounds."""

    mean: float
    stdev: float
    least: int = 1
    most: int = LONGEST

    def draw(self, rng: random.Random) -> int:
        return _clamp(rng.gauss(self.mean, self.stdev), self.least, self.most)


@attrs.frozen
class LognormalLengths:
    """A log-normal distribution with median ``p50`` and 95th percentile ``p95``, clamped to its bounds.

    Its long tail fits the prompts of people.
    """

    p50: float
    p95: float
    least: int = 1
    most: int = LONGEST

    @property
    def _spread(self) -> float:
        return math.log(self.p95 / self.p50) / _Z95

    @property
    def mean(self) -> float:
        return min(float(self.most), self.p50 * math.exp(self._spread**2 / 2))

    def draw(self, rng: random.Random) -> int:
        return _clamp(self.p50 * math.exp(rng.gauss(0.0, self._spread)), self.least, self.most)


Lengths: TypeAlias = UniformLengths | NormalLengths | LognormalLengths


def _clamp(value: float, least: int, most: int) -> int:
    return max(least, min(most, round(value)))


def constant_length(length: int) -> UniformLengths:
    return UniformLengths(length, length)


def as_lengths(value: Any) -> Lengths:
    """Return lengths from a distribution, a number, or (least, most)."""
    if isinstance(value, UniformLengths | NormalLengths | LognormalLengths):
        return value
    return UniformLengths(*value) if isinstance(value, tuple) else constant_length(int(value))


# Spellings

_EXPECTED: Final = (
    f"expected a number of tokens, 1 to {LONGEST}, [least, most] (or 50-2000), mean with stdev "
    "(mean=500,stdev=100), or p50 with p95, these with min and max"
)
_PAIRS: Final = (("mean", "stdev"), ("p50", "p95"))
NAMES: Final = ("mean", "stdev", "p50", "p95", "min", "max")


def read_lengths(value: Any) -> Lengths:
    """Parse lengths: ``1000``, ``[50, 2000]``, ``{mean: 500, stdev: 100}``, or the texts ``50-2000`` and
    ``mean=500,stdev=100``. Raises ``Wrong``."""
    plain = _parse_text(value) if isinstance(value, str) else value
    match plain:
        case {}:
            return parse_distribution(plain, describe(value), "lengths", _EXPECTED, _parse_length)
        case [least, most] if _is_length(least) and _is_length(most) and least <= most:
            return UniformLengths(least, most)
        case int() if _is_length(plain):
            return constant_length(plain)
    raise Wrong(describe(value), _EXPECTED)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST


def _parse_text(text: str) -> Any:
    """Return the value in a file that corresponds to the text of an option."""
    if re.fullmatch(r"\s*\d{1,9}\s*", text):
        return int(text)
    if pair := re.fullmatch(r"\s*\[?\s*(\d{1,9})\s*(?:-|,|\.\.)\s*(\d{1,9})\s*\]?\s*", text):
        return [int(pair[1]), int(pair[2])]
    parts = [re.fullmatch(r"\s*(\w+)\s*=\s*([\d.]+)\s*", part) for part in text.split(",")]
    named = [(part[1], _parse_decimal(part[2], text)) for part in parts if part]
    if len(named) != len(parts):
        raise Wrong(describe(text), _EXPECTED)
    names = [name for name, _ in named]
    if twice := [name for name in names if names.count(name) > 1]:
        raise Wrong(describe(text), f"{twice[0]} appears twice: remove one")
    return dict(named)


def _parse_decimal(digits: str, text: str) -> float:
    try:
        return float(digits)
    except ValueError:
        raise Wrong(describe(text), _EXPECTED) from None


def _parse_length(name: str, number: Any) -> float:
    numeric = isinstance(number, int | float) and not isinstance(number, bool)
    if not numeric or not (0 if name == "stdev" else 1) <= number <= LONGEST:
        raise Wrong(f"{name}: {describe(number)}", f"expected a number of tokens, 1 to {LONGEST}")
    return float(number)


def parse_distribution(
    given: Mapping[str, Any], shown: str, of: str, expected: str, parse: Callable[[str, Any], float], least: int = 1
) -> Lengths:
    """Return the distribution with the members ``given``, ``shown`` in errors, whose numbers ``parse`` reads.

    ``of`` are lengths or times, ``least`` is the default of ``min``. Raises ``Wrong``."""
    for name in given:
        if name not in NAMES:
            near = nearest(str(name), NAMES)
            raise Wrong(f"{name} in a distribution of {of}", "" if near else expected, near)
    numbers = {name: parse(name, number) for name, number in given.items()}
    pairs = [pair for pair in _PAIRS if set(pair) & numbers.keys()]
    if len(pairs) != 1:
        raise Wrong(shown, "set mean with stdev, or p50 with p95")
    if missing := [name for name in pairs[0] if name not in numbers]:
        there = next(name for name in pairs[0] if name in numbers)
        raise Wrong(shown, f"add {missing[0]} to {there}")
    least, most = int(numbers.get("min", least)), int(numbers.get("max", LONGEST))
    if most < least:
        raise Wrong(shown, "max must be min or more")
    first, second = numbers[pairs[0][0]], numbers[pairs[0][1]]
    if pairs[0] == _PAIRS[0]:
        return NormalLengths(first, second, least, most)
    if not 0 < first <= second:
        raise Wrong(shown, "p95 must be p50 or more" if first else "p50 must be above 0")
    return LognormalLengths(first, second, least, most)


MOST_TEXTS: Final = 10_000
_PREFIXES: Final = re.compile(r"\s*(\d{1,3}(?:\.\d+)?)\s*(%?)\s*:\s*(\d{1,9})\s*(?::\s*(\d{1,9})\s*)?")
_EXPECTED_PREFIXES: Final = (
    f"expected a share, a length in tokens (1 to {LONGEST}) and a number of texts (1 to {MOST_TEXTS}), such as "
    "80%:4000:10"
)


@attrs.frozen
class SharedPrefixes:
    """Common beginnings of prompts. A ``share`` of the requests begins with one of ``texts`` different texts, each
    ``tokens`` tokens long."""

    share: float
    tokens: int
    texts: int = 1


def read_prefixes(value: Any) -> SharedPrefixes:
    """Parse ``80%:4000:10``. Without the last number there is one text. Raises ``Wrong``."""
    found = _PREFIXES.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Wrong(describe(value), _EXPECTED_PREFIXES)
    share = float(found[1]) / (100 if found[2] else 1)
    tokens, texts = int(found[3]), int(found[4] or 1)
    if not 0 < share <= 1 or not 1 <= tokens <= LONGEST or not 1 <= texts <= MOST_TEXTS:
        raise Wrong(describe(value), _EXPECTED_PREFIXES)
    return SharedPrefixes(share, tokens, texts)
