"""Types of the wire: the request, the receiver of its answer, and the faults."""

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

import attrs

Fault: TypeAlias = Literal[
    "dns", "refused", "unreachable", "no port", "tls", "reset", "closed", "not http", "encoding", "too large",
    "too many files",
]  # fmt: skip
"""Faults below the API.

``closed``: the server closed the connection before the end of the answer. ``no port``: all local ports to the server
are in use, or were a minute ago.
"""

Fields = tuple[tuple[str, str], ...]


class WireError(Exception):
    """A fault that ends the exchange. ``detail`` is for the report."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: Fault = fault
        self.detail = detail


@attrs.frozen
class OutgoingRequest:
    """A request to send. ``path`` includes the query. The connection adds the headers for length, host and encoding."""

    path: str
    headers: Fields
    body: bytes = b""


@attrs.frozen
class ResponseHead:
    """The status and headers of an answer, names in lower case. If a name is repeated, the last header counts."""

    status: int
    headers: Mapping[str, str]


class AnswerTaker(Protocol):
    """The receiver of an answer.

    The reading task calls it, so it must be fast and must not raise. Times are trio's.
    """

    def take_head(self, head: ResponseHead, first: float) -> None:
        """Receive the head, whose first byte arrived at ``first``."""
        ...

    def take_content(self, data: bytes, at: float) -> None:
        """Receive the uncompressed content of one read."""
        ...

    def take_end(self, at: float) -> None:
        """Receive the end of an answer that is complete by HTTP."""
        ...

    def take_fault(self, error: WireError, at: float) -> None:
        """Receive the fault that ended an incomplete answer."""
        ...
