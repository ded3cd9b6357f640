"""Errors of a provider, read."""

from providers.errors.failures import read_failure
from streams.events import ErrorInfo


def read_error(status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
    """See ``Codec.read_error``. The body is an object, or an array of one (google-gemini/gemini-cli#5443), whatever its
    content type says."""
    return read_failure(status, body, headers)
