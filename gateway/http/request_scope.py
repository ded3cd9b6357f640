"""The life of one request: the nursery of its tasks, its id, and what is settled when it has ended.

The client leaving cancels the nursery, and with it everything done on the client's behalf. A half-closed connection
(the client has shut its sending side down and still reads) counts as left, because a server cannot tell the two apart:
no LLM client does that.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import trio

log = logging.getLogger("trigate.scope")


class RequestScope:
    """The part of a request's life that a route needs.

    ``nursery`` holds every task of the request; one that raises ends the request. ``id`` names the request in logs: the
    client's own ``x-request-id`` where that is 1 to 128 printable ASCII characters, else a new one. ``left`` says that
    the client went away before its answer was complete, ``complete`` that the answer was wholly given to the kernel.
    Both are false for an answer that was cut on our side. ``address`` is the client's, where it has one.
    """

    def __init__(self, nursery: trio.Nursery, request_id: str, address: str | None = None) -> None:
        self.nursery = nursery
        self.id = request_id
        self.address = address
        self.left = False
        self.complete = False
        self.ending = False
        """The last of the answer is being given to the kernel: a disconnect that is reported now is no leaving."""
        self.admitted = False
        """It holds a place, or has held one."""
        self._before_last: list[Callable[[], object]] = []
        self._callbacks: list[Callable[[bool], object]] = []
        self._held: list[Callable[[], object]] = []
        self._held_text: list[Callable[[], object]] = []

    def on_close(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback(left)`` exactly once, synchronously, after every task of the request has ended, however it
        ended. What it raises is logged and does not keep the others from being called."""
        self._callbacks.append(callback)

    def on_last_bytes(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` before the last bytes of the answer are sent, after which the client may send its next
        request; perhaps never."""
        self._before_last.append(callback)

    def send_last_bytes(self) -> None:
        """Note that the last bytes of the answer are about to be sent."""
        callbacks, self._before_last = self._before_last, []
        for callback in callbacks:
            callback()

    def hold(self, give_back: Callable[[], object]) -> None:
        """Call ``give_back()`` exactly once: as soon as the answer is complete, before its client can ask again, else
        when the request is closed. Not when the client leaves: its tasks may take a while to end."""
        self.admitted = True
        self._held.append(give_back)

    def hold_text(self, give_back: Callable[[], object]) -> None:
        """The same for what goes with the text of the request, at ``release_text`` at the latest."""
        self._held_text.append(give_back)

    def release_text(self) -> None:
        """Give back what goes with the text of the request, which nobody needs any more."""
        held, self._held_text = self._held_text, []
        for give_back in held:
            give_back()

    def _give_back(self) -> None:
        if self._held_text:
            self.release_text()
        held, self._held = self._held, []
        for give_back in held:
            give_back()

    def detach(self) -> Callable[[], None]:
        """Call nobody back when the request ends: what was to be settled then goes on without it, and is settled by
        whoever runs it. So does what is held, which that one gives back by calling what is returned."""
        self._callbacks.clear()
        self._before_last.clear()
        rest = RequestScope(self.nursery, self.id)
        rest._held, self._held = self._held, []
        rest._held_text, self._held_text = self._held_text, []
        return rest.close

    @contextlib.asynccontextmanager
    async def part(self, request_id: str) -> AsyncIterator["RequestScope"]:
        """Open the scope of one of several exchanges on a connection, whose scope this is. Its nursery ends with the
        block: whatever is still running in it is cancelled. Its callbacks run then."""
        part: RequestScope | None = None
        try:
            async with trio.open_nursery() as nursery:
                part = RequestScope(nursery, request_id, self.address)
                yield part
                nursery.cancel_scope.cancel()
        finally:
            if part is not None:
                part.left = self.left
                part.close()

    def leave(self) -> None:
        """Note that the client has left, and end the request; one whose last bytes are being sent ends by itself."""
        if self.ending:
            self._give_back()
        else:
            self.left = True
            self.nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Run the callbacks of ``on_close``; every task has ended."""
        if self._held or self._held_text:
            self._give_back()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback(self.left)
            except Exception:  # the border: a mistake in settling one request must not end the connection
                log.exception("request %s: a callback failed at the end of the request", self.id)


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
