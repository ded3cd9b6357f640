"""Limits on a provider's silence, as keys of the configuration."""

from typing import Final

import attrs

from configfile.keys import setting
from configfile.kinds import TimeLimit, Wait


@attrs.frozen(repr=False)
class Timeouts:
    """Limits on a provider's silence, in seconds; ``None`` is no limit."""

    connect: Wait = setting("The time to open a connection to the provider.", 5.0)
    first_byte: TimeLimit = setting(
        "The time to the headers, then (at least `idle`) to the first byte.",
        600.0,
    )
    idle: TimeLimit = setting(
        "The longest silence within a response, without waits for a slow client.",
        600.0,
    )
    progress: TimeLimit = setting(
        "The longest time in which a provider sends only keep-alives: comments, pings, empty events of a conversation.",
        3600.0,
    )
    total: TimeLimit = setting("The time for a whole response.", None, shown="no limit")


UNLIMITED: Final = Timeouts(first_byte=None, idle=None, progress=None, total=None)
"""For responses that no provider sends."""
