"""Two reports, or two logs of requests, read and put side by side: what was asked in each, and which is slower."""

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
from loadtest.reports.report_file import NoReport
from loadtest.reports.words import load_of

TOLD: Final = 8  # differences of plans
LENGTHS: Final = ("input_tokens", "output_tokens")
UNLIKE: Final = 0.05  # from this share on, what was asked for or answered was of another length

Question: TypeAlias = Literal["slower", "faster", "errors", "worse", "different"]
"""What ``--fail-if`` of a comparison asks."""

_NO_PLAN: Final = (
    "targets", "url", "key_env", "headers", "fail_if", "percentiles", "processes", "workers",
)  # fmt: skip
"""Members of a scenario in which two comparable loads may differ."""


@attrs.frozen
class ReadRun:
    """One run of a file: its plan, where the file is a report, and its figures, in all and by kind of request."""

    name: str
    plan: Mapping[str, Any] | None
    total: SideFigures
    kinds: Mapping[str, SideFigures]
    lengths: Mapping[str, float]
    interrupted: bool = False
    notes: Sequence[str] = ()


@attrs.frozen
class ComparedTarget:
    """Two runs of one target, whose ``name`` is "" where each file has only one. ``differences`` are those of what was
    asked, which stand before all figures; ``notes`` are those of each run."""

    name: str
    differences: tuple[str, ...]
    total: ComparedLoad
    kinds: tuple[ComparedLoad, ...]
    notes: tuple[Sequence[str], Sequence[str]] = ((), ())

    def found(self, question: Question) -> bool:
        """Whether the answer is yes, by the figures of all requests together. Where there is no verdict it is: what
        cannot be said to be well is not."""
        if not self.total.figures or self.total.begun < FEW:
            return True
        changes: set[str] = {figure.change for figure in self.total.changes}
        asked = {"errors": {"more errors"}, "worse": {"slower", "more errors"}, "different": changes}
        return bool(changes & asked.get(question, {str(question)}))

    @property
    def verdict(self) -> str:
        """In a few words, of the second run."""
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
    """What two files say of the same loads. ``unmatched`` are targets that only one of them has."""

    names: tuple[str, str]
    targets: tuple[ComparedTarget, ...]
    unmatched: tuple[str, ...]


def comparison(
    before: Path, after: Path, *, margin: float = MARGIN, percentiles: Sequence[float] = PERCENTILES
) -> LoadComparison:
    """Two files side by side: reports, or logs of requests. Where a report's log is beside it, the intervals are made
    from its lines. Raises ``NoReport``."""
    one, other = read_runs(before), read_runs(after)
    if len(one) == len(other) == 1:
        pairs = [(attrs.evolve(one[0], name=""), attrs.evolve(other[0], name=""))]
    else:
        named = {run.name: run for run in other}
        pairs = [(run, named[run.name]) for run in one if run.name in named]
    matched = {run.name for run, _ in pairs}
    names = (before.name, after.name) if before.name != after.name else (str(before), str(after))
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(pairs))  # the verdicts of all targets hold together
    return LoadComparison(
        names,
        tuple(_compared(*pair, margin, percentiles, confidence) for pair in pairs),
        tuple(dict.fromkeys(run.name for run in (*one, *other) if run.name not in matched and "" not in matched)),
    )


def _compared(
    before: ReadRun, after: ReadRun, margin: float, percentiles: Sequence[float], confidence: float
) -> ComparedTarget:
    shared = [name for name in before.kinds if name in after.kinds] if len(before.kinds) > 1 else []
    each = 1 - (1 - confidence) / max(1, len(shared))

    def of(name: str, one: SideFigures, other: SideFigures, sure: float) -> ComparedLoad:
        return compared_load(name, one, other, margin=margin, percentiles=percentiles, confidence=sure)

    return ComparedTarget(
        before.name,
        tuple(differences(before, after)),
        of("", before.total, after.total, confidence),
        tuple(of(kind, before.kinds[kind], after.kinds[kind], each) for kind in shared),
        (before.notes, after.notes),
    )


# What was asked


def differences(before: ReadRun, after: ReadRun) -> Iterator[str]:
    """What the two loads do not have in common: a comparison of figures may say no more than these."""
    if before.plan is not None and after.plan is not None:
        yield from plan_differences(before.plan, after.plan)
    if abs(before.total.seconds - after.total.seconds) > UNLIKE * max(before.total.seconds, after.total.seconds):
        yield f"seconds of arrivals: {before.total.seconds:.4g}, then {after.total.seconds:.4g}"
    for name in LENGTHS:
        one_, other_ = before.lengths.get(name), after.lengths.get(name)
        if one_ and other_ and abs(one_ - other_) > UNLIKE * max(one_, other_):
            yield f"{name.replace('_', ' ')} (mean): {one_:.4g}, then {other_:.4g}"
    for name, run in (("first", before), ("second", after)):
        if run.interrupted:
            yield f"the {name} was interrupted"


def plan_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences of two plans, as they stand in reports."""
    one, other = dict(_flat(_known(before, after))), dict(_flat(_known(after, before)))
    unlike = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    yield from (f"{name}: {_told(one.get(name))}, then {_told(other.get(name))}" for name in unlike[:TOLD])
    if len(unlike) > TOLD:
        yield f"and {len(unlike) - TOLD} more of the plan"


def _known(plan: Mapping[str, Any], to: Mapping[str, Any]) -> Mapping[str, Any]:
    """The members of a plan that the version of the other one had, too, in the same form; of requests likewise."""
    found = {key: value for key, value in plan.items() if key in to and _comparable(value, to[key])}
    requests, others = (list(one.get("requests") or ()) for one in (plan, to))
    found["requests"] = [
        {key: value for key, value in one.items() if key in other and _comparable(value, other[key])}
        for one, other in zip(requests, others, strict=False)
    ] + requests[len(others) :]
    return found


def _comparable(one: Any, other: Any) -> bool:
    return one is None or other is None or isinstance(one, Mapping) == isinstance(other, Mapping)


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a plan by where they stand in it."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            if place or key not in _NO_PLAN:
                yield from _flat(member, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from _flat(member, f"{place}[{number}]")
    elif value is not None:
        yield place, value


def _told(value: Any) -> str:
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# Reading


def read_runs(path: Path) -> list[ReadRun]:
    """The runs in a report or in a log of requests. Raises ``NoReport``."""
    try:
        report = report_file.read(path)
    except NoReport as error:
        if (lines := _lines(path)) is None:
            raise error from None
        return [_logged(name, found) for name, found in _by(lines, "target").items()]
    logged = list(_by(_log_beside(path, report.log), "run").values())
    found = [_reported(run, _lines_of(run, logged)) for run in report.runs]
    if len({run.name for run in found}) == len(found):
        return found
    # Several loads of one target: each goes by what it was.
    return [
        attrs.evolve(run, name=f"{run.name}, {load_of(result)}") for run, result in zip(found, report.runs, strict=True)
    ]


def _lines_of(run: RunResult, logged: list[list[LoggedLine]]) -> Sequence[LoggedLine]:
    """The lines of this run among those of all that a command made, which are taken out: it has as many lines as
    requests began there."""
    for lines in logged:
        if lines[0].target == run.target and len(lines) == run.tally.counts["started"]:
            logged.remove(lines)
            return lines
    return ()


def _log_beside(path: Path, named: str) -> Sequence[LoggedLine]:
    """The lines of a report's log: the one that it names, if that lies where it does, or the one of its name."""
    places = ([path.parent / Path(named).name] if named else []) + [path.with_suffix(".jsonl")]
    return next((lines for place in places if place != path and (lines := _lines(place))), ())


def _lines(path: Path) -> Sequence[LoggedLine] | None:
    """The lines of a log that count; ``None`` if it is none. A load that was killed may have left half a last line."""
    try:
        with path.open("rb") as file:
            found = [_LINE.decode(line) for line in file if line.endswith((b"\n", b"}")) and line.strip()]
    except (OSError, msgspec.MsgspecError):
        return None
    names: dict[str, str] = {}  # each once, and plain
    for line in found:
        line.target, line.kind = (
            names.get(name) or names.setdefault(name, plain_text(name)) for name in (line.target, line.kind)
        )
    return [line for line in found if not line.warmup and line.planned >= 0] or None


_LINE: Final = msgspec.json.Decoder(LoggedLine)


def _by(lines: Iterable[LoggedLine], key: Literal["run", "target", "kind"]) -> dict[str, list[LoggedLine]]:
    found: dict[str, list[LoggedLine]] = {}
    for line in lines:
        found.setdefault(getattr(line, key), []).append(line)
    return found


def _reported(run: RunResult, lines: Sequence[LoggedLine]) -> ReadRun:
    by_kind = _by(lines, "kind")

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


def _logged(name: str, lines: Sequence[LoggedLine]) -> ReadRun:
    seconds = max((line.planned for line in lines), default=0.0)
    tokens = {"input_tokens": [line.tokens.input for line in lines if line.tokens.input],
              "output_tokens": [line.tokens.output for line in lines if line.tokens.output]}  # fmt: skip
    return ReadRun(
        name or "the server",
        None,
        _of_lines(lines, seconds),
        {kind: _of_lines(found, seconds) for kind, found in _by(lines, "kind").items()},
        {name: sum(found) / len(found) for name, found in tokens.items() if found},
        any(line.end == "interrupted" for line in lines),
    )


def _of_lines(lines: Sequence[LoggedLine], seconds: float) -> SideFigures:
    return SideFigures(seconds, len(lines), sum(line.failed for line in lines), {}, lines)
