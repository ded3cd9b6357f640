"""Failures between the gateway and a provider: the client's errors, and the causes in the log."""

import ssl
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from streams.errors import GatewayError
from streams.events import ErrorKind, FailureReason

Cause: TypeAlias = Literal[
    "refused", "dns", "tls", "connect", "connect_timeout", "pool_timeout", "proxy", "cut", "invalid", "encoding",
    "too_large", "config",
]  # fmt: skip
"""The cause in the log and in metrics."""


class UpstreamError(GatewayError):
    """The provider was unreachable or its response incomplete. ``__cause__`` is the exception of the system or a
    library; it may name addresses, so it belongs in the log only."""

    def __init__(self, kind: ErrorKind, message: str, *, cause: Cause = "cut", **fields: Any) -> None:
        known = {"reason": REASONS[cause], "concerns_all": cause in UNREACHABLE}
        super().__init__(kind, message, **{**known, **fields})
        self.cause: Cause = cause


class StaleConnection(UpstreamError):
    """A pooled connection was dead before the first byte of the response: the request can be sent again."""

    def __init__(self) -> None:
        super().__init__(*FAILURES["cut"])


def with_target_name(error: UpstreamError, name: str) -> UpstreamError:
    """Return ``error`` with the name of the target whose provider was unreachable."""
    if error.cause not in UNREACHABLE:
        return error
    message = error.info.message.replace("to the provider:", f"to the provider of {name}:", 1)
    named = UpstreamError(error.info.kind, message, cause=error.cause)
    named.info = attrs.evolve(error.info, message=message)
    return named


def failure(cause: Cause) -> UpstreamError:
    """Return the error of a cause with its usual message."""
    kind, message = FAILURES[cause]
    return UpstreamError(kind, message, cause=cause, headers=_WAIT if kind == "overloaded" else ())


def tls_failure(error: BaseException) -> UpstreamError:
    """Return the error of a TLS handshake that failed with ``error``."""
    kind, message = FAILURES["tls"]
    if isinstance(error, ssl.SSLCertVerificationError):
        message = f"{_NO_CONNECTION}its certificate {_FAULTS.get(error.verify_code, _NOT_TRUSTED)}"
    elif isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        message = f"{_NO_CONNECTION}it does not use TLS, so its URL should begin with http:"
    return UpstreamError(kind, message, cause="tls")


def invalid_http(fault: ValueError) -> UpstreamError:
    """Return the error of a response that is not HTTP/1.1, with its ``fault``."""
    kind, message = FAILURES["invalid"]
    return UpstreamError(kind, f"{message}: {fault}", cause="invalid")


def too_many_files() -> UpstreamError:
    """Return the error of a gateway that may open no more files."""
    message = "the gateway has too many open files: raise their limit (LimitNOFILE, ulimit -n)"
    return UpstreamError("overloaded", message, cause="pool_timeout", headers=_WAIT)


def misconfigured(message: str) -> UpstreamError:
    """Return the error of a wrong configuration or environment. ``message`` must not contain a credential."""
    return UpstreamError("internal", message, cause="config")


REASONS: Mapping[Cause, FailureReason | None] = {
    "refused": "connection",
    "dns": "connection",
    "tls": "connection",
    "connect": "connection",
    "connect_timeout": "connection",  # an unreachable host may reject connections or be silent; both mean the same
    "proxy": "connection",
    "cut": "connection",
    "invalid": "bad_answer",
    "encoding": "bad_answer",
    "pool_timeout": None,
    "too_large": None,
    "config": None,
}
"""The failure reason of an attempt by cause; ``None`` for the gateway's own limits and mistakes."""

UNREACHABLE: Final[frozenset[Cause]] = frozenset(("refused", "dns", "tls", "connect", "connect_timeout", "proxy"))
"""The causes before a request is sent, which no request can bring about."""

_NOT_TRUSTED: Final = "is not trusted (see overrides.upstream_tls_ca_path)"
_FAULTS: Final = {
    9: "is not valid yet",
    10: "has expired",
    62: "is for another host name",
    64: "is for another address",
}
"""The faults of certificates by OpenSSL's code (``X509_V_ERR_…``)."""

_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""OpenSSL's reasons for an answer that is not TLS, by its version."""

_NO_CONNECTION = "could not connect to the provider: "
_WAIT = (("retry-after", "1"),)

FAILURES: Mapping[Cause, tuple[ErrorKind, str]] = {
    "refused": ("upstream", _NO_CONNECTION + "it refused the connection"),
    "dns": ("upstream", _NO_CONNECTION + "its host name could not be resolved"),
    "tls": ("upstream", _NO_CONNECTION + "the TLS handshake failed"),
    "connect": ("upstream", _NO_CONNECTION + "the gateway's network cannot reach it"),
    "connect_timeout": ("timeout", _NO_CONNECTION + "no response within the connect timeout"),
    "proxy": ("upstream", _NO_CONNECTION + "the proxy rejected the connection"),
    "pool_timeout": (
        "overloaded",
        "the gateway has reached its limit of connections to providers (limits.upstream_connections)",
    ),
    "cut": ("upstream", "the provider's connection broke before the end of its response"),
    "invalid": ("upstream", "the provider's response is not valid HTTP"),
    "encoding": ("upstream", "the provider's response could not be decompressed"),
}
"""The kind and the message of each cause. The client sees the messages, so they name no address."""
