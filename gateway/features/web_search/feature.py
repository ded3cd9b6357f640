"""The row of web searches by the gateway."""

from typing import Final

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.web_search.settings import WebSearchKeys
from gateway.seams.feature import Feature, Keys


def _searches(config: Config) -> bool:
    return part_of(config, WebSearchKeys).web_search is not None


FEATURE: Final = Feature(
    "web_search",
    "gateway.features.web_search.opening:open_web_search",
    _searches,
    keys=(Keys(Config, WebSearchKeys),),
    build="gateway.features.web_search.checks:build_web_search",
)
