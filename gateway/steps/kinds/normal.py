"""The normalised copy of a text in which built-in kinds search, and decoded copies of its encoded parts.

A copy has no invisible characters, and characters that look like ASCII are ASCII. Spans in it map back to the text."""

import binascii
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, Protocol

_LOOKALIKES: Final[Mapping[str, str]] = {
    "A": "АΑᎪ", "B": "ВΒᏴ", "C": "СᏟ", "D": "Ꭰ", "E": "ЕΕᎬ", "G": "ԌᏀ", "H": "НΗᎻ", "I": "ІΙӀ", "J": "ЈᎫ",
    "K": "КΚᏦ", "L": "Ꮮ", "M": "МΜᎷ", "N": "Ν", "O": "ОΟ", "P": "РΡᏢ", "Q": "Ԛ", "R": "Ꭱ", "S": "ЅᏚ", "T": "ТΤᎢ",
    "V": "Ꮩ", "W": "ԜᎳ", "X": "ХΧ", "Y": "УΥҮ", "Z": "ΖᏃ", "a": "аα", "c": "с", "d": "ԁ", "e": "е", "h": "һ",
    "i": "іı", "j": "јϳ", "k": "κ", "n": "ո", "o": "оοօ", "p": "рρ", "q": "ԛ", "s": "ѕ", "u": "υս", "v": "ѵν",
    "w": "ԝ", "x": "хχ", "y": "уγ", "-": "‐‑‒–—―−⁃", "/": "⁄∕", ":": "∶։", ".": "。․", "@": "﹫", "_": "ˍ",
}  # fmt: skip
"""Letters and signs that look like ASCII, from https://www.unicode.org/Public/security/latest/confusables.txt."""

_LATIN: Final = {ord(one): char for char, others in _LOOKALIKES.items() for one in others}

_FILLERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\u180e")
"""Characters without a picture that Unicode counts as letters or signs."""


class FoldedCharacters(dict[int, str]):
    """The normalised form of each character, computed at its first use."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if unicodedata.category(char) in ("Cf", "Mn", "Me") or char in _FILLERS:
            folded = ""
        else:
            folded = "".join(_fold(one) for one in unicodedata.normalize("NFKC", char))
        if len(self) < 20_000:
            self[code] = folded
        return folded


def _fold(char: str) -> str:
    if char.isascii():
        return char
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    match unicodedata.category(char):
        case "Zs":
            return " "
        case "Zl" | "Zp":
            return "\n"
        case "Mn" | "Me" | "Cf":
            return ""
    return char.translate(_LATIN)


_FOLDED: Final = FoldedCharacters()


class NormalText:
    """A normalised copy of a text, or the text itself unless ``is_folded``."""

    __slots__ = ("_length", "_starts", "text")

    def __init__(self, original: str, *, is_folded: bool = True) -> None:
        self._starts: Sequence[int] | None = None
        self._length = len(original)
        self.text = original
        if is_folded and not original.isascii():
            self.text = original.translate(_FOLDED)
            if any(len(_FOLDED[ord(char)]) != 1 for char in set(original)):
                sizes = [len(_FOLDED[ord(char)]) for char in original]
                self._starts = [at for at, size in enumerate(sizes) for _ in range(size)]

    def position(self, original: int) -> int:
        """Return the position in the copy of a position in the text."""
        return original if self._starts is None else bisect_left(self._starts, original)

    def origin(self, at: int) -> int:
        """Return the position in the text of a character of the copy, or of the end."""
        if self._starts is None:
            return at
        return self._starts[at] if at < len(self._starts) else self._length

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the text for one of the copy."""
        if self._starts is None:
            return start, end
        return self._starts[start], self._starts[end - 1] + 1


# Decoded copies


class DecodedText(Protocol):
    """The decoded text of a part of a text."""

    @property
    def text(self) -> str: ...

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the encoded span for a span of the decoded text."""
        ...


class DecodedRun:
    """A run of groups from position ``start``. Each group has ``width`` characters, which encode ``size`` bytes."""

    def __init__(self, text: str, start: int, end: int, width: int, size: int) -> None:
        self.text = text
        self._start = start
        self._end = end
        self._width = width
        self._size = size

    def span(self, start: int, end: int) -> tuple[int, int]:
        first = self._start + start // self._size * self._width
        return first, min(self._end, self._start + -(-end // self._size) * self._width)


class UnescapedRun:
    """A text with percent escapes, whose decoded characters begin at ``starts``."""

    def __init__(self, text: str, starts: Sequence[int]) -> None:
        self.text = text
        self._starts = starts

    def span(self, start: int, end: int) -> tuple[int, int]:
        return self._starts[start], self._starts[end]


_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}+")
_HEX: Final = re.compile(r"(?:[0-9a-f]{16,}+|[0-9A-F]{16,}+)")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})|.", re.DOTALL)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_CONTROLS: Final = bytes((*range(9), *range(14, 32), 127))


def may_be_encoded(text: str, start: int, end: int) -> bool:
    """Return whether ``text`` may have encoded parts between two positions."""
    return _BASE64.search(text, start, end) is not None or text.find("%", start, end) >= 0


def decoded_texts(text: str, start: int, end: int) -> Iterator[DecodedText]:
    """Yield the decoded parts of ``text`` between two positions: base64, hex and percent escapes, decoded once."""
    for found in _BASE64.finditer(text, start, end):
        yield from _decoded_base64(text, *found.span())
    for found in _HEX.finditer(text, start, end):
        for first in (found.start(), found.start() + 1):
            last = found.end() - (found.end() - first) % 2
            if is_text(data := bytes.fromhex(text[first:last])):
                yield DecodedRun(data.decode("latin-1"), first, last, 2, 1)
    if text.find("%", start, end) >= 0:
        yield _unescape_run(text, start, end)


def _decoded_base64(text: str, start: int, end: int) -> Iterator[DecodedText]:
    """Yield the decoded run for each position of its first group, because other characters may precede it."""
    for first in range(start, start + 4):
        # A final group of two or three characters encodes one or two bytes; one of one is none.
        last = end - 1 if (end - first) % 4 == 1 else end
        digits = text[first:last].translate(_URL_SAFE)
        try:
            data = binascii.a2b_base64(digits + "=" * (-len(digits) % 4))
        except binascii.Error:
            continue
        if is_text(data):
            yield DecodedRun(data.decode("latin-1"), first, last, 4, 3)


def _unescape_run(text: str, start: int, end: int) -> DecodedText:
    found = list(_ESCAPE.finditer(text, start, end))
    starts = [start, *accumulate((len(one[0]) for one in found), initial=start)][1:]
    return UnescapedRun("".join(chr(int(one[1], 16)) if one[1] else one[0] for one in found), starts)


def is_text(data: bytes) -> bool:
    """Return whether decoded ``data`` may be text: it has few control characters, unlike compressed data."""
    return len(data) - len(data.translate(None, _CONTROLS)) <= 2 + len(data) // 50
