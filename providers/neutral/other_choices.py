"""The choices of a stream besides the first one, whose events only pass through the gateway."""

from typing import Any, Final

_MOST: Final = 128
"""The most choices that are noted, which is OpenAI's limit."""


class OtherChoices:
    """The other choices of one stream, and whether each has ended. A stream that breaks before is incomplete."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: set[int] = set()

    def note(self, index: Any, *, has_ended: bool) -> None:
        """Note an event of the choice ``index``, and whether it is the last one."""
        if type(index) is not int:
            return
        if has_ended:
            self._running.discard(index)
        elif len(self._running) < _MOST:
            self._running.add(index)

    @property
    def have_ended(self) -> bool:
        """True if no choice is unfinished."""
        return not self._running
