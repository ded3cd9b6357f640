"""Media types of files whose client gives none."""

import mimetypes

DOCUMENT = "application/pdf"  # what nearly all files are that clients send


def file_type(filename: str | None) -> str:
    """The media type of bare base64, by the name of its file."""
    return mimetypes.guess_type(filename or "")[0] or DOCUMENT
