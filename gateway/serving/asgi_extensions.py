"""Extensions of ASGI that our server offers and our app uses; either works without the other's."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from hypercorn.typing import ASGIReceiveEvent

SCOPE: Final = "trigate"
"""Member of the ASGI scope that is the ``RequestScope`` of a request or websocket on Quart."""

LEFT: Final = "trigate.left"
"""Member of the ASGI scope, true when the server lost the client before the response was wholly written."""

AT_ONCE: Final = "trigate.at_once"
"""Member of the ASGI scope, true for an answer that is at hand and sent at once or not at all: to a request that was
not admitted, or that failed. Nobody waits for its client."""

WRITE_NOW: Final = "trigate.write_now"
"""The ASGI extension that is the server's ``WriteNow``, where it has one."""

OnArriving: TypeAlias = Callable[[Callable[[int], object]], object]
"""Takes a callback, which is called synchronously with the bytes that are there of a websocket's message, 0 once it is
whole and passed on."""

ON_ARRIVING: Final = "trigate.on_arriving"
"""The ASGI extension that is the server's ``OnArriving``."""


class MessageTaker(Protocol):
    """Takes a websocket's messages, one at a time: while it does nothing more is read from the client's connection."""

    async def take(self, message: str | bytes) -> None: ...

    def closed(self, code: int, reason: str) -> None:
        """The client has closed the websocket, with this ``code`` (1005 for none)."""
        ...


TakeMessages: TypeAlias = Callable[[MessageTaker], object]
"""Gives a websocket's messages to one who takes them, in the place of ASGI's queue, which has no bound."""

TAKE_MESSAGES: Final = "trigate.take_messages"
"""The ASGI extension that is the server's ``TakeMessages``."""

OnLeaving: TypeAlias = Callable[[Callable[[], object]], object]
"""Takes a callback, which is called synchronously as soon as the client is gone or its answer complete."""

ON_LEAVING: Final = "trigate.on_leaving"
"""The ASGI extension that is the server's ``OnLeaving``. Without it a task of the request waits for ASGI's message."""

PaceBody: TypeAlias = Callable[[], Callable[[int], object]]
"""Lets no more of a request's body be read from the client than the app takes: gives what is to be called with the
bytes that were taken each time. ASGI's queue has no bound."""

PACE_BODY: Final = "trigate.pace_body"
"""The ASGI extension that is the server's ``PaceBody``."""

TakeNow: TypeAlias = Callable[[], ASGIReceiveEvent | None]
"""Takes the next message of a request if it has come, else ``None``."""

TAKE_NOW: Final = "trigate.take_now"
"""The ASGI extension that is the server's ``TakeNow``."""

OnReading: TypeAlias = Callable[[], Awaitable[object]]
"""Lets a client send its body that waits for a word that it is wanted (RFC 9110, section 10.1.1)."""

ON_READING: Final = "trigate.on_reading"
"""The ASGI extension that is the server's ``OnReading``, where the client waits."""
