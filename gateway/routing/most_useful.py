"""Selects the failure that the client receives after several targets failed."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from gateway.http.headers import LONGEST_WAIT
from gateway.routing.plan import Outage, Outcome, Stage
from gateway.routing.target import Target
from streams.events import UNAVAILABLE, ErrorInfo, FailureReason

ORDER: Final[tuple[FailureReason, ...]] = (
    "context_too_long", "content_filter", "invalid", "overloaded", "server_error", "rate_limited", "timeout",
    "bad_answer", "connection", "quota", "credential", "gone",
)  # fmt: skip
"""Failure reasons, most useful first. Programs shorten a conversation that is too long and correct an invalid request
(musistudio/claude-code-router#1799, tensorzero/tensorzero#3648); for temporary failures they wait."""

LIMITED: Final = ("rate_limited", "quota")
"""Reasons that result in a 429 if all failures have them."""

SOON_OVER: Final = ("overloaded", "server_error", "rate_limited", "timeout", "bad_answer", "connection")
"""Reasons for which a target may answer the next request, unless it states a wait."""

NOT_TEMPORARY: Final = ("credential", "gone")
"""Reasons that only people can fix; programs would retry a 503 for minutes."""

ADVICE: Final[Mapping[str, str]] = {"credential": "; check its credential"}
"""Advice for operators for reasons that waiting does not fix. Requests after the first one only see the outage."""


def most_useful(outcomes: Sequence[Outcome]) -> ErrorInfo:
    """Return the failure that the client receives for ``outcomes``, which are not empty.

    Its message lists the reasons of all targets, and its wait is the shortest of theirs."""
    sent = [outcome for outcome in outcomes if outcome.stage is not Stage.PREPARING]
    if not sent:
        return outcomes[0].error
    best = min(reversed(sent), key=lambda outcome: _rank(outcome, sent)).error
    reasons: dict[str, str] = {}  # by place, each the last one
    for outcome in sent:
        place = outcome.target.place
        reasons[place] = outcome.error.reason or reasons.get(place, "stopped")
    if len(reasons) == 1 or best.reason not in UNAVAILABLE:
        return best
    causes = ", ".join(f"{place}: {reason}" for place, reason in reasons.items())
    tried = f" (tried: {causes})"
    return attrs.evolve(
        best, message=best.message + tried, headers=_with_wait(best, outcomes), body=b"",
        log_message=best.log_message and best.log_message + tried,
    )  # fmt: skip


def _rank(outcome: Outcome, sent: Sequence[Outcome]) -> int:
    error = outcome.error
    if error.reason is None:
        # A response that the gateway refuses is the result; its client must not pay for another one. The client's
        # deadline is not.
        is_result = outcome.stage is Stage.ANSWERING and error.kind != "timeout"
        return -1 if is_result else len(ORDER)
    if error.reason in LIMITED and all(outcome.error.reason in LIMITED for outcome in sent):
        is_over_soon = error.status == 429 and (error.reason != "quota" or error.wait is not None)
        return 0 if is_over_soon else 1  # that target answers again, without more money
    return ORDER.index(error.reason)


def _with_wait(error: ErrorInfo, outcomes: Sequence[Outcome]) -> tuple[tuple[str, str], ...]:
    """Return the headers of ``error`` with the shortest wait of all targets."""
    latest = {outcome.target.place: outcome.error for outcome in outcomes}.values()
    waits = [1.0 if one.wait is None else one.wait for one in latest if one.wait is not None or one.reason in SOON_OVER]
    if not waits or error.status not in (429, 503, 529):
        return error.headers
    others = tuple(pair for pair in error.headers if pair[0] not in ("retry-after", "retry-after-ms"))
    return (*others, ("retry-after", str(min(LONGEST_WAIT, math.ceil(min(waits))))))


def all_unavailable_error(outages: Sequence[tuple[Target, Outage]], now: float) -> ErrorInfo:
    """Return the error if all targets are unavailable: the reasons, and the wait until the first one is due."""
    due = min(LONGEST_WAIT, max(1, math.ceil(min(outage.until for _, outage in outages) - now)))
    causes = ", ".join(f"{target.place} is in cooldown ({_describe_outage(outage, now)})" for target, outage in outages)
    limited = all(outage.reason in LIMITED for _, outage in outages)
    is_permanent = all(outage.reason in NOT_TEMPORARY for _, outage in outages)
    return ErrorInfo(
        "rate_limited" if limited else "overloaded",
        f"{causes}: try again in {due} s",
        headers=(("retry-after", str(due)), *((("x-should-retry", "false"),) if is_permanent else ())),
        wait=float(due),
    )


def _describe_outage(outage: Outage, now: float) -> str:
    state = "tried by another request" if outage.tried else f"for {max(1, math.ceil(outage.until - now))} s"
    if outage.alone and not outage.tried:
        state += " because the request has no other target"
    return f"{outage.reason}, {state}{ADVICE.get(outage.reason, '')}"
