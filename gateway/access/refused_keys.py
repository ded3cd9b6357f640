"""Refused keys: they are logged for the audit and counted by address, which slows guessing down.

A good key is accepted whatever else comes from its address, because many clients may share one."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol

from gateway.http.addresses import customer_of, parse_ip
from streams.errors import GatewayError

MINUTE: Final = 60.0
MOST: Final = 30
"""Wrong keys of one address in a minute; beyond these the response to a wrong key is a 429."""
ADDRESSES: Final = 4096
"""Addresses with a count of their own; all others share one."""

_OTHERS: Final = "others"
_GUESSED: Final = "too many wrong keys have come from this address: wait, then send the right one"


class TellOften(Protocol):
    """The audit's logging of events that anybody can cause."""

    def __call__(self, event: str, address: str | None, **fields: Any) -> None: ...


class KeyRefused(GatewayError):
    """The error of a request without a good key (401). ``reason`` is a word for the audit; ``client`` is the former
    client of a key that has ended."""

    def __init__(self, message: str, reason: str, client: str | None = None, **fields: Any) -> None:
        super().__init__("authentication", message, **fields)
        self.reason = reason
        self.client = client


class RefusedKeys:
    """The refused keys of a process, in all its configurations. ``tell`` logs for the audit."""

    def __init__(self, tell: TellOften, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._began = clock()
        self._counts: dict[str, int] = {}

    def judge(self, refused: GatewayError, address: str | None, path: str) -> GatewayError:
        """Return the error for a request that was ``refused``: that error, or for an address with too many wrong keys
        a 429 that ends the connection."""
        reason = refused.reason if isinstance(refused, KeyRefused) else "refused"
        client = refused.client if isinstance(refused, KeyRefused) else None
        self._tell("key_refused", address, path=path, reason=reason, client=client)
        if reason == "missing" or (wait := self._wait(address)) == 0:
            return refused
        self._tell("keys_guessed", address, path=path)
        headers = (("retry-after", str(wait)), ("x-should-retry", "false"), ("connection", "close"))
        return GatewayError("rate_limited", _GUESSED, headers=headers)

    def _wait(self, address: str | None) -> int:
        """Count a wrong key of ``address``, and return the seconds that it has to wait."""
        now = self._clock()
        if now - self._began >= MINUTE:
            self._began, self._counts = now, {}
        whose = _whose(address or "")
        if whose not in self._counts and len(self._counts) >= ADDRESSES:
            whose = _OTHERS
        self._counts[whose] = count = self._counts.get(whose, 0) + 1
        return max(1, int(self._began + MINUTE - now)) if count > MOST else 0


@lru_cache(256)
def _whose(address: str) -> str:
    """Return the name under which the refusals of ``address`` are counted."""
    parsed = parse_ip(address)
    return address if parsed is None else customer_of(parsed)
