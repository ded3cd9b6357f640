"""Shell-style patterns of names, such as ``claude-*-4-5*``."""

import fnmatch
import re
from typing import Final

_WILD: Final = re.compile(r"[*?[]")


def fits(name: str, pattern: str) -> bool:
    """Return whether ``name`` matches ``pattern``. A table of rows needs few regular expressions: names that begin
    otherwise than the pattern are compared as text."""
    wild = _WILD.search(pattern)
    if wild is None:
        return name == pattern
    return name.startswith(pattern[: wild.start()]) and fnmatch.fnmatchcase(name, pattern)
