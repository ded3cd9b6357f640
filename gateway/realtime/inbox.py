"""The messages of a session's client, taken from the server one at a time."""

import contextlib
from collections.abc import Callable

import trio

from gateway.access.body_memory import HeldBody
from gateway.realtime.closing import TOO_LARGE, TRY_AGAIN, Closing, fitting
from gateway.upstream.websocket import Piece
from streams.errors import GatewayError

ClientEnd = Callable[[int, str], object]
"""Called with the code and the reason of the client's close."""

Refuse = Callable[[Closing], object]
"""Called where the client has sent what cannot be taken."""


class ClientInbox:
    """The server's ``MessageTaker``: while a message waits here nothing more is read from the client. ``largest`` is
    the bound on one in bytes; what is there of it is ``held``."""

    def __init__(self, held: HeldBody, largest: int) -> None:
        self._held = held
        self._largest = largest
        self._put, self._taken = trio.open_memory_channel[Piece](0)
        self.closing: Closing | None = None
        """What the client has been closed for before anybody followed."""
        self._on_end: ClientEnd = _nobody_listens
        self._on_refusal: Refuse = self._note

    def follow(self, on_end: ClientEnd, on_refusal: Refuse) -> None:
        """Tell of the client's end, and of messages that cannot be taken."""
        self._on_end, self._on_refusal = on_end, on_refusal

    def _note(self, closing: Closing) -> None:
        self.closing = closing

    async def take(self, message: Piece) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if len(message) > self._largest:
                self._refuse_size()
            else:
                await self._put.send(message)

    def closed(self, code: int, reason: str) -> None:
        self._on_end(code, reason)

    def arrives(self, size: int) -> None:
        """So many bytes of a message are there; 0 once it is whole."""
        if size > self._largest:
            self._refuse_size()
            return
        try:
            self._held.arrive(size)
        except GatewayError as error:
            self._on_refusal(Closing(TRY_AGAIN, fitting(error.failed.message)))

    def _refuse_size(self) -> None:
        self._on_refusal(Closing(TOO_LARGE, f"a message is larger than the limit of {self._largest} bytes"))

    async def receive(self) -> Piece:
        """The next message."""
        return await self._taken.receive()

    def close(self) -> None:
        """Take nothing any more."""
        self._taken.close()


def _nobody_listens(code: int, reason: str) -> None:
    return
