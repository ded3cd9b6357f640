"""Makes texts from servers safe to show: in one line, without terminal control characters.

Escapes of ECMA-48 begin with a control character of C0 or C1. Format characters reverse the direction of text
(CVE-2021-42574), and line breaks would forge lines of a report.
"""

from typing import Final

LONGEST: Final = 300  # characters


def plain_text(text: str, longest: int = LONGEST) -> str:
    """Return ``text`` in one line of at most ``longest`` characters, with unprintable characters escaped."""
    if len(text) <= longest and text.isprintable():
        return text
    line = " ".join(text[: 4 * longest].split())
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)[:longest]
