"""Sessions of Gemini that can be gone on with: a handle of one is refused (1011) while its old websocket is open
(aicc2025/sip-to-ai#14)."""

from typing import Final

import trio

WAIT_SECONDS: Final = 5.0
"""How long the next session waits for the end of the one that it goes on from."""


class ResumableSessions:
    """The last handle of each open session of this process."""

    def __init__(self) -> None:
        self._open: dict[str, trio.Event] = {}

    def note(self, ended: trio.Event, handle: str) -> None:
        """The session that sets ``ended`` at its end can be gone on with by ``handle``, and by none before it."""
        self.forget(ended)
        self._open[handle] = ended

    def forget(self, ended: trio.Event) -> None:
        """That session has ended."""
        for handle in [handle for handle, event in self._open.items() if event is ended]:
            del self._open[handle]

    async def wait(self, handle: str) -> None:
        """Wait for the end of the session of ``handle``, if it is open here."""
        if (ended := self._open.get(handle)) is not None:
            with trio.move_on_after(WAIT_SECONDS):
                await ended.wait()
