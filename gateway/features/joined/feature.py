"""The row of joined answers: the key ``repeats``."""

from typing import Final

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.joined.settings import RepeatsKeys
from gateway.seams.feature import Feature, Keys


def is_wanted(config: Config) -> bool:
    """Return whether repeated requests join answers."""
    return part_of(config, RepeatsKeys).repeats is not None


FEATURE: Final = Feature(
    "joined",
    "gateway.features.joined.opening:open_joined",
    is_wanted,
    extends="answer_cache",
    keys=(Keys(Config, RepeatsKeys),),
    build="gateway.features.joined.checks:check_repeats",
)
