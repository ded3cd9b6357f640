"""The row of steps that check, mask, refuse or record texts, and their code for commands."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from gateway.config.settings import Config
from gateway.features.steps.settings import StepKeys, StepSettings, has_unresolved, steps_of
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.features.steps.advice import consequences, describe_step, steps_changing_lane, steps_of_request
    from gateway.features.steps.harness import StepHarness
    from gateway.features.steps.kinds import KINDS
    from gateway.features.steps.loaded import LoadedStep, StepSet
    from gateway.features.steps.loading import load_steps, try_steps
    from gateway.seams.running import Running

__all__ = [
    "KINDS", "LoadedStep", "StepHarness", "StepKeys", "StepSet", "StepSettings", "consequences", "describe_step",
    "has_unresolved", "load_steps", "steps_changing_lane", "steps_of", "steps_of_request", "try_steps",
]  # fmt: skip

_CHECKS: Final = "gateway.features.steps.setting_checks"

_MODULES: Final = {
    "KINDS": "kinds",
    "LoadedStep": "loaded",
    "StepHarness": "harness",
    "StepSet": "loaded",
    "consequences": "advice",
    "describe_step": "advice",
    "load_steps": "loading",
    "steps_changing_lane": "advice",
    "steps_of_request": "advice",
    "try_steps": "loading",
}
"""The modules of the names that commands use, imported with their first use."""


def __getattr__(name: str) -> Any:
    """Return a name of ``_MODULES``."""
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"{__package__}.{_MODULES[name]}"), name)


def is_wanted(config: Config) -> bool:
    """Return whether ``config`` has steps."""
    return bool(steps_of(config))


def opened_steps(features: "Mapping[str, Running]") -> "StepSet | None":
    """Return the steps of a service's ``features``, if it has any."""
    return getattr(features.get("steps"), "steps", None)


FEATURE: Final = Feature(
    "steps",
    "gateway.features.steps.opening:open_steps",
    is_wanted,
    keys=(Keys(Config, StepKeys),),
    build=f"{_CHECKS}:build_steps",
    unsafe=f"{_CHECKS}:unsafe_steps",
)
