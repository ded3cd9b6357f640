"""Failures between the gateway and a provider, as the client is told of them and as the log counts them."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from streams.errors import GatewayError
from streams.events import ErrorKind, FailureReason

Cause: TypeAlias = Literal[
    "refused", "dns", "tls", "connect", "connect_timeout", "pool_timeout", "proxy", "cut", "encoding", "too_large",
    "config",
]  # fmt: skip
"""One word for the log and for metrics."""


class UpstreamError(GatewayError):
    """A provider could not be reached or did not answer whole.

    ``__cause__`` is the system's or a library's exception. It may name addresses, so it belongs in the log only.
    """

    def __init__(self, kind: ErrorKind, message: str, *, cause: Cause = "cut", **fields: Any) -> None:
        super().__init__(kind, message, **{"reason": REASONS[cause], **fields})
        self.cause: Cause = cause


class StaleConnection(UpstreamError):
    """A connection from the pool was dead before one byte of the answer: the request can go out once more."""

    def __init__(self) -> None:
        super().__init__(*FAILURES["cut"])


def failure(cause: Cause) -> UpstreamError:
    """The error of a cause that needs no more words."""
    kind, message = FAILURES[cause]
    return UpstreamError(kind, message, cause=cause, headers=_WAIT if kind == "overloaded" else ())


def misconfigured(message: str) -> UpstreamError:
    """The config or the environment of the gateway is wrong. Neither may stand in ``message`` with a credential."""
    return UpstreamError("internal", message, cause="config")


REASONS: Mapping[Cause, FailureReason | None] = {
    "refused": "connection",
    "dns": "connection",
    "tls": "connection",
    "connect": "connection",
    "connect_timeout": "connection",  # whether a host that is gone refuses or is silent says nothing about it
    "proxy": "connection",
    "cut": "connection",
    "encoding": "bad_answer",
    "pool_timeout": None,
    "too_large": None,
    "config": None,
}
"""What an attempt has failed for, by cause; ``None`` where it is the gateway's own limit or mistake."""

_NO_CONNECTION = "could not connect to the provider: "
_WAIT = (("retry-after", "1"),)

FAILURES: Mapping[Cause, tuple[ErrorKind, str]] = {
    "refused": ("upstream", _NO_CONNECTION + "it refused the connection"),
    "dns": ("upstream", _NO_CONNECTION + "its host name could not be resolved"),
    "tls": ("upstream", _NO_CONNECTION + "the TLS handshake failed or its certificate is not trusted"),
    "connect": ("upstream", _NO_CONNECTION + "the gateway's network cannot reach it"),
    "connect_timeout": ("timeout", _NO_CONNECTION + "no response within the connect timeout"),
    "proxy": ("upstream", _NO_CONNECTION + "the proxy rejected the connection"),
    "pool_timeout": (
        "overloaded",
        "the gateway has reached its limit of connections to providers (limits.upstream_connections)",
    ),
    "cut": ("upstream", "the provider's connection broke before the end of its response"),
    "encoding": ("upstream", "the provider's response could not be decompressed"),
}
"""ErrorKind and message of each cause. The messages are for the client, so they name no address."""
