"""The viewers of the live view, and what each may see."""

import math

import attrs

from gateway.config.unlisted import Caller


@attrs.frozen
class Visitor:
    """A viewer of the live view. It sees the exchanges of ``client``, or all exchanges if that is ``None``.

    ``caller`` is the client, person or operator, ``None`` for anyone on this machine. ``by`` is the kind of its access
    for the audit log. The access ends in ``seconds_left``, or when the caller's rights change. Without
    ``sees_streams`` it sees no text of streams."""

    client: str | None = None
    by: str = "this machine"
    seconds_left: float = math.inf
    sees_streams: bool = True
    caller: Caller | None = None

    @property
    def name(self) -> str | None:
        """The name of the client or person."""
        return None if self.caller is None else self.caller.name


def visitor_of(caller: Caller, by: str, seconds_left: float) -> Visitor:
    """Return what a client or person may see: an admin everything, an auditor all but texts, all others their own
    requests."""
    client = None if caller.role in ("admin", "auditor") else caller.name
    return Visitor(client, by, seconds_left, sees_streams=caller.role != "auditor", caller=caller)
