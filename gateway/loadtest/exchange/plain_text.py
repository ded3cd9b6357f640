"""What servers say, so that it can be shown: in one line, with nothing in it that a terminal would obey.

Escapes of ECMA-48 begin with a control character of C0 or C1; format characters turn the direction of text around
(CVE-2021-42574), and line breaks would forge lines of a report.
"""

from typing import Final

LONGEST: Final = 300  # characters


def plain_text(text: str, longest: int = LONGEST) -> str:
    """``text`` in one line of ``longest`` characters at most, escapes counted; what cannot be printed is escaped."""
    if len(text) <= longest and text.isprintable():
        return text
    line = " ".join(text[: 4 * longest].split())
    return "".join(one if one.isprintable() else _escaped(one) for one in line)[:longest]


def _escaped(character: str) -> str:
    """As Python writes it: half of a surrogate pair, too, which no terminal takes."""
    return ascii(character)[1:-1]
