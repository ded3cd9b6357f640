"""What an exchange leaves behind for the next one: the seam between a stream and the store."""

import contextlib
from collections.abc import Iterator
from typing import Final, Protocol

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
    """Stores one turn of a conversation, as its answer goes to the client.

    Nothing is stored before the client knows an id by which it could ask for it. Methods raise nothing of their own but
    where they say so; a method that is cancelled has stored the turn wholly or not at all."""

    @property
    def records(self) -> bool:
        """Anything may be stored. Without this only ``reply`` and ``writer`` need to be called."""
        ...

    def reply(self, reply: Reply) -> Reply:
        """``reply`` with what only the gateway knows: the answer's id, what is kept of it."""
        ...

    def writer(self, writer: Writer) -> Writer:
        """The stream's ``writer``, or one that reads along."""
        ...

    def may_pass(self, data: bytes, seen: StreamProgress) -> bool:
        """Look at whole events on their way to the client, every one in turn; ``seen`` includes them. False: they must
        not go before ``persist`` has been called with them."""
        ...

    async def persist(self, data: bytes, seen: StreamProgress) -> bytes:
        """Store the turn, and return what goes to the client: ``data``, or where that fails and matters other events in
        its place."""
        ...

    async def persist_partial(self) -> None:
        """Store what there is of a stream whose client has left. Called in a shielded scope; bounded."""
        ...

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        """Store an answer that is not streamed, and return what goes to the client, which without this would be
        ``body``. Raises ``GatewayError``."""
        ...

    async def persist_failure(self, id: str) -> None:
        """Store what has to be known of a provider's response ``id`` that failed and goes to the client, not streamed,
        in the provider's own words."""
        ...


class UnrecordedTurn:
    """The ``TurnRecorder`` of a turn of which nothing is stored."""

    records = False

    def reply(self, reply: Reply) -> Reply:
        return reply

    def writer(self, writer: Writer) -> Writer:
        return writer

    def may_pass(self, data: bytes, seen: StreamProgress) -> bool:
        return True

    async def persist(self, data: bytes, seen: StreamProgress) -> bytes:
        return data

    async def persist_partial(self) -> None:
        return

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        return body

    async def persist_failure(self, id: str) -> None:
        return


UNRECORDED: Final = UnrecordedTurn()


@attrs.frozen
class ResolvedRequest:
    """A request with all it refers to, and the recorder of its turn. ``headers`` tell the client what could not be done
    as it wished."""

    incoming: Incoming
    target: Target
    turn: TurnRecorder = UNRECORDED
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
