"""Makes texts from servers safe to show: in one line, without terminal control characters.

Escapes of ECMA-48 begin with a control character of C0 or C1. Format characters reverse the direction of text
(CVE-2021-42574), and line breaks would forge lines of a report.
"""

from typing import Any, Final

LONGEST: Final = 300  # characters
LONGEST_VALUE: Final = 100_000  # characters of a value from a file or another machine


def plain_text(text: str, longest: int = LONGEST) -> str:
    """Return ``text`` in one line of at most ``longest`` characters, with unprintable characters escaped."""
    if len(text) <= longest and text.isprintable():
        return text
    line = " ".join(text[: 4 * longest].split())
    return "".join(one if one.isprintable() else _escape(one) for one in line)[:longest]


def plain_value(value: Any) -> Any:
    """Return a JSON value from a file or another machine with all its texts made plain."""
    if isinstance(value, dict):
        return {plain_value(name): plain_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    return plain_text(value, LONGEST_VALUE) if isinstance(value, str) else value


def _escape(character: str) -> str:
    """Return the escape of a character, also for half a surrogate pair."""
    return ascii(character)[1:-1]
