"""The row of steps that check, mask, refuse or record texts."""

from typing import TYPE_CHECKING, Final

from gateway.config.settings import Config
from gateway.features.steps.settings import StepKeys, steps_of
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from gateway.features.steps.harness import StepHarness

_CHECKS: Final = "gateway.features.steps.setting_checks"
_ADVICE: Final = "gateway.features.steps.advice"


def harness_class() -> "type[StepHarness]":
    """Return the class that runs steps in tests."""
    from gateway.features.steps.harness import StepHarness  # imported only where it is needed

    return StepHarness


FEATURE: Final = Feature(
    "steps",
    "gateway.features.steps.opening:open_steps",
    lambda config: bool(steps_of(config)),
    keys=(Keys(Config, StepKeys),),
    build=f"{_CHECKS}:build_steps",
    advice=f"{_CHECKS}:ADVICE",
    unsafe=f"{_CHECKS}:unsafe_steps",
    judge=f"{_ADVICE}:judge_steps",
    trial=f"{_ADVICE}:open_once",
    explain=f"{_ADVICE}:explain_steps",
    schema=f"{_ADVICE}:add_kinds",
)
