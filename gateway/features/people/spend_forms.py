"""Claude Code's forms of spending: what a session on Messages gets in place of our usual headers and errors.

Claude Code warns of a nearly exhausted budget, and shows the message of an exhausted one, if a gateway sends the
headers of its protocol (``GET /protocol``, 2.1.288; the pages "Claude apps gateway" on code.claude.com).
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import attrs

from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import RUN, BudgetAllowance
from gateway.allowances.levels import allowance_level
from gateway.allowances.refusals import LimitError
from gateway.features.people.directory import session_sender
from gateway.http.headers import Headers, header_safe
from providers.apis import CODECS
from streams.events import Api, ErrorInfo

PREFIX: Final = "anthropic-ratelimit-"
_UNIFIED: Final = f"{PREFIX}unified-"

PERIODS: Final = {"day": "daily", "week": "weekly", "month": "monthly"}
"""The protocol's names of periods. Warnings need one of them."""

THRESHOLDS: Final = (0.95, 0.75)
MOST_UTILIZATION: Final = 0.99
"""The most that a budget with room counts as used: Claude Code takes 1 for an exhausted one."""


@attrs.frozen(eq=False, repr=False)
class BudgetState:
    """A budget in dollars, the ``used`` part of it, and the Unix time from which it has more; ``None`` for runs."""

    budget: BudgetAllowance
    used: float
    reset: float | None

    @property
    def period(self) -> str | None:
        return PERIODS.get(str(self.budget.budget.period))


class SessionSpendForms:
    """The forms for one request of ``client``'s session. ``limit_message`` is the operator's text."""

    def __init__(self, allowances: Allowances, client: str | None, limit_message: str | None) -> None:
        self._allowances = allowances
        self._client = client
        self._limit_message = limit_message

    def headers(self, status: int, headers: Headers) -> Headers:
        if not 200 <= status < 300:
            return headers
        own = _without_limits(headers)
        remote = self._allowances.counters.remote
        if remote is not None and remote.is_away:
            return own  # the levels are unknown
        state = shown_budget([*self._states()])
        return own if state is None else (*own, *_warning_headers(state))

    def error(self, error: ErrorInfo) -> ErrorInfo:
        error = attrs.evolve(error, headers=_without_limits(error.headers))
        if error.kind == "permission" and error.param == "model":
            return attrs.evolve(error, kind="invalid_request", status=400)
        if not isinstance(error, LimitError):
            return error
        if error.is_store_away:
            return _unknown_spend(error)
        spent = [(one, at) for one, at in zip(error.exhausted, error.available_at, strict=True) if one.measure == "usd"]
        if error.kind != "billing" or not spent:
            return error
        now = self._allowances.now()
        return _spent_error(error, _latest([self._state(one, now, at) for one, at in spent]), now, self._limit_message)

    def _states(self) -> Iterator[BudgetState]:
        """Yield the states of the client's budgets that Claude Code can show."""
        now = self._allowances.now()
        for one in self._allowances.visible_to(self._client):
            if isinstance(one, BudgetAllowance) and one.measure == "usd" and str(one.budget.period) in PERIODS:
                yield self._state(one, now)

    def _state(self, budget: BudgetAllowance, now: float, available_at: float | None = None) -> BudgetState:
        level = allowance_level(budget, self._allowances.counters, now)
        counter = budget.counter(now, None)
        reset = available_at
        if reset is None:
            reset = now + RUN if counter is None else budget.next_available_at(counter)
        return BudgetState(budget, 0.0 if level is None else level.share, reset)


def spend_forms_of(
    limit_message: str | None, allowances: Allowances, api: Api, client: str | None
) -> SessionSpendForms | None:
    """Return the forms for the current request, ``None`` if its credential is no session, or ``api`` shows no
    spending."""
    if session_sender() is None or not CODECS[api].wire.shows_spending:
        return None
    return SessionSpendForms(allowances, client, limit_message)


def shown_budget(states: Sequence[BudgetState]) -> BudgetState | None:
    """Return the state that a program shows: an exhausted one, of several the one with the later reset; else the
    fullest, of equal ones the one with the later reset."""
    exhausted = [one for one in states if one.used >= 1]
    return _latest(exhausted) if exhausted else max(states, key=lambda one: (one.used, one.reset or 0.0), default=None)


def _latest(states: Sequence[BudgetState]) -> BudgetState:
    return max(states, key=lambda one: one.reset or 0.0)


def _warning_headers(state: BudgetState) -> Headers:
    used = min(round(state.used, 2), MOST_UTILIZATION)
    surpassed = next((one for one in THRESHOLDS if state.used > one), None)
    status = "allowed" if surpassed is None else "allowed_warning"
    rows = {"status": status, "representative-claim": "overage", "overage-status": status,
            "overage-utilization": f"{used:g}", **_resets(state)}  # fmt: skip
    if surpassed is not None:
        rows["overage-surpassed-threshold"] = f"{surpassed:g}"
    return _unified_headers(rows)


def _spent_error(error: LimitError, state: BudgetState, now: float, limit_message: str | None) -> ErrorInfo:
    assert state.reset is not None
    wait = max(1, math.ceil(state.reset - now))
    resets = datetime.fromtimestamp(math.ceil(state.reset), UTC).strftime("%Y-%m-%d %H:%M UTC")
    when = f"{state.period}; resets {resets}" if state.period else f"resets {resets}"
    more = f" — {limit_message}" if limit_message else ""
    rows = {"status": "rejected", "overage-utilization": "1", "overage-surpassed-threshold": "1",
            "overage-disabled-reason": "org_spend_cap_reached", **_resets(state)}  # fmt: skip
    if state.period is not None:
        rows["overage-period"] = state.period
    headers = (*error.headers, ("retry-after", str(wait)), *_unified_headers(rows))
    return attrs.evolve(
        error, status=429, message=f"spend limit reached ({when}){more}", headers=headers, wait=float(wait)
    )


def _unknown_spend(error: LimitError) -> ErrorInfo:
    kept = tuple(pair for pair in error.headers if pair[0] != "retry-after")
    rows = {"status": "rejected", "overage-disabled-reason": "fetch_error"}
    return attrs.evolve(
        error, kind="billing", status=429, message="spend limit unavailable",
        headers=(*kept, ("x-should-retry", "false"), *_unified_headers(rows)),
    )  # fmt: skip


def _without_limits(headers: Headers) -> Headers:
    """Return ``headers`` without those of a provider's limits, which are not the client's."""
    return tuple(pair for pair in headers if not pair[0].lower().startswith(PREFIX))


def _resets(state: BudgetState) -> dict[str, str]:
    seconds = "" if state.reset is None else str(math.floor(state.reset))
    return {"reset": seconds, "overage-reset": seconds} if seconds else {}


def _unified_headers(rows: dict[str, str]) -> Headers:
    return tuple((f"{_UNIFIED}{name}", header_safe(value)) for name, value in rows.items())
