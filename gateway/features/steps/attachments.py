"""Files in the strings of a request, as base64 or data URLs, and the texts in them.

Clients declare types carelessly, so the bytes decide whether a file is text: it is if they are UTF-8. Providers read
other encodings and irregular base64 in different ways, so no step can check these."""

import base64
import binascii
import codecs
import re
from collections.abc import Sequence
from typing import Final, Self
from urllib.parse import quote, unquote_to_bytes

import attrs

from gateway.features.steps.json_texts import Edit, escape, splice

HEAD: Final = 1024
"""Characters of a file that decide whether the rest is read."""

_DATA_URL: Final = re.compile(rb"\s*+data:([^,]*+),?", re.IGNORECASE)
_BASE64_MARK: Final = re.compile(rb"(?:.*;)?\s*base64\s*", re.IGNORECASE | re.DOTALL)
_MEDIA_TYPES: Final = re.compile(r"(?:image|audio|video)/(?!.*\+xml)")  # SVG is text
_TEXT_TYPES: Final = re.compile(
    r"text/|message/|application/(?:.*[+.])?(?:json|xml|(?:x-)?yaml|javascript|csv|x-ndjson|sql)\b|.*\+xml"
)
_PICTURES: Final = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", re.DOTALL)
"""The first bytes of pictures, whose type may be unknown."""

_STRAY: Final = re.compile(rb"[^A-Za-z0-9+/_=\r\n-]")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


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
    def has_media_type(self) -> bool:
        return self.media_type is not None and _MEDIA_TYPES.match(self.media_type) is not None

    @property
    def is_media(self) -> bool:
        """Whether the file, which is no text, is a picture, a recording or a film."""
        if self.has_media_type:
            return True
        is_declared_text = self.media_type is not None and _TEXT_TYPES.match(self.media_type) is not None
        return not is_declared_text and _PICTURES.match(self._read_bytes(HEAD) or b"") is not None

    @property
    def has_stray_characters(self) -> bool:
        """Whether there are other characters than base64 and line ends, as in a text."""
        return self.is_base64 and _STRAY.search(self.payload) is not None

    @property
    def data(self) -> bytes:
        """The bytes of the file, none if it cannot be decoded."""
        return self._read_bytes() or b""

    def read_text(self) -> str | None:
        """Return the text of the file, ``None`` for other content."""
        if self.has_media_type or self._find_text(HEAD) is None:
            return None
        return self._find_text()

    def _find_text(self, length: int | None = None) -> str | None:
        decoder = codecs.getincrementaldecoder("utf-8")()
        if (data := self._read_bytes(length)) is None or b"\0" in data:
            return None
        try:
            return decoder.decode(data, final=length is None)
        except UnicodeDecodeError:
            return None

    def with_edits(self, edits: Sequence[Edit]) -> str:
        """Return the content of a JSON string with spans of the file's text replaced."""
        new = splice(self._find_text() or "", edits).encode()
        payload = base64.b64encode(new).decode() if self.is_base64 else quote(new)
        return escape(self.prefix.decode("utf-8", "replace")) + payload

    def _read_bytes(self, length: int | None = None) -> bytes | None:
        """Return the bytes of the first ``length`` characters, by default of all, ``None`` if the base64 is
        irregular."""
        payload = self.payload[:length]
        if not self.is_base64:
            return unquote_to_bytes(payload)
        digits = payload.translate(_STANDARD, b"\r\n")
        if length is None:
            digits = digits.rstrip(b"=")
            digits += b"=" * (-len(digits) % 4)
        else:
            digits = digits[: len(digits) // 4 * 4]
        try:
            return base64.b64decode(digits, validate=True)
        except binascii.Error:
            return None
