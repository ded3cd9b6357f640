"""Makes texts safe to show or write: in one line, without terminal control characters and credentials.

Servers often repeat the rejected key or the unknown path, sometimes in base64 or escaped for JSON or a URL. Escapes of
ECMA-48 begin with a control character of C0 or C1. Format characters reverse the direction of text (CVE-2021-42574),
and line breaks would forge lines of a report.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus

import attrs

MASK: Final = "***"
HIDDEN: Final = "*** (the text repeats a credential)"
SECRET: Final = 8  # characters of the shortest word that may be a credential; "Bearer" has fewer
LONGEST: Final = 300  # characters of a text that is shown
DEPTH: Final = 4  # levels of escapes

_ESCAPE: Final = re.compile(r"\\{1,4}u([0-9a-fA-F]{4})")


@attrs.frozen
class SecretWords:
    """Words that may be credentials, also in base64, the longest first."""

    words: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def from_values(cls, values: Iterable[str]) -> "SecretWords":
        words = {word for value in values for word in value.split() if len(word) >= SECRET}
        spelled = {form for word in words for form in _base64_forms(word)}
        return cls(tuple(sorted(words | spelled, key=len, reverse=True)))

    def mask(self, text: str) -> str:
        """Return ``text`` with the words masked. A text with an escaped word, or with the beginning of one, is hidden
        whole."""
        for word in self.words:
            text = text.replace(word, MASK)
        return HIDDEN if self._repeats(text) else text

    def _repeats(self, text: str) -> bool:
        """Return whether ``text`` has the beginning of a word, also escaped for JSON or a URL, several times."""
        beginnings = {word[:SECRET] for word in self.words}
        for _ in range(DEPTH):
            forms = (text, text.replace("\\", ""))
            if any(beginning in form for beginning in beginnings for form in forms):
                return True
            text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), unquote(text))
        return False


def _base64_forms(word: str) -> Iterator[str]:
    """Yield the base64 characters that represent ``word`` at each of the three offsets, in both alphabets."""
    data = word.encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()
        form = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        yield form
        yield form.translate({ord("+"): "-", ord("/"): "_"})


def plain_text(text: str, longest: int = LONGEST) -> str:
    """Return ``text`` in one line of at most ``longest`` characters, with unprintable characters escaped."""
    if len(text) <= longest and text.isprintable():
        return text
    line = " ".join(text[: 4 * longest].split())
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)[:longest]


def mask_url(url: str) -> str:
    """Return the URL without its user name, password and query values. Works on invalid URLs, too."""
    address, mark, query = url.partition("?")
    address = re.sub(r"(?<=//)[^/]*@", "***@", address)
    return address + mark + re.sub(r"([^&=]+=)?[^&]+", r"\1***", query)


def url_secrets(url: str) -> Iterator[str]:
    """Yield the query values, raw and decoded."""
    for part in url.partition("?")[2].split("&"):
        value = part.partition("=")[2] or part
        yield from (value, unquote_plus(value))
