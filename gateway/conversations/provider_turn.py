"""The recorder of a Responses turn that its provider stores: here only its owner is."""

import logging

from gateway.conversations.bodies import provider_turn_body, read_provider_turn
from gateway.conversations.deadline import store_deadline
from gateway.conversations.recorder import TurnRecorder
from gateway.routing.target import Target
from gateway.stores.store import Node, Store
from gateway.streaming.progress import StreamProgress
from providers.neutral.codec import Writer
from streams.errors import GatewayError
from streams.fold import Answer

log = logging.getLogger("trigate")


class ProviderTurn(TurnRecorder):
    """The ``TurnRecorder`` of a turn that its provider stores: the owner is stored here, and at which ``entry`` it is,
    which is known when one has answered. That of one ``in_background``
    is stored as soon as its client may know its id, for the client may lose its connection and come back."""

    # Members of the request say what it continues, and go to the provider, which runs a turn in the background itself.
    records = True

    def __init__(self, store: Store, owner: str, entry: str, in_background: bool = False) -> None:
        self._store = store
        self._owner = owner
        self._entry = entry
        self._in_background = in_background
        self._noted = False

    def answered_by(self, target: Target, writer: Writer | None = None) -> None:
        self._entry = target.entry.name

    def may_pass(self, data: bytes, seen: StreamProgress) -> bool:
        due = seen.committed and (seen.over or self._in_background)
        return self._noted or not due

    async def persist(self, data: bytes, seen: StreamProgress) -> bytes:
        self._noted = True
        await self._note(seen.start.id)
        return data

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        await self._note(answer.start.id)
        return body

    async def persist_failure(self, id: str) -> None:
        await self._note(id)  # the client of one in the background will ask for it again

    async def _note(self, id: str) -> None:
        """Store whose response ``id`` is."""
        if not id:
            return
        body = provider_turn_body(self._entry)
        try:
            with store_deadline("note whose response it is"):
                await self._store.put([Node(id, self._owner, "foreign", body)])
        except GatewayError as error:
            log.warning("response %s cannot be continued: %s", id, error.failed.loggable_message)


async def find_keeper(store: Store, owner: str, id: str) -> str | None:
    """The name of the entry whose provider keeps the owner's response ``id``, ``None`` if that is not known. Raises
    ``Unavailable``."""
    node = await store.get(owner, id)
    return read_provider_turn(node.body) if node is not None and node.kind == "foreign" else None
