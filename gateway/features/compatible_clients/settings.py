"""The key ``compatibility``."""

from typing import Literal, TypeAlias

import attrs

from configfile.keys import part_of, setting
from gateway.config.settings import Config

Compatibility: TypeAlias = Literal["azure", "litellm"]
"""A server whose paths and key headers clients may use."""


@attrs.frozen
class CompatibilityKeys:
    """The keys of the root."""

    compatibility: tuple[Compatibility, ...] = setting(
        "The servers whose paths and key headers [clients may use](migrating.md#changes-that-clients-notice): `azure`, "
        "`litellm`.",
        (),
    )


def compatibility_of(config: Config) -> tuple[Compatibility, ...]:
    """Return the servers whose paths and key headers clients may use."""
    return part_of(config, CompatibilityKeys).compatibility
