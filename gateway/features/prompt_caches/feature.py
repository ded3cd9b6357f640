"""The row of explanations of misses of providers' prompt caches."""

from typing import Final

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.prompt_caches.settings import PromptCacheKeys
from gateway.seams.feature import Feature, Keys


def is_wanted(config: Config) -> bool:
    """Return whether ``config`` does not switch them off."""
    return part_of(config, PromptCacheKeys).prompt_cache is not False


FEATURE: Final = Feature(
    "prompt_caches",
    "gateway.features.prompt_caches.opening:open_prompt_caches",
    is_wanted,
    keys=(Keys(Config, PromptCacheKeys),),
    build="gateway.features.prompt_caches.settings:build_texts",
)
