"""How long a provider may be silent, as configurations say it."""

import attrs

from configfile.keys import setting
from configfile.kinds import TimeLimit, Wait


@attrs.frozen
class Timeouts:
    """Limits on an upstream's silence, in seconds; ``None`` is no limit."""

    connect: Wait = setting("To open a connection to the provider.", 5.0)
    first_byte: TimeLimit = setting(
        "From the request to the head of the answer: reasoning models think before it.", 600.0
    )
    idle: TimeLimit = setting(
        "The longest silence inside an answer. While the client is the slow one, it does not count.",
        300.0,
    )
    total: TimeLimit = setting("A whole answer.", None, shown="no limit")
