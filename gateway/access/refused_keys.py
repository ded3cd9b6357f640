"""Rejected keys: logged for the audit, and limited by address to slow down guessing.

A valid key is accepted whatever else its address sends, because many clients may share an address."""

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from gateway.http.addresses import AddressCounts
from streams.errors import GatewayError
from streams.events import ErrorKind

MINUTE: Final = 60.0
MOST: Final = 30
"""Wrong keys from one address per minute; others get a 429."""

_NO_GUESS: Final = ("missing", "expired", "session_ended", "sign_in_due", "blocked", "not_admitted")
"""The reasons that do not count as wrong keys: the sender has no key, or a true one that is not valid now."""

_GUESSED: Final = "too many requests with wrong keys from this address: wait, then send the correct key"


class LogOften(Protocol):
    """The audit's rate-limited logging of events that anyone can cause."""

    def __call__(self, event: str, address: str | None, **fields: Any) -> None: ...


class KeyRefused(GatewayError):
    """The error for a request without a valid key or token (401), or with a token that no rule admits (403).

    ``reason`` is a word for the audit, ``client`` the former client of an expired key."""

    def __init__(
        self, message: str, reason: str, client: str | None = None, *, kind: ErrorKind = "authentication", **fields: Any
    ) -> None:
        super().__init__(kind, message, **fields)
        self.reason = reason
        self.client = client


class RefusedKeys:
    """The rejected keys of a process, across configurations; ``log_event`` logs for the audit."""

    def __init__(self, log_event: LogOften, clock: Callable[[], float] = time.monotonic) -> None:
        self._log_event = log_event
        self._wrong_keys = AddressCounts(MOST, MINUTE, clock)

    def judge(self, refused: GatewayError, address: str | None, path: str) -> GatewayError:
        """Log and count a rejected request, and return its error.

        An address with too many wrong keys gets a 429 that ends its connection instead of ``refused``."""
        reason = refused.reason if isinstance(refused, KeyRefused) else "refused"
        client = refused.client if isinstance(refused, KeyRefused) else None
        self._log_event("key_refused", address, path=path, reason=reason, client=client)
        if reason in _NO_GUESS or (wait := self._wrong_keys.count(address)) == 0:
            return refused
        self._log_event("keys_guessed", address, path=path)
        headers = (("retry-after", str(wait)), ("x-should-retry", "false"), ("connection", "close"))
        return GatewayError("rate_limited", _GUESSED, headers=headers)
