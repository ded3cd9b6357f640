"""The row of steps that check, mask, refuse or record texts, and their code for commands."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from gateway.config.settings import Config
from gateway.features.steps.settings import StepKeys, StepSettings, has_unresolved, steps_of
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.features.steps.advice import consequences, describe_step, steps_changing_lane, steps_of_request
    from gateway.features.steps.endpoints import closed_endpoints
    from gateway.features.steps.exemptions import exemptions
    from gateway.features.steps.harness import StepHarness
    from gateway.features.steps.json_texts import NotJson
    from gateway.features.steps.kinds import DEFAULT_PARTS, KINDS, KindContext
    from gateway.features.steps.loaded import LoadedStep, StepSet
    from gateway.features.steps.loading import installed_steps, load_steps, try_steps
    from gateway.features.steps.resources import first_error
    from gateway.features.steps.response_texts import UnreadTexts
    from gateway.features.steps.runs import UNREAD
    from gateway.features.steps.trial import StepsTrial, TriedFinding, try_request, try_response
    from gateway.seams.running import Running

__all__ = [
    "DEFAULT_PARTS",
    "KINDS",
    "UNREAD",
    "KindContext",
    "LoadedStep",
    "NotJson",
    "StepHarness",
    "StepKeys",
    "StepSet",
    "StepSettings",
    "StepsTrial",
    "TriedFinding",
    "UnreadTexts",
    "closed_endpoints",
    "consequences",
    "describe_step",
    "exemptions",
    "first_error",
    "has_unresolved",
    "installed_steps",
    "load_steps",
    "steps_changing_lane",
    "steps_of",
    "steps_of_request",
    "try_request",
    "try_response",
    "try_steps",
]  # fmt: skip

_CHECKS: Final = "gateway.features.steps.setting_checks"

_MODULES: Final = {
    name: module
    for module, names in (
        ("advice", "consequences describe_step steps_changing_lane steps_of_request"),
        ("endpoints", "closed_endpoints"),
        ("exemptions", "exemptions"),
        ("harness", "StepHarness"),
        ("json_texts", "NotJson"),
        ("kinds", "DEFAULT_PARTS KINDS KindContext"),
        ("loaded", "LoadedStep StepSet"),
        ("loading", "installed_steps load_steps try_steps"),
        ("resources", "first_error"),
        ("response_texts", "UnreadTexts"),
        ("runs", "UNREAD"),
        ("trial", "StepsTrial TriedFinding try_request try_response"),
    )
    for name in names.split()
}
"""The module of each name of ``__all__``, imported with its first use."""


def __getattr__(name: str) -> Any:
    """Return a name of ``__all__``."""
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
    "before all features that read or send texts: they get what the steps leave",
    "gateway.features.steps.opening:open_steps",
    is_wanted,
    keys=(Keys(Config, StepKeys),),
    build=f"{_CHECKS}:build_steps",
    unsafe=f"{_CHECKS}:unsafe_steps",
)
