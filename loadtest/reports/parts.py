"""Merges the reports of several machines that made parts of one plan."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import msgspec

from loadtest.figures.histogram import Histogram
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline
from loadtest.plan.scenario import Scenario, planned_counts
from loadtest.plan.shares import format_start
from loadtest.reports.compared_runs import plan_differences
from loadtest.reports.report_file import MISREAD, InvalidReport, read
from loadtest.run.overhead import Overhead

_OF_A_MACHINE = ("processes", "percentiles", "key_env")
"""Members of a plan that may differ between its parts."""


@attrs.frozen
class PlanPart:
    """The part of a plan that a report covers: its ``number`` (from 1) ``of`` the parts that began at ``start_at``
    (Unix seconds).

    ``plan`` is a digest of the plan and its files. ``planned`` is the number of requests of each part, or ``None`` if
    the server sets the pace.
    """

    number: int
    of: int
    start_at: float
    plan: str
    planned: Sequence[int] | None

    def dump(self) -> dict[str, Any]:
        return attrs.asdict(self)

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> "PlanPart":
        """Read the result of ``dump``. Raises ``ValueError`` for anything else."""
        found = msgspec.convert(value, cls)
        if not 1 <= found.number <= found.of or (found.planned is not None and len(found.planned) != found.of):
            raise ValueError("no such part")
        return found


def part_of_plan(plan: Scenario) -> PlanPart | None:
    """Return the part of ``plan``, or ``None`` if it is a whole load."""
    if plan.part.of == 1 or plan.start_at is None:
        return None
    planned = planned_counts(plan, plan.part.of, plan.seconds)
    return PlanPart(plan.part.index + 1, plan.part.of, plan.start_at, plan_digest(plan), planned)


def plan_digest(plan: Scenario) -> str:
    """Return a digest of everything that the parts of a plan share.

    Files count by their content, not by their path.
    """
    found = plan.describe()
    for name in _OF_A_MACHINE:
        del found[name]
    found["trace"] = _path_digest(plan.trace)
    for described, request in zip(found["requests"], plan.requests, strict=True):
        described["requests"] = _path_digest(request.requests)
    return hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()


def _path_digest(path: Path | None) -> str:
    """Return a digest of a file, or of all files in a directory, or ""."""
    if path is None:
        return ""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    found = hashlib.sha256()
    for file in files:
        if file.is_file():
            with file.open("rb") as content:
                found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()


# Merging


@attrs.frozen
class _PartReport:
    path: Path
    part: PlanPart
    run: RunResult


def merge_parts(paths: Sequence[Path]) -> RunResult:
    """Merge the parts in these reports into one result, with a remark for each missing part.

    Raises ``InvalidReport`` if they are not parts of one load.
    """
    found = sorted(map(_load_part, paths), key=lambda one: one.part.number)
    first = found[0]
    for one, other in pairwise(found):
        if one.part.number == other.part.number:
            raise InvalidReport(f"{one.path} and {other.path}: both are part {one.part.number} of {one.part.of}")
    for one in found[1:]:
        _check_same_load(first, one)
    there = {one.part.number for one in found}
    missing = [number for number in range(1, first.part.of + 1) if number not in there]
    return _merge_results(found, missing)


def _load_part(path: Path) -> _PartReport:
    value = read(path)
    if value.part is None:
        raise InvalidReport(f"{path} is the report of a whole load; merge needs reports of trigate load --part K/N")
    try:
        (run,) = value.runs
        return _PartReport(path, PlanPart.load(value.part), run)
    except MISREAD as error:
        raise InvalidReport(f"{path} is not a report of trigate load --part") from error


def _check_same_load(first: _PartReport, other: _PartReport) -> None:
    """Raise ``InvalidReport`` if two reports are not of one load."""
    why = ""
    if (first.part.of, first.part.plan) != (other.part.of, other.part.plan):
        unlike = list(plan_differences(first.run.scenario, other.run.scenario))
        unlike += [f"parts: {first.part.of}, then {other.part.of}"] if first.part.of != other.part.of else []
        why = f"has a different plan than {first.path} ({'; '.join(unlike) or 'its files differ'})"
    elif first.part.start_at != other.part.start_at:
        starts = format_start(first.part.start_at), format_start(other.part.start_at)
        why = f"is from a different run than {first.path}: that started at {starts[0]}, this one at {starts[1]}"
    if why:
        raise InvalidReport(f"{other.path}: part {other.part.number} {why}; merge the parts of one load")


def _merge_results(found: Sequence[_PartReport], missing: Sequence[int]) -> RunResult:
    runs = [one.run for one in found]
    part = found[0].part
    lost = sum(part.planned[number - 1] for number in missing) if part.planned else 0
    timeline, total = LoadTimeline(), Tally.sum_of(run.tally for run in runs)
    for run in runs:
        timeline.merge(run.timeline)
    total.counts["lost"] += lost
    return attrs.evolve(
        runs[0],
        started=min(run.started for run in runs),
        seconds=max(run.seconds for run in runs),
        elapsed=max(run.elapsed for run in runs),
        interrupted=any(run.interrupted for run in runs),
        stopped="; ".join(f"part {one.part.number}: {one.run.stopped}" for one in found if one.run.stopped),
        tally=total,
        requests=_merge_by_key([run.requests for run in runs]),
        turns=_merge_by_key([run.turns for run in runs]),
        steps=_merge_by_key([run.steps for run in runs]),
        unbegun=sum(run.unbegun for run in runs),
        cut_off=sum(run.cut_off for run in runs),
        retry_waits=Histogram.sum_of(run.retry_waits for run in runs),
        probes=Tally.sum_of(run.probes for run in runs),
        timeline=timeline,
        overhead=_merge_overheads(found, [f"part {number} of {part.of} is missing" for number in missing]),
        remarks=tuple(_remarks(found, missing, lost)),
    )


def _merge_by_key(parts: Sequence[Mapping[Any, Tally]]) -> dict[Any, Tally]:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: Tally.sum_of(part[key] for part in parts if key in part) for key in keys}


def _merge_overheads(found: Sequence[_PartReport], lost: Sequence[str]) -> Overhead:
    overheads = [(one.part.number, one.run.overhead) for one in found]
    parts = {
        f"part {number} {name}".rstrip(): process
        for number, own in overheads
        for name, process in own.processes.items()
    }
    lag, late = (Histogram.sum_of(getattr(own, name) for _, own in overheads) for name in ("lag", "late"))
    losses = [*(f"part {number}: {loss}" for number, own in overheads for loss in own.lost), *lost]
    return Overhead.of_parts(parts, lag, late, max(own.apart for _, own in overheads), losses)


def _remarks(found: Sequence[_PartReport], missing: Sequence[int], lost: int) -> Iterator[str]:
    of = found[0].part.of
    for number in missing:
        yield f"Part {number} of {of} is missing, so these figures lack its share of the plan."
    if missing:
        planned = f"{lost} planned requests" if found[0].part.planned else f"the clients of {len(missing)} parts"
        yield f"Lost: {planned}. The server had less load than planned, unless a missing part only lacks its report."
    for one in found:
        yield from (f"Part {one.part.number}: {remark}" for remark in one.run.remarks)
