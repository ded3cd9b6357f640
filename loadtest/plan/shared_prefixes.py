"""Beginnings that prompts share, as those of one application's users do: what caches of prompts are made for."""

import re
from typing import Any, Final

import attrs

from configfile.wording import Wrong, describe
from loadtest.plan.lengths import LONGEST

MOST_TEXTS: Final = 10_000
_SHAPE: Final = re.compile(r"\s*(\d{1,3}(?:\.\d+)?)\s*(%?)\s*:\s*(\d{1,9})\s*(?::\s*(\d{1,9})\s*)?")
_EXPECTED: Final = (
    f"this must be a share, a length in tokens (1 to {LONGEST}) and how many texts there are (1 to {MOST_TEXTS}), "
    "such as 80%:4000:10"
)


@attrs.frozen
class SharedPrefixes:
    """``share`` of all requests begin with one of ``texts`` texts of ``tokens`` tokens each, before prompts of their
    own."""

    share: float
    tokens: int
    texts: int = 1


def read_prefixes(value: Any) -> SharedPrefixes:
    """What ``80%:4000:10`` spells; without the last number it is one text. Raises ``Wrong``."""
    found = _SHAPE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Wrong(describe(value), _EXPECTED)
    share = float(found[1]) / (100 if found[2] else 1)
    tokens, texts = int(found[3]), int(found[4] or 1)
    if not 0 < share <= 1 or not 1 <= tokens <= LONGEST or not 1 <= texts <= MOST_TEXTS:
        raise Wrong(describe(value), _EXPECTED)
    return SharedPrefixes(share, tokens, texts)
