"""Remarks that a reader has to know before believing the figures of a run."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from loadtest.figures.confidence import surely_rises
from loadtest.figures.histogram import Histogram
from loadtest.figures.numbers import duration, plain
from loadtest.figures.result import RunResult
from loadtest.figures.steadiness import Steadiness, one_load, steadiness
from loadtest.figures.timeline import Second

_SLOW: Final = 3
_MANY: Final = 10
"""First answers that took so many times the median of at least so many are told of."""


def steadiness_of(run: RunResult) -> Steadiness | None:
    """That of a run of one load."""
    return steadiness(run.timeline.seconds, run.seconds) if one_load(run.scenario) else None


def _cold(run: RunResult) -> str | None:
    """A server's first answers, and its first on each connection, are slow (vllm-project/vllm#16858)."""
    all_of_them = run.tally.measures["ttft"]
    if run.scenario.get("warmup") or all_of_them.count < _MANY or not one_load(run.scenario):
        return None
    first = next((second.ttft for second in run.timeline.seconds if second.ttft.count), Histogram())
    at, median = first.percentile(50), all_of_them.percentile(50)
    if not first.count or at <= _SLOW * median:
        return None
    return (
        f"The first answers took {duration(at)} to their first token, {at / median:.1f} times the median, and count: "
        "--warmup leaves them out."
    )


def _drifting(run: RunResult) -> str | None:
    found = steadiness_of(run)
    if found is None or not found.drifts:
        return None
    told = [
        f"{drift.what} went from {show(drift.before)} to {show(drift.after)}"
        for drift in found.drifts
        for show in (duration if "time" in drift.what else _count,)
    ]
    return f"The run was not steady: {' and '.join(told)}. Load it for longer, or with less."


def _count(value: float) -> str:
    return plain(round(value, 1))


STEADY_NOTES: Final[tuple[Callable[[RunResult], str | None], ...]] = (_cold, _drifting)


CACHED: Final = 0.01
"""From this share of the input on, what came from a cache of prompts makes the figures better than they are."""


def _shares_prompts(scenario: Mapping[str, Any]) -> bool:
    """It was asked that prompts have something in common: prefixes, blocks of a trace, turns of conversations."""
    requests = [one for one in scenario.get("requests") or () if isinstance(one, Mapping)]
    return bool(scenario.get("trace")) or any(one.get("prefix") for one in requests)


def _cached(run: RunResult) -> str | None:
    cached, asked = run.tally.measures["cached_tokens"], run.tally.input_tokens
    share = cached.mean * cached.count / asked if asked and cached.count else 0.0
    if share < CACHED or _shares_prompts(run.scenario) or set(run.turns) - {1}:
        return None
    same = run.scenario.get("same_prompts")
    files = any(isinstance(one, Mapping) and one.get("requests") for one in run.scenario.get("requests") or ())
    why = "the same prompts were sent before" if same else "requests of a file are sent as they are" if files else ""
    return (
        f"{100 * share:.0f} % of the input came from the server's cache of prompts, which nobody asked for"
        f"{f' ({why})' if why else ''}: new prompts take longer."
    )


def _short(run: RunResult) -> str | None:
    short = run.tally.counts["short"]
    if not short:
        return None
    return (
        f"{short} answers are shorter than asked for (--exact), and are not good: the server does not know ignore_eos "
        "and min_tokens, or does not let everybody set them."
    )


PROMPT_NOTES: Final[tuple[Callable[[RunResult], str | None], ...]] = (_cached, _short)


LATE: Final = 0.010
BUSY: Final = 0.9
"""From this lag (p99, seconds) and this share of a core on, the figures are more of the loader than of the server."""

_PILED: Final = 0.1  # of what began in the second half: so much more under way is a backlog
_SURE: Final = 0.975

_HELD_BACK: Final = 0.1  # of all streams


def _lag(run: RunResult) -> str | None:
    lags = {name: part.lag.percentile(99) for name, part in run.overhead.processes.items()}
    if max(lags.values()) <= LATE:
        return None
    return (
        f"The loader was late by {1000 * max(lags.values()):.0f} ms (p99 of its event loop{_where(lags, LATE)}): "
        "as much of the latencies may be its own."
    )


def _busy(run: RunResult) -> str | None:
    shares = {name: part.cpu for name, part in run.overhead.processes.items()}
    if max(shares.values()) <= BUSY:
        return None
    return (
        f"The loader used {100 * max(shares.values()):.0f} % of its core{_where(shares, BUSY)}: it, not the "
        "server, may be the limit."
    )


def _where(figures: Mapping[str, float], limit: float) -> str:
    """The processes that are above ``limit``, if there are several."""
    above = [name for name, figure in figures.items() if figure > limit and name]
    return f" in {', '.join(above)}" if above else ""


def _backlog(run: RunResult) -> str | None:
    """More and more under way in the last step, by more than chance and more than the filling of the server: whatever
    ended, well or not, is none of them."""
    seconds, where = _last_step(run)
    half = len(seconds) // 2
    if len(seconds) < 4:
        return None
    under_way = [second.in_flight for second in seconds]
    firsts = [second.ttft.percentile(50) for second in seconds if second.ttft.count]
    waiting = _rises(under_way) and _rises(firsts)
    grown = under_way[-1] - under_way[half]
    if not (waiting or _rises(under_way[half:])) or grown <= _PILED * sum(one.started for one in seconds[half + 1 :]):
        return None
    return (
        f"The server answered fewer requests than began: {under_way[half]} were under way in the middle{where} and "
        f"{under_way[-1]} at the end. Latencies say how long the load went on, not how quick the server is."
    )


def _last_step(run: RunResult) -> tuple[Sequence[Second], str]:
    """Its whole seconds, and what to call it; none where ever more is asked for: on a ramp, and by conversations, of
    which each goes on."""
    *others, last = run.scenario.get("steps") or [{"to": 0.0}]
    if last.get("to") is not None or run.turns:
        return (), ""
    begin = sum(step["seconds"] or 0.0 for step in others)
    return run.timeline.seconds[math.ceil(begin) : int(run.seconds)], " of the last step" if others else ""


def _rises(values: Sequence[float]) -> bool:
    return surely_rises(values, _SURE)


def _capped(run: RunResult) -> str | None:
    """Tools whose clock starts behind such a cap report a server that is quicker than its users find it
    (vllm-project/vllm#54101)."""
    held, cap = run.tally.measures["queued"], run.scenario.get("concurrency")
    if not held.count:
        return None
    return (
        f"The cap of {cap} held back {held.count} of {run.tally.counts['started']}, for "
        f"{duration(held.percentile(50))} (p50), {duration(held.most)} at most: it is in their latencies."
    )


def _buffered(run: RunResult) -> str | None:
    """A time to the first token that is as long as the answer says nothing of how quick a server begins
    (modelscope/evalscope#413)."""
    firsts = run.tally.measures["ttft"]
    streams = firsts.count - firsts.censored
    share = run.tally.counts["buffered"] / streams if streams else 0.0
    if share < _HELD_BACK:
        return None
    return (
        f"Buffered: first token and end fall together in {100 * share:.0f} % of the streams. The server, or something "
        "before it, holds answers back until they are whole."
    )


NOTES: Final[tuple[Callable[[RunResult], str | None], ...]] = (
    _lag, _busy, _backlog, _capped, _buffered, *PROMPT_NOTES, *STEADY_NOTES,
)  # fmt: skip


def notes(run: RunResult) -> tuple[str, ...]:
    """All remarks on a run."""
    return (*run.remarks, *(said for note in NOTES if (said := note(run))))
