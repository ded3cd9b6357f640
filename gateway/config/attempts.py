"""Retries, and the circuit breaker of targets."""

from typing import Annotated, Literal, TypeAlias

import attrs

from configfile.expanded import Unresolved
from configfile.keys import Kind, setting
from configfile.kinds import Duration, Natural, Share, Wait, read_positive_duration, spell_duration
from configfile.wording import Wrong


@attrs.frozen(repr=False)
class Retries:
    """The retries of one client request: at most ``attempts`` in total until the ``deadline`` (seconds from its
    arrival).

    ``wait`` is the longest pause between two. ``budget`` is the ratio of retries to other requests that a provider may
    receive."""

    attempts: Natural = setting("The largest number of provider requests for one client request.", 4)
    deadline: Wait = setting("The longest time from the client's request to the first content.", 300.0)
    wait: Duration = setting(
        "The longest wait between two attempts, or for an unavailable target. If it is too short, the request fails.",
        20.0,
    )
    budget: Share = setting(
        "Retries, fallbacks and hedges at a provider, as a share of its other requests.",
        0.2,
    )


@attrs.frozen(repr=False)
class CircuitSettings:
    """The circuit breaker: a target is unavailable after so many consecutive ``failures`` or such an ``error_rate``.

    It lasts ``cooldown`` seconds at first, up to ``longest``."""

    failures: Natural = setting("Failures in a row.", 5)
    error_rate: Share = setting("The share of failures within 30 seconds, from ten requests on.", 0.5)
    cooldown: Wait = setting("The first cooldown. It doubles while the target keeps failing.", 5.0)
    longest: Wait = setting("The longest cooldown.", 20.0, shown="`20s`, or `cooldown` if that is longer")


def _read_wait_or_p95(value: object) -> float | Literal["p95"]:
    if value == "p95" or isinstance(value, Unresolved):  # a variable may have this value; one of the two is required
        return "p95"
    try:
        return read_positive_duration(value)
    except Wrong as wrong:
        raise Wrong(wrong.found, "expected a duration above 0, such as 2s, or p95") from wrong


WaitOrP95: TypeAlias = Annotated[
    float | Literal["p95"],
    Kind(
        "duration, or `p95`",
        _read_wait_or_p95,
        parts=(Wait, Literal["p95"]),
        spell=lambda value: value if isinstance(value, str) else spell_duration(value),
        takes_text=True,
    ),
]


@attrs.frozen(repr=False)
class Hedge:
    """A second attempt while the first is slow: after ``after`` seconds without content, or the time in which 95 % of
    responses start.

    ``at_most`` is the largest share of a route's requests."""

    after: WaitOrP95 = setting(
        "The time without content after which a slow request [also](routing.md#hedging) goes to the next target. "
        "`p95`: the time within which 95 % of the target's answers begin.",
    )
    at_most: Share = setting("The largest share of the name's requests that may be sent twice.", 0.05)
