"""Masks credentials in everything that is shown or written.

Servers often repeat the rejected key or the unknown path, sometimes in base64 or escaped for JSON or a URL.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote

import attrs

from loadtest.exchange.record import ExchangeRecord

MASK: Final = "***"
HIDDEN: Final = "*** (the text repeats a credential)"
SECRET: Final = 8  # characters of the shortest word that may be a credential; "Bearer" has fewer
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

    def mask_record(self, record: ExchangeRecord) -> ExchangeRecord:
        """Return the record with the words masked in every text from the server."""
        problem, mask = record.problem, self.mask
        return attrs.evolve(
            record,
            problem=problem and attrs.evolve(problem, kind=mask(problem.kind), detail=mask(problem.detail)),
            finish=mask(record.finish),
            request_id=mask(record.request_id),
            route=tuple((mask(name), mask(value)) for name, value in record.route),
        )


def _base64_forms(word: str) -> Iterator[str]:
    """Yield the base64 characters that represent ``word`` at each of the three offsets, in both alphabets."""
    data = word.encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode()
        form = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
        yield form
        yield form.translate({ord("+"): "-", ord("/"): "_"})
