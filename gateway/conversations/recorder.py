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


class TurnRecorder:
    """The recorder of one turn of a conversation, which stores it as its answer goes to the client. This one stores
    nothing; those that do inherit from it.

    Nothing is stored before the client knows an id by which it could ask for it. Methods raise nothing of their own but
    where they say so; a method that is cancelled has stored the turn wholly or not at all."""

    @property
    def records(self) -> bool:
        """Whether anything may be stored. Without this only ``reply`` and ``writer`` need to be called."""
        return False

    @property
    def continues(self) -> bool:
        """Whether the turn refers to earlier turns that are stored, or adds to a conversation."""
        return False

    @property
    def background(self) -> DetachableTurn | None:
        """The turn itself where it continues without its client, begun by ``Background.start``."""
        return None

    def reply(self, reply: Reply) -> Reply:
        """Return ``reply`` with what only the gateway knows: the answer's id, what is kept of it."""
        return reply

    def writer(self, writer: Writer) -> Writer:
        """Return the stream's ``writer``, or one that reads along."""
        return writer

    def answered_by(self, target: Target, writer: Writer | None = None) -> None:
        """Store the answer of ``target``, which goes to the client. ``self.writer`` returned ``writer`` for its stream;
        a hedged request has two targets, each with its own. Called before anything is stored."""

    def may_pass(self, data: bytes, seen: StreamProgress) -> bool:
        """Read whole events on their way to the client, every one in turn; ``seen`` includes them. False: they must
        not go before ``persist`` has been called with them."""
        return True

    async def persist(self, data: bytes, seen: StreamProgress) -> bytes:
        """Store the turn, and return the bytes for the client: ``data``, or where that fails and matters other events
        in its place."""
        return data

    async def persist_partial(self) -> None:
        """Store what there is of a stream whose client has left. Called in a shielded scope; bounded."""

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        """Store an answer that is not streamed, and return the body for the client, which without this would be
        ``body``. Raises ``GatewayError``."""
        return body

    async def persist_failure(self, id: str) -> None:
        """Store what has to be known of a provider's response ``id`` that failed and goes to the client, not streamed,
        in the provider's own words."""


UNRECORDED: Final = TurnRecorder()
"""The recorder of all turns that are not stored."""
