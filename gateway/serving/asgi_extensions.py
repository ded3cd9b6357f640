"""The types of ASGI, and the extensions that this server offers and this app uses; both also work without the other.

``hypercorn.typing`` has more exact types, but imports ``multiprocessing`` and h2."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

AsgiScope: TypeAlias = dict[str, Any]
AsgiMessage: TypeAlias = Mapping[str, Any]
AsgiReceive: TypeAlias = Callable[[], Awaitable[AsgiMessage]]
AsgiSend: TypeAlias = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]  # frameworks have their own types

SCOPE: Final = "trigate"
"""The key in the ASGI scope for the ``RequestScope`` of a request or websocket on Quart."""

CLIENT_LEFT: Final = "trigate.left"
"""The key in the ASGI scope that is true if the client disconnected before the whole response was written."""

IMMEDIATE: Final = "trigate.at_once"
"""The key in the ASGI scope that is true for the response to a rejected or failed request: if it cannot be sent
immediately, it is dropped."""

INVALID_BODY: Final = "trigate.invalid_body"
"""The type of the message that the rest of the request's body cannot be read."""

WRITE_NOW: Final = "trigate.write_now"
"""The ASGI extension with the server's ``WriteNow``."""

OnArriving: TypeAlias = Callable[[Callable[[int], object]], object]
"""Takes a callback, which is called synchronously with the size of the arrived part of a websocket's message, and 0
after the whole message."""

ON_ARRIVING: Final = "trigate.on_arriving"
"""The ASGI extension with the server's ``OnArriving``."""


class MessageTaker(Protocol):
    """Receives a websocket's messages, one at a time. Nothing more is read from the client until it returns."""

    async def take(self, message: str | bytes) -> None:
        """Take ``message``, or nothing of it if cancelled: it is then passed again."""

    def note_close(self, code: int, reason: str) -> None:
        """Note that the client closed the websocket with this ``code`` (1005 for none), or sent an invalid frame
        (1006)."""


TakeMessages: TypeAlias = Callable[[MessageTaker], object]
"""Passes a websocket's messages to a ``MessageTaker`` instead of ASGI's queue, which is unbounded."""

TAKE_MESSAGES: Final = "trigate.take_messages"
"""The ASGI extension with the server's ``TakeMessages``."""

OnLeaving: TypeAlias = Callable[[Callable[[], bool]], object]
"""Takes a callback, which is called synchronously when the client disconnects or its response is complete. The callback
returns whether the request has a slot."""

ON_LEAVING: Final = "trigate.on_leaving"
"""The ASGI extension with the server's ``OnLeaving``. Without it a task of the request waits for ASGI's message."""

PaceBody: TypeAlias = Callable[[], Callable[[int], object]]
"""Makes the server read a request's body only as fast as the app takes it, because ASGI's queue is unbounded. Returns a
function to call with the number of bytes taken."""

PACE_BODY: Final = "trigate.pace_body"
"""The ASGI extension with the server's ``PaceBody``."""

TakeNow: TypeAlias = Callable[[], AsgiMessage | None]
"""Returns the next message of a request if it has arrived, otherwise ``None``."""

TAKE_NOW: Final = "trigate.take_now"
"""The ASGI extension with the server's ``TakeNow``."""

NURSERY: Final = "trigate.nursery"
"""The ASGI extension with the server's context manager of a nursery for the request."""

OnReading: TypeAlias = Callable[[], Awaitable[object]]
"""Asks a client that waits for 100 (Continue) to send its body (RFC 9110, section 10.1.1)."""

ON_READING: Final = "trigate.on_reading"
"""The ASGI extension with the server's ``OnReading``, if the client waits."""
