"""Notes on a run that readers need to judge its figures, such as whether it was steady.

A run is steady if three windows in a row are within 10 % of each other (requested in vllm-project/guidellm#101). The
mean over a ramp and a steady server describes neither (sgl-project/sglang#30918).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from loadtest.figures.confidence import surely_rises
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import format_duration, format_number
from loadtest.figures.result import RunResult
from loadtest.figures.timeline import Second

WITHIN: Final = 0.1
"""The greatest relative difference between windows of a steady run."""

WINDOWS: Final = 10
FEWEST: Final = 6
"""The number of windows in a run, and the fewest seconds of a run that is checked."""

ENOUGH: Final = 10
"""The fewest answers in a window. Fewer are too random."""


@attrs.frozen
class RunWindow:
    """A part of a run: whole answers a second, and the median time to the first token (0 if there was none)."""

    begin: int
    completed: float
    ttft: float


@attrs.frozen
class Drift:
    """A figure that changed from the first windows of a run to the last. ``surely``: more than by chance."""

    what: str
    before: float
    after: float
    surely: bool

    @property
    def is_steep(self) -> bool:
        """True if the change exceeds the tolerance between windows."""
        return self.surely and not _are_close((self.before, self.after))


@attrs.frozen
class Steadiness:
    """The second ``since`` which a run is steady (``None``: never), and the ``drifts`` of an unsteady run."""

    since: int | None
    drifts: tuple[Drift, ...] = ()


def windows(seconds: Sequence[Second], ended: float) -> list[RunWindow]:
    """Divide the whole seconds until ``ended``, the last arrival, into windows of the same length."""
    whole = seconds[: int(ended)]
    size = math.ceil(len(whole) / WINDOWS) if len(whole) >= FEWEST else 0
    starts = range(0, len(whole) - size + 1, size) if size else ()
    return [_make_window(start, whole[start : start + size]) for start in starts]


def _make_window(begin: int, seconds: Sequence[Second]) -> RunWindow:
    ttft = Histogram.sum_of(second.ttft for second in seconds)
    return RunWindow(begin, sum(second.whole for second in seconds) / len(seconds), ttft.percentile(50))


def steadiness(seconds: Sequence[Second], ended: float) -> Steadiness | None:
    """Return the steadiness of a run, or ``None`` if it has too few seconds or answers."""
    found = windows(seconds, ended)
    if len(found) < 3 or sum(second.whole for second in seconds[: int(ended)]) < ENOUGH * len(found):
        return None
    for number in range(len(found) - 2):
        three, rest = found[number : number + 3], found[number + 3 :]
        if _is_steady(three) and (not rest or _is_steady([_mean_window(three), _mean_window(rest)])):
            return Steadiness(found[number].begin)
    third = len(found) // 3 * (found[1].begin - found[0].begin)
    drifts = _drifts(seconds[:third], seconds[int(ended) - third : int(ended)])
    return Steadiness(None, tuple(drift for drift in drifts if drift.is_steep))


def _drifts(first: Sequence[Second], last: Sequence[Second]) -> tuple[Drift, Drift]:
    """Return the changes between two parts of the same length.

    The tolerance is two standard errors: the root of the number of answers, and two standard errors of the median.
    """
    whole = [sum(second.whole for second in part) for part in (first, last)]
    (low, middle, high), (low_, middle_, high_) = (_median_bounds(part) for part in (first, last))
    more = abs(whole[1] - whole[0]) > 2 * math.sqrt(sum(whole))
    return (
        Drift("whole answers a second", whole[0] / len(first), whole[1] / len(last), more),
        Drift("the median time to the first token", middle, middle_, low_ > high or high_ < low),
    )


def _median_bounds(seconds: Sequence[Second]) -> tuple[float, float, float]:
    """Return the median time to the first token, with two standard errors below and above it."""
    ttft = Histogram.sum_of(second.ttft for second in seconds)
    error = min(50.0, 100 / math.sqrt(ttft.count)) if ttft.count else 0.0
    return ttft.percentile(50 - error), ttft.percentile(50), ttft.percentile(50 + error)


def _is_steady(found: Sequence[RunWindow]) -> bool:
    return _are_close([window.completed for window in found]) and _are_close([window.ttft for window in found])


def _are_close(values: Sequence[float]) -> bool:
    return max(values) <= (1 + WITHIN) * min(values)


def _mean_window(found: Sequence[RunWindow]) -> RunWindow:
    count = len(found)
    return RunWindow(
        found[0].begin,
        sum(window.completed for window in found) / count,
        sum(window.ttft for window in found) / count,
    )


def has_constant_load(scenario: Mapping[str, Any]) -> bool:
    """Return whether a scenario from a report has a constant load."""
    steps = scenario.get("steps") or scenario.get("client_steps") or ()
    return len(steps) <= 1 and not scenario.get("trace") and all(step.get("to") is None for step in steps)


_SLOW: Final = 3
_MANY: Final = 10
"""A note mentions first answers that took three times the median of at least ten."""


def steadiness_of(run: RunResult) -> Steadiness | None:
    """Return the steadiness of a run with a constant load."""
    return steadiness(run.timeline.seconds, run.seconds) if has_constant_load(run.scenario) else None


def _cold_note(run: RunResult) -> str | None:
    """Note slow first answers: servers start slowly, also on each connection (vllm-project/vllm#16858)."""
    all_of_them = run.tally.measures["ttft"]
    if run.scenario.get("warmup") or all_of_them.count < _MANY or not has_constant_load(run.scenario):
        return None
    first = next((second.ttft for second in run.timeline.seconds if second.ttft.count), Histogram())
    at, median = first.percentile(50), all_of_them.percentile(50)
    if not first.count or at <= _SLOW * median:
        return None
    return (
        f"The first answers took {format_duration(at)} to the first token, {at / median:.1f} times the median. "
        "To exclude them, use --warmup."
    )


def _drift_note(run: RunResult) -> str | None:
    found = steadiness_of(run)
    if found is None or not found.drifts:
        return None
    told = [
        f"{drift.what} went from {show(drift.before)} to {show(drift.after)}"
        for drift in found.drifts
        for show in (format_duration if "time" in drift.what else _format_count,)
    ]
    return f"The run was not steady: {' and '.join(told)}. Use a longer run or a lower load."


def _format_count(value: float) -> str:
    return format_number(round(value, 1))


CACHED: Final = 0.01
"""The share of input tokens from the prompt cache that a note mentions."""


def _shares_prompts(scenario: Mapping[str, Any]) -> bool:
    """Return whether the scenario shares parts of prompts on purpose: by prefixes, a trace or conversations."""
    requests = [one for one in scenario.get("requests") or () if isinstance(one, Mapping)]
    return bool(scenario.get("trace")) or any(one.get("prefix") for one in requests)


def _cache_note(run: RunResult) -> str | None:
    cached, asked = run.tally.measures["cached_tokens"], run.tally.input_tokens
    share = cached.mean * cached.count / asked if asked and cached.count else 0.0
    if share < CACHED or _shares_prompts(run.scenario) or set(run.turns) - {1}:
        return None
    same = run.scenario.get("same_prompts")
    files = any(isinstance(one, Mapping) and one.get("requests") for one in run.scenario.get("requests") or ())
    why = "the same prompts were sent before" if same else "requests of a file are sent unchanged" if files else ""
    return (
        f"{100 * share:.0f} % of the input came from the server's prompt cache, although the load does not ask for "
        f"that{f' ({why})' if why else ''}; new prompts take longer."
    )


def _short_note(run: RunResult) -> str | None:
    short = run.tally.counts["short"]
    if not short:
        return None
    return (
        f"{short} answers are shorter than requested (--exact) and count as not good: the server does not support "
        "ignore_eos and min_tokens, or does not allow clients to set them."
    )


LATE: Final = 0.010
BUSY: Final = 0.9
"""A note warns above this lag (p99, seconds) or CPU share, because the loader itself may be the limit."""

_PILED: Final = 0.1  # a backlog is a growth by this share of the requests that began in the second half
_SURE: Final = 0.975

_HELD_BACK: Final = 0.1  # share of all streams


def _lag_note(run: RunResult) -> str | None:
    lags = {name: part.lag.percentile(99) for name, part in run.overhead.processes.items()}
    if max(lags.values()) <= LATE:
        return None
    return (
        f"The loader was late by {1000 * max(lags.values()):.0f} ms (p99 of its event "
        f"loop{_processes_above(lags, LATE)}): up to that much of the latencies may be the loader's."
    )


def _busy_note(run: RunResult) -> str | None:
    shares = {name: part.cpu for name, part in run.overhead.processes.items()}
    if max(shares.values()) <= BUSY:
        return None
    return (
        f"The loader used {100 * max(shares.values()):.0f} % of its core{_processes_above(shares, BUSY)}, so the "
        "loader may be the limit, not the server."
    )


def _processes_above(figures: Mapping[str, float], limit: float) -> str:
    """Return the names of the processes above ``limit``, if there are several."""
    above = [name for name, figure in figures.items() if figure > limit and name]
    return f" in {', '.join(above)}" if above else ""


def _backlog_note(run: RunResult) -> str | None:
    """Note a backlog: requests under way grow in the last step, more than by chance or by the initial filling."""
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
        f"The server finished fewer requests than were started: {under_way[half]} were running in the "
        f"middle{where} and {under_way[-1]} at the end. The latencies depend on the length of the run, not "
        "only on the server."
    )


def _last_step(run: RunResult) -> tuple[Sequence[Second], str]:
    """Return the whole seconds of the last step and its name.

    A ramp and conversations have no such step, because their load grows.
    """
    *others, last = run.scenario.get("steps") or [{"to": 0.0}]
    if last.get("to") is not None or run.turns:
        return (), ""
    begin = sum(step["seconds"] or 0.0 for step in others)
    return run.timeline.seconds[math.ceil(begin) : int(run.seconds)], " of the last step" if others else ""


def _rises(values: Sequence[float]) -> bool:
    return surely_rises(values, _SURE)


def _cap_note(run: RunResult) -> str | None:
    """Note the wait for the cap.

    Other tools start the clock after it, and report a server faster than it is for users (vllm-project/vllm#54101).
    """
    held, cap = run.tally.measures["queued"], run.scenario.get("concurrency")
    if not held.count:
        return None
    return (
        f"The cap of {cap} held back {held.count} of {run.tally.counts['started']}, for "
        f"{format_duration(held.percentile(50))} (p50), {format_duration(held.most)} at most; "
        "their latencies include that."
    )


def _buffering_note(run: RunResult) -> str | None:
    """Note buffered streams: if the first token arrives at the end, its time does not measure the server
    (modelscope/evalscope#413)."""
    firsts = run.tally.measures["ttft"]
    streams = firsts.count - firsts.censored
    share = run.tally.counts["buffered"] / streams if streams else 0.0
    if share < _HELD_BACK:
        return None
    return (
        f"Buffered: the first token and the end arrive together in {100 * share:.0f} % of the streams. The server, "
        "or a proxy in front of it, buffers whole answers."
    )


NOTES: Final[tuple[Callable[[RunResult], str | None], ...]] = (
    _lag_note, _busy_note, _backlog_note, _cap_note, _buffering_note, _cache_note, _short_note, _cold_note, _drift_note,
)  # fmt: skip


def notes(run: RunResult) -> tuple[str, ...]:
    """Return all notes and remarks on a run."""
    return (*run.remarks, *(said for note in NOTES if (said := note(run))))
