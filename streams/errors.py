"""The one exception family. Whatever goes wrong on purpose is a ``GatewayError`` around a ``ErrorInfo``."""

from typing import Any

from streams.events import ErrorInfo, ErrorKind


class GatewayError(Exception):
    """A request's failure, ready to be written in the client's own API.

    The message is read by the person at the client: it says what was wrong, where, and what to do, and never holds a
    credential or an internal address.
    """

    def __init__(self, kind: ErrorKind, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.failed = ErrorInfo(kind, message, **fields)

    @classmethod
    def of(cls, failed: ErrorInfo) -> "GatewayError":
        """Return the exception that carries ``failed`` as it is."""
        error = cls(failed.kind, failed.message)
        error.failed = failed
        return error


def invalid(message: str, param: str | None = None, **fields: Any) -> GatewayError:
    """Return the error for a client's request that is wrong at ``param`` (a path such as ``messages[2].content[1]``):
    status 400."""
    return GatewayError("invalid_request", message, param=param, **fields)
