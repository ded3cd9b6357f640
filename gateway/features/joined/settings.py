"""The keys of joined answers."""

import attrs

from configfile.keys import setting
from configfile.kinds import Wait


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
