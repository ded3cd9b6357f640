"""``GatewayError``, the exception for every expected failure; it carries an ``ErrorInfo``."""

from typing import Any

from streams.events import ErrorInfo, ErrorKind


class GatewayError(Exception):
    """A failure of a request, with everything needed to report it in the client's API.

    The message is shown to the user of the client. It states the fault, its location and a remedy, and never contains a
    credential or an internal address.
    """

    def __init__(self, kind: ErrorKind, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.info = ErrorInfo(kind, message, **fields)

    @classmethod
    def of(cls, info: ErrorInfo) -> "GatewayError":
        """Return an exception that carries ``info`` unchanged."""
        error = cls(info.kind, info.message)
        error.info = info
        return error


def invalid(message: str, param: str | None = None, **fields: Any) -> GatewayError:
    """Return the error (status 400) for a client's invalid request.

    ``param`` is the path of the invalid value, such as ``messages[2].content[1]``.
    """
    return GatewayError("invalid_request", message, param=param, **fields)
