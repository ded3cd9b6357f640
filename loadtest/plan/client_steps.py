"""Steps and ramps of clients in a closed loop: which of them ask, and when."""

from collections.abc import Sequence

import attrs


@attrs.frozen
class ClientStep:
    """A stretch of ``seconds`` with so many ``clients``, or rising or falling evenly to ``to``."""

    clients: int
    seconds: float
    to: int | None = None

    @property
    def most(self) -> int:
        return max(self.clients, self.to or 0)

    def first(self, client: int, since: float) -> float | None:
        """The first moment from ``since`` on, in seconds of the step, at which the client of that number asks; ``None``
        if it does not in the rest of it."""
        end = self.clients if self.to is None else self.to
        at_first = self.clients + (end - self.clients) * since / self.seconds
        if at_first > client:
            return since
        if end <= client:
            return None
        return self.seconds * (client - self.clients) / (end - self.clients)


def next_turn_of(steps: Sequence[ClientStep], client: int, now: float) -> float | None:
    """The first moment from ``now`` on, in seconds from the begin of the first step, at which a client asks. ``None``
    if it never does again. The first step holds for what lies before it, too."""
    begun = 0.0
    for number, step in enumerate(steps):
        if now < begun + step.seconds:
            early = now < 0 and not number
            found = step.first(client, max(0.0, now - begun))
            if found is not None:
                return now if early and not found else begun + found
        begun += step.seconds
    return None
