"""The runs that a scenario asks for of one target: one, one for each of several loads, repeated ones, or a search."""

from collections.abc import Callable, Iterator

import attrs

from loadtest.figures.numbers import plain, several
from loadtest.figures.result import RunResult
from loadtest.plan.scenario import Scenario
from loadtest.run.searching import LoadRule, SearchTeller, search
from loadtest.run.under_way import Runner


@attrs.frozen
class PlannedRun:
    """One run of a series; ``label`` tells it from the others of its target."""

    scenario: Scenario
    label: str = ""


def planned_runs(plan: Scenario) -> Iterator[PlannedRun]:
    """All runs of one target, in order: every load in turn, and that as often as is asked for, so that what changes
    with time changes for all. Repeated ones differ in their seed, or they would show too little chance."""
    for turn in range(plan.repeat):
        for load in plan.loads or (None,):
            once = attrs.evolve(plan, repeat=1) if load is None else plan.at(load)
            labels = [label_of(plan, load)] if load is not None else []
            labels += [f"run {turn + 1}"] if plan.repeat > 1 else []
            yield PlannedRun(attrs.evolve(once, seed=plan.seed + turn), ", ".join(labels))


def label_of(plan: Scenario, load: float) -> str:
    """A load in a few words."""
    if plan.open_loop:
        return f"{plain(load)}/s"
    return several(load, "client")


async def runs_of(
    plan: Scenario, target: str, run: Runner, rule: Callable[[], LoadRule], teller: SearchTeller
) -> list[RunResult]:
    """All of them, up to one that was interrupted. ``rule`` is what must hold of a load, where one is searched for."""
    if plan.search is not None:
        return [await search(plan, target, plan.search, run, rule(), teller)]
    found: list[RunResult] = []
    for planned in planned_runs(plan):
        result = await run(planned.scenario, target)
        found.append(attrs.evolve(result, label=planned.label))
        if result.interrupted:
            break
    return found
