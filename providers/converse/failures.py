"""Errors of Bedrock, read.

An error response has nothing but a ``message``; what it is says the header ``x-amzn-errortype``, up to its colon. In a
stream a frame of its own kind says it, and whatever came before is no answer.
"""

from providers.errors.failures import read_event_failure, read_failure
from streams.events import ErrorInfo
from streams.surrogates import NOT_JSON, any_json


def read_error(status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
    """See ``Codec.read_error``."""
    return read_failure(status, body, headers)


def read_stream_failure(data: bytes) -> ErrorInfo:
    """The failure in a frame of an exception or an error, as ``streams.event_stream.parse`` gives it."""
    try:
        return read_event_failure(any_json(data))
    except NOT_JSON:
        return read_event_failure({})
