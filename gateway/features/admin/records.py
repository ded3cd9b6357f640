"""The records of raises and of the audit. All are frozen."""

from typing import Final

import attrs

CLOCK_SKEW: Final = 60.0
"""Seconds by which the clocks of gateways may differ. A later time is that of a wrong clock."""


@attrs.frozen(repr=False)
class Raise:
    """More budget for ``holder`` until a time: a client's name, or ``group:`` and a group's.

    Each of ``budgets``, such as ``40 usd/day``, replaces the amount of the same period."""

    holder: str
    budgets: tuple[str, ...]
    until: float
    at: float
    by: str


@attrs.frozen(repr=False)
class AuditEntry:
    """A row of the audit: a call, its caller (``who``) and its effect. It has no secret.

    ``credential`` is the kind and id of the caller's credential. The store sets ``before`` and ``after`` of a change:
    the changed records as JSON, without digests."""

    at: float
    who: str
    credential: str
    address: str
    request_id: str
    method: str
    path: str
    status: int
    before: str | None = None
    after: str | None = None
    number: int = 0

    @classmethod
    def of_command(cls, command: str, at: float, author: str) -> "AuditEntry":
        """Return the row for ``trigate COMMAND``, which ``author`` called at a Unix time."""
        return cls(at, author, "command", "", "", "", f"trigate {command}", 200)
