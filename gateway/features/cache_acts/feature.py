"""The row of changes of requests for providers' prompt caches."""

from typing import Final

from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.features.cache_acts.settings import EntryCacheKeys, PlanoCacheKeys, acts_of
from gateway.seams.feature import Feature, Keys

FEATURE: Final = Feature(
    "cache_acts",
    "gateway.features.cache_acts.opening:open_cache_acts",
    lambda config: any(wanted is not None and wanted.acts for wanted in map(acts_of, config.entries)),
    keys=(Keys(ModelEntry, EntryCacheKeys), Keys(Config, PlanoCacheKeys)),
    build="gateway.features.cache_acts.settings:build_marks",
)
