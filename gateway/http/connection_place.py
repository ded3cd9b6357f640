"""Whose a client's connection is."""

from collections.abc import Callable
from typing import Final

CONNECTION: Final = "trigate.connection"
"""The ASGI extension that is the ``ConnectionPlace`` of a request's connection, where the server has one."""


class ConnectionPlace:
    """A client's connection, as a place that is held by the client whose request was last admitted on it. ``end`` ends
    it once no request is under way on it."""

    def __init__(self, end: Callable[[], object]) -> None:
        self.holder = ""
        self.end = end
        self._give_back: Callable[[], object] = _nothing

    def hold(self, holder: str, give_back: Callable[[], object]) -> None:
        """``holder`` has the place now, until another takes it or the connection closes: then ``give_back()``."""
        self._give_back()
        self.holder, self._give_back = holder, give_back

    def close(self) -> None:
        """The connection has ended."""
        self.hold("", _nothing)
        self.end = _nothing


def _nothing() -> None:
    return
