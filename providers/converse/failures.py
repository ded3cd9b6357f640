"""Errors of Bedrock, read.

An error response has nothing but a ``message``; what it is says the header ``x-amzn-errortype``, up to its colon. In a
stream a frame of its own kind says it, and whatever came before is no answer.
"""

from collections.abc import Mapping
from typing import Final

import attrs

from providers.errors.failures import read_event_failure, read_failure
from streams.events import STATUS, ErrorInfo, ErrorKind, FailureReason
from streams.surrogates import NOT_JSON, any_json

_MEANT: Final[Mapping[FailureReason | None, ErrorKind]] = {"quota": "rate_limited", "server_error": "upstream"}
"""What a 4xx says that is no mistake of the client's: a used-up quota comes as a 400, a model's failure as a 424."""


def read_error(status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
    """See ``Codec.read_error``."""
    failed = read_failure(status, body, headers)
    meant = _MEANT.get(failed.reason) if failed.kind == "invalid_request" else None
    return failed if meant is None else attrs.evolve(failed, kind=meant, status=STATUS[meant])


def read_stream_failure(data: bytes) -> ErrorInfo:
    """The failure in a frame of an exception or an error, as ``streams.event_stream.parse`` gives it."""
    try:
        return read_event_failure(any_json(data))
    except NOT_JSON:
        return read_event_failure({})
