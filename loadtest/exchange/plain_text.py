"""What servers say, so that it can be shown: in one line, with nothing in it that a terminal would obey.

Escapes of ECMA-48 begin with a control character of C0 or C1; format characters turn the direction of text around
(CVE-2021-42574), and line breaks would forge lines of a report.
"""

from typing import Any, Final

LONGEST: Final = 300  # characters
LONGEST_VALUE: Final = 100_000  # characters of one that came from a file or another machine


def plain_text(text: str, longest: int = LONGEST) -> str:
    """``text`` in one line of ``longest`` characters at most, escapes counted; what cannot be printed is escaped."""
    if len(text) <= longest and text.isprintable():
        return text
    line = " ".join(text[: 4 * longest].split())
    return "".join(one if one.isprintable() else _escaped(one) for one in line)[:longest]


def plain_value(value: Any) -> Any:
    """A value of JSON with plain texts: one that came from a file or from another machine."""
    if isinstance(value, dict):
        return {plain_value(name): plain_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    return plain_text(value, LONGEST_VALUE) if isinstance(value, str) else value


def _escaped(character: str) -> str:
    """As Python writes it: half of a surrogate pair, too, which no terminal takes."""
    return ascii(character)[1:-1]
