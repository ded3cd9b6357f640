"""The row of steps that check, mask, refuse or record texts."""

from typing import TYPE_CHECKING, Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.features.steps.loaded import StepSet
    from gateway.seams.running import Running


def is_wanted(config: Config) -> bool:
    """Return whether ``config`` has steps."""
    return bool(config.steps)


def opened_steps(features: "Mapping[str, Running]") -> "StepSet | None":
    """Return the steps of a service's ``features``, if it has any."""
    return getattr(features.get("steps"), "steps", None)


FEATURE: Final = Feature(
    "steps",
    "before all features that read or send texts: they get what the steps leave",
    "gateway.features.steps.opening:open_steps",
    is_wanted,
)
