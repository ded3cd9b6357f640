"""The normalised copy of a text in which built-in kinds search, and decoded copies of its encoded parts.

A copy has no invisible characters, and characters that look like ASCII are ASCII. Spans in it map back to the text."""

import binascii
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final

_LOOKALIKES: Final[Mapping[str, str]] = {
    "A": "АΑᎪ", "B": "ВΒᏴ", "C": "СᏟ", "D": "Ꭰ", "E": "ЕΕᎬ", "G": "ԌᏀ", "H": "НΗᎻ", "I": "ІΙӀ", "J": "ЈᎫ",
    "K": "КΚᏦ", "L": "Ꮮ", "M": "МΜᎷ", "N": "Ν", "O": "ОΟ", "P": "РΡᏢ", "Q": "Ԛ", "R": "Ꭱ", "S": "ЅᏚ", "T": "ТΤᎢ",
    "V": "Ꮩ", "W": "ԜᎳ", "X": "ХΧ", "Y": "УΥҮ", "Z": "ΖᏃ", "a": "аα", "c": "с", "d": "ԁ", "e": "е", "h": "һ",
    "i": "іı", "j": "јϳ", "k": "κ", "n": "ո", "o": "оοօ", "p": "рρ", "q": "ԛ", "s": "ѕ", "u": "υս", "v": "ѵν",
    "w": "ԝ", "x": "хχ", "y": "уγ", "-": "‐‑‒–—―−⁃", "/": "⁄∕", ":": "∶։", ".": "。․", "@": "﹫", "_": "ˍ",
}  # fmt: skip
"""Letters and signs that look like ASCII, from https://www.unicode.org/Public/security/latest/confusables.txt."""

_LATIN: Final = {ord(one): char for char, others in _LOOKALIKES.items() for one in others}

_PLAIN: Final = frozenset(("Lo", "Ll", "Lu", "Lm", "Mc", "So", "Sm", "Po", "Cn", "Co"))
"""The categories of characters that keep their form, unless they look like others."""

_FILLERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\u180e")
"""Characters without a picture that Unicode counts as letters or signs."""

_BREAKS: Final = frozenset("\t\n\v\f\r\x85")
"""The control characters that a reader sees."""

_CONTROL: Final = re.compile("[\0-\x08\x0e-\x1f\x7f]")

LONGEST_FORM: Final = 6
"""Characters of a form that replaces one. Longer forms, such as the eighteen of U+FDFA, have no ASCII."""

MOST_FOLDED: Final = 100_000
"""Characters whose form is kept, and those with short codes."""


LONGEST_GAP: Final = 512
"""Invisible characters in a row. A longer run ends the text before it, as the end of a line does."""


class FoldedCharacters(dict[int, str]):
    """The normalised form of each character, computed at its first use."""

    def __missing__(self, code: int) -> str:
        folded = self._form(code)
        if code < 0x10000 or len(self) < MOST_FOLDED:
            self[code] = folded
        return folded

    def _form(self, code: int) -> str:
        char = chr(code)
        if unicodedata.category(char) in ("Cf", "Mn", "Me") or char in _FILLERS or _is_control(char):
            folded = ""
        elif unicodedata.category(char) in _PLAIN and code not in _LATIN and unicodedata.is_normalized("NFKC", char):
            folded = char
        else:
            normal = unicodedata.normalize("NFKC", char)
            folded = "".join(map(_fold, normal)) if len(normal) <= LONGEST_FORM else char
        if not folded:
            _invisible[char] = None
        return folded


_invisible: Final[dict[str, None]] = {}
"""The characters without a form that were in a text."""


@lru_cache(maxsize=1)
def _long_gap(number: int) -> re.Pattern[str]:
    """Return the pattern of a long gap, once for each ``number`` of invisible characters."""
    return re.compile(f"[{re.escape(''.join(_invisible))}]{{{LONGEST_GAP + 1}}}")


def _is_control(char: str) -> bool:
    """Return whether ``char`` has no picture: a control character, or one for private use."""
    return unicodedata.category(char) in ("Cc", "Co") and char not in _BREAKS


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


class WidthFoldedCharacters(FoldedCharacters):
    """The form of each character in which signs, letters and control characters stay what they are: only the full width
    of ASCII, decimal digits, spaces and invisible characters are folded."""

    def _form(self, code: int) -> str:
        char, folded = chr(code), _FOLDED[code]
        if _is_control(char):
            return char
        is_wide = 0xFF01 <= code <= 0xFF5E or unicodedata.category(char) in ("Nd", "Zs", "Zl", "Zp")
        return folded if not folded or (is_wide and len(folded) == 1) else char


_FOLDED: Final = FoldedCharacters()
_WIDTH_FOLDED: Final = WidthFoldedCharacters()


def is_plain(text: str) -> bool:
    """Return whether ``text`` is ASCII without characters to fold."""
    return text.isascii() and (text.isprintable() or _CONTROL.search(text) is None)


def copies_of(text: str, *, is_folded: bool = True) -> tuple["NormalText", ...]:
    """Return the copies of ``text`` in which all values are found, a single one of most texts.

    In the first one, each character that looks like ASCII is ASCII, and control characters are absent, because they may
    be in a value. But they may also be next to one, as the sign in ``№4111 1111 1111 1111``: in the second copy such
    characters are unchanged."""
    if not is_folded or is_plain(text):
        return (NormalText(text, None),)
    codes = [ord(char) for char in set(text)]
    folded = NormalText(text, _FOLDED)
    if all(_FOLDED[code] == _WIDTH_FOLDED[code] for code in codes):
        return (folded,)
    return folded, NormalText(text, _WIDTH_FOLDED)


class NormalText:
    """A normalised copy of a text by the forms of its characters, or the text itself without ``forms``.
    ``is_aligned``: each character is at its position in the text."""

    __slots__ = ("_forms", "_original", "_split", "_starts", "is_aligned", "text")

    def __init__(self, original: str, forms: FoldedCharacters | None = _FOLDED) -> None:
        self.text = original
        self._original = original
        self._forms = forms
        self._starts: Sequence[int] | None = None
        self._split: Sequence[str] | None = None
        """The forms of all characters, if there are long gaps."""
        self.is_aligned = True
        if forms is not None:
            self.text = original.translate(forms)
            self.is_aligned = all(len(forms[ord(char)]) == 1 for char in set(original))
            if len(original) - len(self.text) > LONGEST_GAP and _long_gap(len(_invisible)).search(original):
                self._split = _split_at_gaps([forms[ord(char)] for char in original])
                self.text = "".join(self._split)

    @property
    def _positions(self) -> Sequence[int]:
        """The position in the text of each character of the copy, computed for the first finding."""
        if self._starts is None:
            assert self._forms is not None, "the copy differs from the text"
            forms = self._split or [self._forms[ord(char)] for char in self._original]
            self._starts = [at for at, form in enumerate(forms) for _ in form]
        return self._starts

    def position(self, original: int) -> int:
        """Return the position in the copy of a position in the text."""
        if self.is_aligned or original == 0:
            return original
        if self._starts is not None or self._split is not None:
            return bisect_left(self._positions, original)
        assert self._forms is not None, "the copy differs from the text"
        return len(self._original[:original].translate(self._forms))

    def origin(self, at: int) -> int:
        """Return the position in the text of a character of the copy, or of the end."""
        if self.is_aligned:
            return at
        return self._positions[at] if at < len(self.text) else len(self._original)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the text for one of the copy."""
        if self.is_aligned:
            return start, end
        return self._positions[start], self._positions[end - 1] + 1


def _split_at_gaps(forms: Sequence[str]) -> Sequence[str]:
    """Return ``forms`` with the end of a line for each empty one after ``LONGEST_GAP`` others."""
    found, gap = [], 0
    for form in forms:
        gap = 0 if form else gap + 1
        found.append("\n" if gap > LONGEST_GAP else form)
    return found


# Decoded copies

SHORTEST: Final = 16
"""Characters of the shortest encoded value."""


class DecodedRun:
    """A run of groups from position ``start``. Each group has ``width`` characters, which encode ``size`` bytes."""

    __slots__ = ("_end", "_size", "_start", "_width", "text")

    def __init__(self, text: str, start: int, end: int, width: int, size: int) -> None:
        self.text = text
        self._start = start
        self._end = end
        self._width = width
        self._size = size

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the encoded span for a span of the decoded text."""
        first = self._start + start // self._size * self._width
        return first, min(self._end, self._start + -(-end // self._size) * self._width)


class UnescapedText:
    """The text between two positions without its percent escapes."""

    __slots__ = ("_bounds", "_escapes", "_source", "text")

    def __init__(self, source: str, start: int, end: int) -> None:
        first, *others = source[start:end].split("%")
        decoded = [_ESCAPED.get(one[:2], "%" + one[:2]) + one[2:] for one in others]
        self.text = "".join((first, *decoded))
        self._source = source
        self._bounds = start, end
        self._escapes: list[int] | None = None  # their positions in ``text``

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the source for a span of the text."""
        if self._escapes is None:
            found = _ESCAPE.finditer(self._source, *self._bounds)
            self._escapes = [one.start() - self._bounds[0] - 2 * i for i, one in enumerate(found)]
        before, until = bisect_left(self._escapes, start), bisect_left(self._escapes, end)
        return self._bounds[0] + start + 2 * before, self._bounds[0] + end + 2 * until


class DecodedTexts:
    """The decoded copies of the encoded parts of a text in one text, so that they are searched together."""

    def __init__(self, runs: Sequence[DecodedRun]) -> None:
        self.runs = runs
        self.text = "\n".join([run.text for run in runs])
        self._starts = [0, *accumulate(len(run.text) + 1 for run in runs)]

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the encoded span for a span of the text, ``None`` for one of several runs."""
        at = bisect_right(self._starts, start) - 1
        first = self._starts[at]
        return None if end >= self._starts[at + 1] else self.runs[at].span(start - first, end - first)


_LONG_RUNS: Final = re.compile(f"[A-Za-z0-9+/_-]{{{SHORTEST},}}+")
_HEX: Final = re.compile(r"(?:[0-9a-f]{16,}+|[0-9A-F]{16,}+)")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPED: Final = {f"{one}{other}": chr(int(one + other, 16)) for one in "0123456789ABCDEFabcdef"
                   for other in "0123456789ABCDEFabcdef"}  # fmt: skip
_PADDING: Final = (b"", b"", b"==", b"=")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_CONTROLS: Final = bytes((*range(9), *range(14, 32), 127))

_PRINTABLE: Final = bytes(1 if 32 <= code < 127 or code in b"\t\n\r" else 0 for code in range(256))
_TEXT: Final = bytes((1,)) * 6
"""The least printable characters of ASCII in a row in a decoded text."""

_HEX_DIGITS: Final = bytes(1 if chr(code) in "0123456789abcdefABCDEF" else 0 for code in range(256))
_HEX_RUN: Final = bytes((1,)) * SHORTEST


_ASCII_GROUP: Final = "[I-Za-f][C-HS-Xi-nyz0-3][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
"""Four characters of base64 that encode three printable characters of ASCII; others may match, too."""

_GROUPS: Final = re.compile(f"(?:{_ASCII_GROUP}){{2}}")
_SHORT_RUN: Final = 64
"""Characters up to which a search for printable characters is faster than decoding."""


def decode_texts(text: str, start: int, end: int) -> DecodedTexts | None:
    """Return the runs of base64 and hex in ``text`` between two positions, decoded once, ``None`` without any.

    A run without printable characters of ASCII in a row is no text."""
    found: list[DecodedRun] = []
    for run in _LONG_RUNS.finditer(text, start, end):
        first, last = run.span()
        data = run[0].encode()
        if last - first > _SHORT_RUN or _GROUPS.search(text, first, last) is not None:
            _decode_base64(data, first, found)
        if _HEX_RUN in data.translate(_HEX_DIGITS):
            for digits in _HEX.finditer(text, first, last):
                _decode_hex(text, *digits.span(), found)
    return DecodedTexts(found) if found else None


def unescape_text(text: str, start: int, end: int) -> UnescapedText | None:
    """Return ``text`` between two positions without its percent escapes, ``None`` if it has none."""
    if text.find("%", start, end) < 0 or _ESCAPE.search(text, start, end) is None:
        return None
    return UnescapedText(text, start, end)


def _decode_base64(digits: bytes, start: int, found: list[DecodedRun]) -> None:
    """Decode a run at position ``start`` for each position of its first group, because other characters may precede
    it."""
    digits = digits.translate(_URL_SAFE)
    for first in range(4):
        # A final group of two or three characters encodes one or two bytes; one of one is none.
        rest = (len(digits) - first) % 4
        last = len(digits) - 1 if rest == 1 else len(digits)
        data = binascii.a2b_base64(digits[first:last] + _PADDING[rest])
        if is_text(data):
            found.append(DecodedRun(data.decode("latin-1"), start + first, start + last, 4, 3))


def _decode_hex(text: str, start: int, end: int, found: list[DecodedRun]) -> None:
    for first in (start, start + 1):
        last = end - (end - first) % 2
        if is_text(data := bytes.fromhex(text[first:last])):
            found.append(DecodedRun(data.decode("latin-1"), first, last, 2, 1))


def is_text(data: bytes) -> bool:
    """Return whether decoded ``data`` may be text: it has printable characters in a row, and few control characters,
    unlike compressed data."""
    return len(data) - len(data.translate(None, _CONTROLS)) <= 2 + len(data) // 50 and _TEXT in data.translate(
        _PRINTABLE
    )
