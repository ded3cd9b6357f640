"""What the sources of one run on one target have in common."""

import secrets
from typing import TYPE_CHECKING

import attrs

from loadtest.plan.recorded_load import trace_of
from loadtest.plan.traces import LoadTrace

if TYPE_CHECKING:
    from loadtest.plan.scenario import Scenario


@attrs.frozen
class SourceSetting:
    """``mark`` stands for the run and the target in the texts of prompts; ``seed`` fixes what is drawn. ``learns``:
    lengths follow what the server counts. A ``trace`` says how long the prompts are, and is sent ``speed`` times as
    fast."""

    mark: str = ""
    seed: int = 1
    learns: bool = True
    trace: LoadTrace | None = None
    speed: float = 1.0


def new_mark() -> str:
    """A mark that no other run has."""
    return secrets.token_hex(8)


def setting_of(scenario: "Scenario", target: str) -> SourceSetting:
    """The setting of a run on ``target``. The same prompts have one mark everywhere, and one length in characters."""
    trace = trace_of(scenario.trace) if scenario.trace else None
    if scenario.same_prompts:
        return SourceSetting(f"seed {scenario.seed}", scenario.seed, learns=False, trace=trace, speed=scenario.speed)
    return SourceSetting(f"{scenario.mark or new_mark()} {target}", scenario.seed, trace=trace, speed=scenario.speed)
