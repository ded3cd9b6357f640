"""The row of joined answers, and their keys."""

from typing import Final

import attrs

from configfile.keys import part_of, setting
from configfile.kinds import Wait
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys


@attrs.frozen
class Repeats:
    """The handling of requests that a client sends again."""

    join: Wait = setting(
        "When a client leaves before the end of its answer, read the provider's stream for this long, at most 15 "
        "minutes. The same request of the same key then continues that answer.",
        shown="",
    )


@attrs.frozen
class RepeatsKeys:
    """The keys of the root."""

    repeats: Repeats | None = setting(
        "Let a repeated request [join](repeats.md) the answer that it has left.", None, shown="never"
    )


FEATURE: Final = Feature(
    "joined",
    "gateway.features.joined.opening:open_joined",
    lambda config: part_of(config, RepeatsKeys).repeats is not None,
    keys=(Keys(Config, RepeatsKeys),),
    build="gateway.features.joined.checks:check_repeats",
)
