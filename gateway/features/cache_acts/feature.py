"""The row of changes of requests for providers' prompt caches."""

from typing import TYPE_CHECKING, Final

from gateway.seams.feature import Feature

if TYPE_CHECKING:
    from gateway.config.settings import Config


def is_wanted(config: "Config") -> bool:
    """Return whether an entry of ``config`` wants changes of its requests."""
    return any(entry.prompt_cache is not None and entry.prompt_cache.acts for entry in config.entries)


FEATURE: Final = Feature(
    "cache_acts",
    "after the features that change texts: its marks count what is sent",
    "gateway.features.cache_acts.opening:open_cache_acts",
    is_wanted,
)
