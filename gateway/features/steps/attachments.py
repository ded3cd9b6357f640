"""Files in the strings of a request, as base64 or data URLs, and the texts in them.

Clients declare types carelessly, and a model reads text in any encoding: the bytes decide whether a file is text."""

import base64
import codecs
import re
from collections.abc import Sequence
from typing import Final, Literal, Self, TypeAlias
from urllib.parse import quote, unquote_to_bytes

import attrs

from gateway.features.steps.json_texts import Edit, escape, splice, without_surrogates

FileKind: TypeAlias = Literal["text", "media", "unknown"]
"""The kind of content that a file declares."""

HEAD: Final = 1024
"""Characters of a file of unknown type that decide whether the rest is read."""

_DATA_URL: Final = re.compile(rb"\s*+data:([^,]*+),?", re.IGNORECASE)
_BASE64_MARK: Final = re.compile(rb"(?:.*;)?\s*base64\s*", re.IGNORECASE | re.DOTALL)
_TEXT_TYPES: Final = re.compile(
    r"text/|message/|application/(?:.*[+.])?(?:json|xml|(?:x-)?yaml|javascript|csv|x-ndjson|sql)\b|.*\+xml"
)
_MEDIA_TYPES: Final = re.compile("image/|audio/|video/")
_PICTURES: Final = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", re.DOTALL)
"""The first bytes of pictures, whose type may be unknown."""

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_STRAY: Final = bytes(frozenset(range(256)).difference(_ALPHABET, b"-_="))
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
"""The byte order marks. UTF-32 begins with the mark of UTF-16."""

_ASCII: Final = re.compile(rb"[ -~]{8}")
"""Bytes that a model reads as ASCII, even if they are pairs of UTF-16 for others."""

_CONTROLS: Final = bytes((*range(7), *range(14, 27), *range(28, 32), 127))
"""The bytes that no text in an 8-bit encoding has."""
_HIGH: Final = bytes(range(128, 256))
_UNDEFINED: Final = b"\x81\x8d\x8f\x90\x9d"
_WINDOWS: Final = {
    0xDC00 + code: bytes((code,)).decode("latin-1" if code in _UNDEFINED else "cp1252") for code in _HIGH
}
"""The characters of Windows-1252, for bytes that are not UTF-8."""


@attrs.frozen
class FileText:
    """The text of a file. Its bytes are ``source`` in ``encoding``, with ``errors``."""

    source: str
    encoding: str
    errors: str = "surrogatepass"

    @property
    def text(self) -> str:
        """The text that steps see. Its characters have the positions of those of ``source``."""
        if self.source.isascii():
            return self.source
        return without_surrogates(self.source.translate(_WINDOWS) if self.errors == "surrogateescape" else self.source)

    @classmethod
    def of(cls, data: bytes, *, is_declared: bool, is_head: bool = False) -> Self | None:
        """Return the text of ``data``, ``None`` for other content. ``is_declared``: its type is that of a text.
        ``is_head``: more bytes follow."""
        wide = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _wide_encoding(data)
        if wide and _ASCII.search(data) is not None:
            return None
        for encoding in (wide, "utf-8") if wide else ("utf-8",):
            decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
            try:
                return cls(decoder.decode(data, final=not is_head), encoding)
            except UnicodeDecodeError:
                continue
        is_mostly_ascii = 3 * len(data.translate(None, _HIGH)) >= 2 * len(data)
        if len(data.translate(None, _CONTROLS)) < len(data) or not (is_declared or is_mostly_ascii):
            return None
        return cls(data.decode("utf-8", "surrogateescape"), "utf-8", "surrogateescape")


def _wide_encoding(data: bytes) -> str | None:
    """Return the encoding of UTF-16 without a byte order mark: the first or second byte of most units is zero."""
    units, first, second = len(data) // 2, data[::2].count(0), data[1::2].count(0)
    if 2 * max(first, second) <= units or 16 * min(first, second) > units:
        return None
    return "utf-16-be" if first > second else "utf-16-le"


@attrs.frozen
class Attachment:
    """A file in a string: base64, or a data URL, which begins with ``prefix``."""

    prefix: bytes
    payload: bytes
    media_type: str | None
    is_base64: bool = True

    @classmethod
    def of(cls, content: bytes, media_type: str | None = None) -> Self:
        """Return the file in ``content``, a string without escapes; ``media_type`` is declared elsewhere."""
        if (url := _DATA_URL.match(content)) is None:
            return cls(b"", content, media_type and media_type.strip().lower())
        declared = url[1].partition(b";")[0].decode("latin-1").strip().lower()
        is_base64 = _BASE64_MARK.fullmatch(url[1]) is not None
        return cls(url[0], content[url.end() :], declared or "text/plain", is_base64)

    @property
    def kind(self) -> FileKind:
        """The kind of content that the type declares."""
        if self.media_type is None:
            return "unknown"
        if _TEXT_TYPES.match(self.media_type):
            return "text"
        return "media" if _MEDIA_TYPES.match(self.media_type) else "unknown"

    @property
    def is_media(self) -> bool:
        """Whether the file, which is no text, is a picture, a recording or a film."""
        kind = self.kind
        return kind == "media" or (kind == "unknown" and _PICTURES.match(self._read_bytes(HEAD) or b"") is not None)

    @property
    def has_stray_characters(self) -> bool:
        """Whether there are other characters than base64 and line ends, as in a text."""
        return self.is_base64 and bool(self.payload.translate(None, _ALPHABET + b"-_=\r\n"))

    @property
    def data(self) -> bytes:
        """The bytes of the file, none if it cannot be decoded."""
        return self._read_bytes() or b""

    def read_text(self) -> FileText | None:
        """Return the text of the file, ``None`` for other content."""
        is_declared = self.kind == "text"
        if self.kind == "media" or (not is_declared and self._find_text(HEAD) is None):
            return None
        return self._find_text(is_declared=is_declared)

    def _find_text(self, length: int | None = None, *, is_declared: bool = False) -> FileText | None:
        data = self._read_bytes(length)
        return None if data is None else FileText.of(data, is_declared=is_declared, is_head=length is not None)

    def with_edits(self, edits: Sequence[Edit]) -> str:
        """Return the content of a JSON string with spans of the file's text replaced."""
        found = self._find_text(is_declared=True) or FileText("", "utf-8")
        new = splice(found.source, edits).encode(found.encoding, found.errors)
        payload = base64.b64encode(new).decode() if self.is_base64 else quote(new)
        return escape(self.prefix.decode("utf-8", "replace")) + payload

    def _read_bytes(self, length: int | None = None) -> bytes | None:
        """Return the bytes of the first ``length`` characters, by default of all. Decoding is lenient, as that of many
        providers is. But they differ in the end of data with padding in it, for which this returns ``None``."""
        payload = self.payload if length is None else self.payload[:length]
        if b"%" in payload:
            payload = unquote_to_bytes(payload)
        if not self.is_base64:
            return payload
        digits, _, rest = payload.translate(_STANDARD, _STRAY).partition(b"=")
        if len(rest.strip(b"=")) > 1:
            return None
        digits = digits[: len(digits) - (len(digits) % 4 == 1)]
        return base64.b64decode(digits + b"=" * (-len(digits) % 4))
