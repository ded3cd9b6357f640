"""What an exchange leaves behind for the next one: the seam between a stream and the store."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

import attrs
import trio

from gateway.http.headers import Headers
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from gateway.stores.store import Store, Unavailable
from gateway.streaming.progress import StreamProgress
from providers.neutral.codec import Reply, Writer
from streams.errors import GatewayError
from streams.fold import Answer

STORE_SECONDS = 10.0
"""The longest that a request waits for the store."""


@attrs.frozen
class StateScope:
    """Where a client's turns are kept: under ``owner``'s name in ``store``, none if nothing is. What the client wants
    not to be stored is still remembered in ``local``, as long as the connection lives that has one."""

    owner: str
    store: Store | None
    local: Store | None = None


@attrs.frozen
class StateOptions:
    """What a request says of state. ``store`` is ``None`` where it says nothing, which is yes. ``refers``: it may refer
    to items of earlier turns; ``compacts``: it may ask for a compaction, which only providers that keep state know."""

    previous: str | None = None
    conversation: str | None = None
    store: bool | None = None
    background: bool = False
    refers: bool = False
    compacts: bool = False

    @property
    def stores(self) -> bool:
        return self.store is not False

    @property
    def matters(self) -> bool:
        """Whether the client counts on what is stored: a failure to store is a failure of the turn."""
        if self.conversation is not None:  # it goes on, whether or not the response itself is stored
            return True
        return self.stores and (self.store is True or self.previous is not None or self.background)


class TurnRecorder(Protocol):
    """One turn of a conversation that is kept here. It goes through the hub lane, because its answer needs an id of
    ours: a provider's may come twice.

    Nothing is kept before the client has been told an id by which it could ask for it. Raises nothing of its own but
    where it says so; cancelled, it has kept the turn wholly or not at all."""

    def reply(self, reply: Reply) -> Reply:
        """``reply`` with what only the gateway knows: the answer's id, what is kept of it."""
        ...

    def writer(self, writer: Writer) -> Writer:
        """The stream's ``writer``, or one that reads along."""
        ...

    def passes(self, data: bytes, seen: StreamProgress) -> bool:
        """Whole events on their way to the client, every one in turn; ``seen`` tells whether they are the last. False:
        they do not go before ``keep`` has been called with them."""
        ...

    async def keep(self, data: bytes, seen: StreamProgress) -> bytes:
        """Keep the turn. What goes to the client then: ``data``, or where that fails and matters other events in its
        place."""
        ...

    async def broken_off(self) -> None:
        """The client has left in mid-stream. Called in a shielded scope; bounded."""
        ...

    async def whole(self, body: bytes, answer: Answer) -> bytes:
        """The same for an answer that is not streamed: ``body`` is what the client is to get, and what it gets is
        returned. Raises ``GatewayError``."""
        ...


@attrs.frozen
class Recalled:
    """A request with all it refers to. ``headers`` tell the client what could not be done as it wished."""

    incoming: Incoming
    target: Target
    keeping: TurnRecorder | None = None
    headers: Headers = ()


@contextlib.contextmanager
def patience(doing: str, *, shield: bool = False) -> Iterator[None]:
    """A block that waits for the store. Raises ``GatewayError`` (503) where that is down or takes too long. With
    ``shield`` only that ends it, and no cancellation."""
    try:
        with trio.fail_after(STORE_SECONDS, shield=shield):
            yield
    except trio.TooSlowError:
        raise unavailable(f"could not {doing}: the store did not answer within {STORE_SECONDS:g} s") from None
    except Unavailable as error:
        raise unavailable(f"could not {doing}: {error}") from None


def unavailable(message: str) -> GatewayError:
    """The store is down, and the request cannot do without it."""
    return GatewayError("internal", message, status=503, headers=(("retry-after", "5"),))
