"""Multipart bodies as clients send them, and the same with the provider's ``model``."""

from collections.abc import Iterable, Sequence

BOUNDARY = b"----formdata-7f3a"
KIND = f"multipart/form-data; boundary={BOUNDARY.decode()}"
"""The content type of these bodies."""


def part(name: str, value: bytes, file_name: str | None = None, *headers: str) -> bytes:
    """Return a part with its head, as curl and the SDKs write it."""
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if file_name is not None:
        disposition += f'; filename="{file_name}"'
    return "\r\n".join([disposition, *headers]).encode() + b"\r\n\r\n" + value


def multipart(parts: Iterable[bytes], boundary: bytes = BOUNDARY) -> bytes:
    """Return a whole body with these parts."""
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, one) for one in parts) + b"--%b--\r\n" % boundary


def pieces(data: bytes, size: int) -> Sequence[bytes]:
    """Return ``data`` in pieces of ``size`` bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)]
