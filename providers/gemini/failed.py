"""Errors: read from a provider, written for a client."""

from collections.abc import Mapping
from typing import Any

from providers.errors.failures import read_failure
from streams.events import ErrorInfo


def write_error(failed: ErrorInfo) -> bytes:
    """See ``Codec.write_error``."""
    raise NotImplementedError


def last_event(failed: ErrorInfo) -> bytes:
    """See ``Codec.last_event``."""
    raise NotImplementedError


def phrase_error(failed: ErrorInfo) -> ErrorInfo:
    """See ``Codec.phrase_error``."""
    return failed


def is_own_error(body: Mapping[str, Any]) -> bool:
    """See ``Codec.is_own_error``."""
    raise NotImplementedError


def read_error(status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
    """See ``Codec.read_error``. The body is an object, or an array of one (google-gemini/gemini-cli#5443), whatever its
    content type says."""
    return read_failure(status, body, headers)
