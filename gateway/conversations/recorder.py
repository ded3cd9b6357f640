"""The interface by which an exchange has its turn stored."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from gateway.routing.target import Target
from gateway.stores.store import Node
from gateway.streaming.progress import StreamProgress
from providers.neutral.codec import Reply, Writer
from streams.fold import Answer


class DetachableTurn(Protocol):
    """A turn that runs without its client, and is stored by whoever runs it."""

    id: str
    persisted: bool
    """It is stored as it ended."""

    async def nodes(self, response: Mapping[str, Any], events: bytes) -> tuple[list[Node], list[Any]]:
        """The nodes to be stored of ``response``, and the items that it adds to its conversation. Cancellation waits
        for it."""
        ...


class TurnRecorder(Protocol):
    """Stores one turn of a conversation, as its answer goes to the client.

    Nothing is stored before the client knows an id by which it could ask for it. Methods raise nothing of their own but
    where they say so; a method that is cancelled has stored the turn wholly or not at all."""

    @property
    def records(self) -> bool:
        """Anything may be stored. Without this only ``reply`` and ``writer`` need to be called."""
        ...

    @property
    def continues(self) -> bool:
        """Whether the turn refers to earlier turns that are stored, or adds to a conversation."""
        ...

    @property
    def background(self) -> DetachableTurn | None:
        """The turn itself where it goes on without its client, begun by ``Background.start``."""
        ...

    def reply(self, reply: Reply) -> Reply:
        """``reply`` with what only the gateway knows: the answer's id, what is kept of it."""
        ...

    def writer(self, writer: Writer) -> Writer:
        """The stream's ``writer``, or one that reads along."""
        ...

    def answered_by(self, target: Target, writer: Writer | None = None) -> None:
        """Store the answer of ``target``, which goes to the client. ``self.writer`` returned ``writer`` for its stream;
        a hedged request has two targets, each with its own. Called before anything is stored."""
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
    continues = False
    background = None

    def reply(self, reply: Reply) -> Reply:
        return reply

    def writer(self, writer: Writer) -> Writer:
        return writer

    def answered_by(self, target: Target, writer: Writer | None = None) -> None:
        return

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
