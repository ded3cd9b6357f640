"""Errors, written for a client."""

from collections.abc import Mapping
from typing import Any

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
