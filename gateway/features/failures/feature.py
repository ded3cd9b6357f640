"""The row of the kept failures, and its key."""

from typing import Final

import attrs

from configfile.keys import part_of, setting
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys


@attrs.frozen
class FailureKeys:
    """The keys of the root."""

    keep_failures: bool = setting(
        "Keep the last hundred failed requests for [`trigate log` and `replay`](log.md#one-request), in at most 32 MiB "
        "of memory.",
        True,
    )


def _is_on(config: Config) -> bool:
    return part_of(config, FailureKeys).keep_failures


FEATURE: Final = Feature(
    "failures",
    "gateway.features.failures.kept:open_failures",
    _is_on,
    keys=(Keys(Config, FailureKeys),),
)
