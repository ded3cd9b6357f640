"""The viewers of the live view, and what each may see."""

import math

import attrs


@attrs.frozen
class Visitor:
    """A viewer of the live view. It sees the exchanges of ``client``, or all exchanges if that is ``None``.

    ``by`` is the kind of its access for the audit log. The access ends in ``seconds_left``. Without ``sees_streams`` it
    sees no text of streams."""

    client: str | None = None
    by: str = "this machine"
    seconds_left: float = math.inf
    sees_streams: bool = True
