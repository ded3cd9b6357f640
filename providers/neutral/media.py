"""Media types of files whose clients give none, or one that says nothing."""

import mimetypes
from typing import Final

DOCUMENT = "application/pdf"  # what nearly all files are that clients send

_VAGUE: Final = frozenset(("", "application/octet-stream", "binary/octet-stream", "application/x-binary"))
"""What browsers and programs call a file whose type they do not know."""

_PDF: Final = "JVBERi"  # the beginning of a PDF in base64
_ENDINGS: Final = {"md": "text/markdown", "markdown": "text/markdown", "csv": "text/csv", "txt": "text/plain"}
"""Endings that not every machine's own table of media types has."""


def file_type(filename: str | None, label: str | None = None, data: str = "") -> str:
    """Return the media type of a file: its ``label``, or the type of its name if the label says nothing. ``data`` is
    its content in base64. Without a label and a name it is taken for a PDF."""
    kind = (label or "").lower().partition(";")[0].strip()
    if kind not in _VAGUE:
        return kind
    named = _ENDINGS.get((filename or "").rpartition(".")[2].lower()) or mimetypes.guess_type(filename or "")[0]
    return named or (DOCUMENT if not kind or data.startswith(_PDF) else kind)
