"""The lifetime of one request: the nursery of its tasks, its id, and its callbacks.

A client that disconnects cancels the nursery and all work for the client. A half-closed connection counts as
disconnected, because a server cannot distinguish the two, and no LLM client half-closes."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import trio

from streams.pipe import Watch

log = logging.getLogger("trigate.scope")


class AnswerAccount(Protocol):
    """The memory of a response that is read completely."""

    @property
    def next_size(self) -> int:
        """The size in bytes beyond which ``reach`` must be called again."""

    async def reach(self, size: int, watch: Watch) -> None:
        """Count ``size`` bytes of the response, which were read. If the client has no memory left, wait for it."""


class RequestScope:
    """The part of a request's lifetime that a route needs.

    ``nursery`` holds every task of the request; an exception in one ends the request. ``id`` names the request in logs:
    the client's ``x-request-id`` if it has 1 to 128 printable ASCII characters, otherwise a new one. ``left``: the
    client disconnected before its response was complete. ``complete``: the kernel has the whole response. Both are
    false if the gateway cut the response. ``address`` is the client's, if known."""

    def __init__(
        self,
        nursery: trio.Nursery,
        request_id: str,
        address: str | None = None,
        whole: "RequestScope | None" = None,
    ) -> None:
        """Begin the scope of a request, or of an exchange of the connection ``whole``."""
        self.nursery = nursery
        self.id = request_id
        self.address = address
        self._whole = whole
        self.left = False
        self.complete = False
        self.ending = False
        """The end of the response is being sent; a disconnect now does not count."""
        self.admitted = False
        """The request has or had a slot."""
        self.answer_memory: AnswerAccount | None = None
        """The account of a large response that is read completely, by all attempts of the request."""
        self._before_last: list[Callable[[], object]] = []
        self._callbacks: list[Callable[[bool], object]] = []
        self._held: list[Callable[[], object]] = []
        self._places: list[Callable[[], object]] = []
        self._held_text: list[Callable[[], object]] = []

    @property
    def has_left(self) -> bool:
        """Whether the client disconnected, also if only the scope of its connection knows that yet."""
        return self.left or (self._whole is not None and self._whole.left)

    def on_close(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback(left)`` exactly once after every task of the request has ended, without waiting.

        Its exceptions are logged and do not affect other callbacks."""
        self._callbacks.append(callback)

    def on_last_bytes(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` before the last bytes of the response are sent, if they are.

        The client may send its next request after them."""
        self._before_last.append(callback)

    def send_last_bytes(self) -> None:
        """Note that the last bytes of the response are about to be sent."""
        callbacks, self._before_last = self._before_last, []
        for callback in callbacks:
            callback()

    def hold(self, release: Callable[[], object]) -> None:
        """Call ``release()`` exactly once: when the response is complete, before the client can send another request,
        or when the request is closed.

        A disconnect alone does not call it, because the tasks may take a while to end."""
        self.admitted = True
        self._held.append(release)

    def hold_place(self, release: Callable[[], object]) -> None:
        """Call ``release()`` exactly once, as ``hold`` does or at ``release_places``."""
        self._places.append(release)
        self.hold(release)

    def release_places(self) -> None:
        """Call the callbacks of ``hold_place``: the client has disconnected, and may repeat the request meanwhile.

        Other code bounds the number of such requests."""
        for release in self._places:
            if release in self._held:
                self._held.remove(release)
                release()

    def hold_text(self, release: Callable[[], object]) -> None:
        """Call ``release()`` exactly once, at ``release_text`` at the latest."""
        self._held_text.append(release)

    def release_text(self) -> None:
        """Call the callbacks of ``hold_text``, because the request's text is no longer needed."""
        held, self._held_text = self._held_text, []
        for release in held:
            release()

    def _release_held(self) -> None:
        if self._held_text:
            self.release_text()
        held, self._held = self._held, []
        for release in held:
            release()

    def detach(self) -> Callable[[], None]:
        """Drop all callbacks, because other code completes the request's work after its end.

        That code calls the returned function to release what the request holds."""
        self._callbacks.clear()
        self._before_last.clear()
        rest = RequestScope(self.nursery, self.id)
        rest._held, self._held = self._held, []
        rest._held_text, self._held_text = self._held_text, []
        return rest.close

    @contextlib.asynccontextmanager
    async def part(self, request_id: str) -> AsyncIterator["RequestScope"]:
        """Open the scope of one of several exchanges on this scope's connection.

        At the end of the block its nursery is cancelled and its callbacks run."""
        part: RequestScope | None = None
        try:
            async with trio.open_nursery() as nursery:
                part = RequestScope(nursery, request_id, self.address, self)
                yield part
                nursery.cancel_scope.cancel()
        finally:
            if part is not None:
                part.left = self.left
                part.close()

    def leave(self) -> bool:
        """Note that the client disconnected, and end the request unless its last bytes are being sent.

        Return whether it has a slot: ``limits.in_flight`` bounds the number of such requests, also if they continue
        (``release_places`` excepted).
        """
        if self.ending:
            self._release_held()
        else:
            self.left = True
            self.nursery.cancel_scope.cancel()
        return self.admitted

    def close(self) -> None:
        """Run the callbacks of ``on_close``; every task has ended."""
        if self._held or self._held_text:
            self._release_held()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback(self.left)
            except Exception:  # the boundary: an error in one request's callback must not end the connection
                log.exception("request %s: a callback failed at the end of the request", self.id)


CONNECTION: Final = "trigate.connection"
"""The ASGI extension with the ``ConnectionPlace`` of a request's connection, if the server has one."""


class ConnectionPlace:
    """A client's connection. The client of the last admitted request holds it. ``end`` closes it once no request is
    running on it."""

    def __init__(self, end: Callable[[], object]) -> None:
        self.holder = ""
        self.end = end
        self._release: Callable[[], object] = _do_nothing

    def hold(self, holder: str, release: Callable[[], object]) -> None:
        """Let ``holder`` hold the place until another client takes it or the connection closes; then call
        ``release()``."""
        self._release()
        self.holder, self._release = holder, release

    def close(self) -> None:
        """Handle the end of the connection."""
        self.hold("", _do_nothing)
        self.end = _do_nothing


def _do_nothing() -> None:
    return
