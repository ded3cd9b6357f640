"""Checks of the key ``repeats`` in a configuration file."""

from typing import Final

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.config_files.building import Building
from gateway.features.joined.feature import RepeatsKeys

LONGEST: Final = 900.0
"""The longest time in seconds for which an answer continues without a client."""


def check_repeats(config: Config, building: Building) -> Config:
    """Report a time that is too long, and return ``config``."""
    repeats = part_of(config, RepeatsKeys).repeats
    if repeats is not None and not 0 < repeats.join <= LONGEST:
        building.findings.wrong(
            ("repeats", "join"), "the time must be positive and at most 15 minutes", "write it like `join: 60s`"
        )
    return config
