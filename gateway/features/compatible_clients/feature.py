"""The row of clients of other servers, and the key ``compatibility``."""

from typing import Final, Literal, TypeAlias

import attrs

from configfile.keys import part_of, setting
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys

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


_ALLOW: Final = "set `compatibility: [{}]` in the gateway's configuration"
_LITELLM: Final = _ALLOW.format("litellm")

FEATURE: Final = Feature(
    "compatible_clients",
    "gateway.features.compatible_clients.opening:open_compatible_clients",
    lambda config: bool(compatibility_of(config)),
    keys=(Keys(Config, CompatibilityKeys),),
    served_clients=(("azure", _ALLOW.format("azure")), ("invoke_model", _LITELLM), ("raw_predict", _LITELLM)),
)
