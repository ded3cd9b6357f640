"""Reads two reports or request logs, and compares their plans and figures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from loadtest.exchange.plain_text import plain_text
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.reports import report_file
from loadtest.reports.comparing import (
    CONFIDENCE,
    FAILED,
    FEW,
    MARGIN,
    PERCENTILES,
    ComparedLoad,
    LoggedLine,
    SideFigures,
    compared_load,
)
from loadtest.reports.report_file import InvalidReport
from loadtest.reports.words import describe_run_load
from streams.surrogates import NOT_JSON

MOST_LISTED: Final = 8  # most differences of plans to list
LENGTHS: Final = ("input_tokens", "output_tokens")
LENGTH_TOLERANCE: Final = 0.05  # relative difference of lengths that the report mentions

Question: TypeAlias = Literal["slower", "faster", "errors", "worse", "different"]
"""The conditions of ``--fail-if`` for a comparison."""

_NO_PLAN: Final = (
    "targets", "url", "key_env", "headers", "fail_if", "percentiles", "processes", "workers",
)  # fmt: skip
"""Members of a scenario that may differ between comparable loads."""


@attrs.frozen
class ReadRun:
    """One run of a file: its plan (only in a report), and its figures, in all and by kind of request."""

    name: str
    plan: Mapping[str, Any] | None
    total: SideFigures
    kinds: Mapping[str, SideFigures]
    lengths: Mapping[str, float]
    interrupted: bool = False
    notes: Sequence[str] = ()


@attrs.frozen
class ComparedTarget:
    """Two runs of one target, with the name "" if each file has only one.

    ``differences`` are those between the plans, which a reader must see before the figures. ``notes`` are those of
    each run.
    """

    name: str
    differences: tuple[str, ...]
    total: ComparedLoad
    kinds: tuple[ComparedLoad, ...]
    notes: tuple[Sequence[str], Sequence[str]] = ((), ())

    def meets(self, question: Question) -> bool:
        """Return whether the answer to ``question`` is yes for all requests.

        It is also yes without a verdict, because success is then unproven.
        """
        if not self.total.figures or self.total.begun < FEW:
            return True
        changes: set[str] = {figure.change for figure in self.total.changes}
        asked = {"errors": {"more errors"}, "worse": {"slower", "more errors"}, "different": changes}
        return bool(changes & asked.get(question, {str(question)}))

    @property
    def verdict(self) -> str:
        """The verdict on the second run as a short text."""
        if not self.total.figures:
            return "nothing to compare"
        if self.total.begun < FEW:
            return "too few requests for a verdict"
        changes = {figure.change for figure in self.total.changes}
        said: list[str] = [word for word in ("slower", "faster") if word in changes]
        said = ["slower here and faster there"] if len(said) == 2 else said
        said += [word for word in ("more errors", "fewer errors") if word in changes]
        return ", with ".join(said) if said else "no difference seen"


@attrs.frozen
class LoadComparison:
    """A comparison of the loads in two files. ``unmatched`` are targets in only one of them."""

    names: tuple[str, str]
    targets: tuple[ComparedTarget, ...]
    unmatched: tuple[str, ...]


def compare_reports(
    before: Path, after: Path, *, margin: float = MARGIN, percentiles: Sequence[float] = PERCENTILES
) -> LoadComparison:
    """Compare two files, which are reports or request logs. Raises ``InvalidReport``.

    If a report has its log next to it, the intervals come from its lines.
    """
    one, other = read_runs(before), read_runs(after)
    if len(one) == len(other) == 1:
        pairs = [(attrs.evolve(one[0], name=""), attrs.evolve(other[0], name=""))]
    else:
        named = {run.name: run for run in other}
        pairs = [(run, named[run.name]) for run in one if run.name in named]
    matched = {run.name for run, _ in pairs}
    names = (before.name, after.name) if before.name != after.name else (str(before), str(after))
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(pairs))  # the verdicts of all targets hold jointly
    return LoadComparison(
        names,
        tuple(_compare_target(*pair, margin, percentiles, confidence) for pair in pairs),
        tuple(dict.fromkeys(run.name for run in (*one, *other) if run.name not in matched and "" not in matched)),
    )


def _compare_target(
    before: ReadRun, after: ReadRun, margin: float, percentiles: Sequence[float], confidence: float
) -> ComparedTarget:
    shared = [name for name in before.kinds if name in after.kinds] if len(before.kinds) > 1 else []
    each = 1 - (1 - confidence) / max(1, len(shared))

    def of(name: str, one: SideFigures, other: SideFigures, sure: float) -> ComparedLoad:
        return compared_load(name, one, other, margin=margin, percentiles=percentiles, confidence=sure)

    return ComparedTarget(
        before.name,
        tuple(run_differences(before, after)),
        of("", before.total, after.total, confidence),
        tuple(of(kind, before.kinds[kind], after.kinds[kind], each) for kind in shared),
        (before.notes, after.notes),
    )


# Plans


def run_differences(before: ReadRun, after: ReadRun) -> Iterator[str]:
    """Yield the differences between the two loads, which limit the meaning of a comparison."""
    if before.plan is not None and after.plan is not None:
        yield from plan_differences(before.plan, after.plan)
    if abs(before.total.seconds - after.total.seconds) > LENGTH_TOLERANCE * max(
        before.total.seconds, after.total.seconds
    ):
        yield f"seconds of arrivals: {before.total.seconds:.4g}, then {after.total.seconds:.4g}"
    for name in LENGTHS:
        one_, other_ = before.lengths.get(name), after.lengths.get(name)
        if one_ and other_ and abs(one_ - other_) > LENGTH_TOLERANCE * max(one_, other_):
            yield f"{name.replace('_', ' ')} (mean): {one_:.4g}, then {other_:.4g}"
    for name, run in (("first", before), ("second", after)):
        if run.interrupted:
            yield f"the {name} was interrupted"


def plan_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between two plans from reports."""
    one, other = dict(_flatten(_shared_members(before, after))), dict(_flatten(_shared_members(after, before)))
    unlike = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    yield from (
        f"{name}: {_format_value(one.get(name))}, then {_format_value(other.get(name))}"
        for name in unlike[:MOST_LISTED]
    )
    if len(unlike) > MOST_LISTED:
        yield f"and {len(unlike) - MOST_LISTED} more of the plan"


def _shared_members(plan: Mapping[str, Any], to: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the members of a plan that the other version also had, in the same format, including those of
    requests."""
    found = {key: value for key, value in plan.items() if key in to and _are_comparable(value, to[key])}
    requests, others = (list(one.get("requests") or ()) for one in (plan, to))
    found["requests"] = [
        {key: value for key, value in one.items() if key in other and _are_comparable(value, other[key])}
        for one, other in zip(requests, others, strict=False)
    ] + requests[len(others) :]
    return found


def _are_comparable(one: Any, other: Any) -> bool:
    return one is None or other is None or isinstance(one, Mapping) == isinstance(other, Mapping)


def _flatten(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a plan with their paths."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            if place or key not in _NO_PLAN:
                yield from _flatten(member, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from _flatten(member, f"{place}[{number}]")
    elif value is not None:
        yield place, value


def _format_value(value: Any) -> str:
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# Reading


def read_runs(path: Path) -> list[ReadRun]:
    """Return the runs in a report or a request log. Raises ``InvalidReport``."""
    try:
        report = report_file.read(path)
    except InvalidReport as error:
        if (lines := _read_lines(path)) is None:
            raise error from None
        return [_run_of_log(name, found) for name, found in _group_by(lines, "target").items()]
    logged = list(_group_by(_find_log(path, report.log), "run").values())
    found = [_run_of_report(run, _take_lines_of(run, logged)) for run in report.runs]
    if len({run.name for run in found}) == len(found):
        return found
    # Several loads of one target are distinguished by their plans.
    return [
        attrs.evolve(run, name=f"{run.name}, {describe_run_load(result)}")
        for run, result in zip(found, report.runs, strict=True)
    ]


def _take_lines_of(run: RunResult, logged: list[list[LoggedLine]]) -> Sequence[LoggedLine]:
    """Remove and return the lines of a run from the logs of a command. Their number is that of the run's requests."""
    for lines in logged:
        if lines[0].target == run.target and len(lines) == run.tally.counts["started"]:
            logged.remove(lines)
            return lines
    return ()


def _find_log(path: Path, named: str) -> Sequence[LoggedLine]:
    """Return the lines of the log that a report refers to, or of the log with its name."""
    places = ([path.parent / Path(named).name] if named else []) + [path.with_suffix(".jsonl")]
    return next((lines for place in places if place != path and (lines := _read_lines(place))), ())


def _read_lines(path: Path) -> Sequence[LoggedLine] | None:
    """Return the measured lines of a log, or ``None`` for another file.

    A killed load may leave half a line at the end.
    """
    try:
        with path.open("rb") as file:
            found = [_LINE.decode(line) for line in file if line.endswith((b"\n", b"}")) and line.strip()]
    except (OSError, *NOT_JSON):
        return None
    names: dict[str, str] = {}  # one plain object for each name
    for line in found:
        line.target, line.kind = (
            names.get(name) or names.setdefault(name, plain_text(name)) for name in (line.target, line.kind)
        )
    return [line for line in found if not line.warmup and line.planned >= 0] or None


_LINE: Final = msgspec.json.Decoder(LoggedLine)


def _group_by(lines: Iterable[LoggedLine], key: Literal["run", "target", "kind"]) -> dict[str, list[LoggedLine]]:
    found: dict[str, list[LoggedLine]] = {}
    for line in lines:
        found.setdefault(getattr(line, key), []).append(line)
    return found


def _run_of_report(run: RunResult, lines: Sequence[LoggedLine]) -> ReadRun:
    by_kind = _group_by(lines, "kind")

    def figures(tally: Tally, of: Sequence[LoggedLine]) -> SideFigures:
        counts = tally.counts
        failed = sum(counts[end] for end in FAILED)
        return SideFigures(run.seconds, counts["started"], failed, tally.measures, of)

    return ReadRun(
        run.name,
        run.scenario,
        figures(run.tally, lines),
        {name: figures(tally, by_kind.get(name, ())) for name, tally in run.requests.items()},
        {name: run.tally.measures[name].mean for name in LENGTHS},
        run.interrupted,
        notes(run),
    )


def _run_of_log(name: str, lines: Sequence[LoggedLine]) -> ReadRun:
    seconds = max((line.planned for line in lines), default=0.0)
    tokens = {"input_tokens": [line.tokens.input for line in lines if line.tokens.input],
              "output_tokens": [line.tokens.output for line in lines if line.tokens.output]}  # fmt: skip
    return ReadRun(
        name or "the server",
        None,
        _figures_of_lines(lines, seconds),
        {kind: _figures_of_lines(found, seconds) for kind, found in _group_by(lines, "kind").items()},
        {name: sum(found) / len(found) for name, found in tokens.items() if found},
        any(line.end == "interrupted" for line in lines),
    )


def _figures_of_lines(lines: Sequence[LoggedLine], seconds: float) -> SideFigures:
    return SideFigures(seconds, len(lines), sum(line.is_error for line in lines), {}, lines)
