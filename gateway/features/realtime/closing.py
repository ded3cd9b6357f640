"""Close codes and reasons of websockets: valid ones, and replacements for others (RFC 6455, section 7.4).

Some codes only describe a connection that ended without a close; libraries crash when sending them
(opensandbox-group/OpenSandbox#1640, EtienneLescot/n8n-as-code#318, manaflow-ai/subrouter#79)."""

from typing import Final

import attrs

from gateway.http.redaction import Secrets, redact_spelled

NO_CODE: Final = 1005
"""The code that represents a close without a code."""

LONGEST_REASON: Final = 123
"""The longest reason in bytes: a control frame has 125, and the code takes two."""

_SENDABLE: Final = frozenset((1000, 1001, 1002, 1003, NO_CODE, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


@attrs.frozen
class Closing:
    """The close of a websocket: a code that may be sent, and a reason that fits."""

    code: int
    reason: str = ""


UPSTREAM_LOST: Final = Closing(1011, "upstream connection lost")
CLIENT_LOST: Final = Closing(1001, "the client's connection was lost")
DRAINED: Final = Closing(1001, "the gateway is shutting down: connect again")
REPLACED: Final = Closing(1001, "the gateway has a new configuration: connect again")
TOO_LARGE: Final = 1009
TRY_AGAIN: Final = 1013
NOT_ALLOWED: Final = 1008
EXPIRED: Final = 1001
STALLED: Final = Closing(1011, "the provider accepts no more data")
GATEWAY_ERROR: Final = 1011


def closing_for_other_side(code: int, reason: str, lost: Closing, secrets: Secrets = ()) -> Closing:
    """Return the close for one side after the other closed with ``code`` and ``reason``.

    If the code may not be sent, because the connection was lost, return ``lost``. ``secrets`` are removed from the
    reason."""
    if code == NO_CODE:
        return Closing(NO_CODE)
    if code in _SENDABLE or 3000 <= code <= 4999:
        return Closing(code, fit_reason(redact_spelled(reason.encode(), secrets).decode(errors="replace")))
    return lost


def fit_reason(reason: str) -> str:
    """Return as much of ``reason`` as a close frame can contain, cut between characters."""
    encoded = reason.encode("utf-8", "replace")
    return encoded[:LONGEST_REASON].decode("utf-8", "ignore")
