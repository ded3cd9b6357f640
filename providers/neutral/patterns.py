"""Shell-style patterns of names, such as ``claude-*-4-5*``."""

import fnmatch
import re
from typing import Final

_WILD: Final = re.compile(r"[*?[]")


def is_wild(pattern: str) -> bool:
    """Return whether ``pattern`` may match a name that differs from it."""
    return _WILD.search(pattern) is not None


def fits(name: str, pattern: str) -> bool:
    """Return whether ``name`` matches ``pattern``.

    The text before the first wildcard is compared first, so that few names need a regular expression.
    """
    wild = _WILD.search(pattern)
    if wild is None:
        return name == pattern
    return name.startswith(pattern[: wild.start()]) and fnmatch.fnmatchcase(name, pattern)
