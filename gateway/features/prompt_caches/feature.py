"""The row of explanations of misses of providers' prompt caches."""

from typing import Final

from gateway.config.settings import Config
from gateway.features.prompt_caches.settings import PromptCacheKeys
from gateway.seams.feature import Feature, Keys

__all__ = ["FEATURE", "PromptCacheKeys"]

FEATURE: Final = Feature(
    "prompt_caches",
    "after all features that change what is sent: it compares what providers get",
    keys=(Keys(Config, PromptCacheKeys),),
    build="gateway.features.prompt_caches.settings:build_texts",
)
