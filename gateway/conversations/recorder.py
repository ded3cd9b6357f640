"""The protocol with which an exchange stores its turn."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.routing.target import Target
from gateway.stores.store import Node
from gateway.streaming.lane import StreamProgress
from providers.neutral.codec import Reply, Writer
from streams.events import ErrorInfo
from streams.fold import Answer

if TYPE_CHECKING:
    from gateway.conversations.stored_api import StoredApi


class DetachableTurn(Protocol):
    """A turn that runs without its client and is stored by whatever runs it."""

    api: "StoredApi"
    id: str
    is_persisted: bool
    """True once the complete turn is stored."""

    async def nodes(self, response: Mapping[str, Any], events: bytes) -> tuple[list[Node], list[Any]]:
        """Return the nodes to store for ``response``, and the items that it adds to its conversation. Delays
        cancellation."""


class TurnRecorder:
    """The recorder of one turn, which stores it while its response goes to the client. This base class stores nothing.

    Nothing is stored before the client knows an id to request it by. Methods raise nothing unless documented; a
    cancelled method has stored the turn completely or not at all."""

    records = False
    """True if anything may be stored. If not, only ``reply`` and ``writer`` are called."""

    @property
    def continues(self) -> bool:
        """Whether the turn refers to stored turns or adds to a conversation."""
        return False

    @property
    def background(self) -> DetachableTurn | None:
        """The turn itself if it runs without its client, started by ``Background.start``."""
        return None

    def reply(self, reply: Reply) -> Reply:
        """Return ``reply`` with the response's id and its storage options."""
        return reply

    def writer(self, writer: Writer) -> Writer:
        """Return the stream's ``writer``, or one that also records its events."""
        return writer

    def record_target(self, target: Target, writer: Writer | None = None) -> None:
        """Record the response of ``target``, which goes to the client; called before anything is stored.

        ``writer`` is the one that ``self.writer`` returned for its stream: a hedged request has two targets with a
        writer each."""

    def may_pass(self, data: bytes, progress: StreamProgress) -> bool:
        """Read whole events on their way to the client, in order; ``progress`` includes them.

        Return false if ``persist`` must be called with them before they are sent."""
        return True

    async def persist(self, data: bytes, progress: StreamProgress) -> bytes:
        """Store the turn, and return the bytes for the client: ``data``, or other events if a failure to store
        matters."""
        return data

    async def persist_partial(self, id: str) -> None:
        """Store the available part of a stream, the provider's response ``id``, whose client has left. Called in a
        shielded scope; takes bounded time."""

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        """Store a whole response, and return the body for the client. Raises ``GatewayError``."""
        return body

    async def persist_failure(self, id: str, error: ErrorInfo) -> ErrorInfo | None:
        """Store the facts that later requests for a provider's response ``id`` need, which failed with ``error``.

        Return the error of this exchange, ``None`` if the failure is that of a run in the background."""
        return error


UNRECORDED: Final = TurnRecorder()
"""The recorder of all turns that are not stored."""
