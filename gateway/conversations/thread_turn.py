"""The recorder of a turn of a Messages thread."""

from collections.abc import Mapping, Sequence

import attrs
import msgspec

from gateway.conversations.bodies import thread_body
from gateway.conversations.deadline import store_deadline
from gateway.conversations.recorder import TurnRecorder
from gateway.http.offload import offload
from gateway.routing.target import Target
from gateway.stores.store import Node, Store
from gateway.streaming.lane import StreamProgress
from providers.messages import MESSAGES
from providers.messages.answer import write_content
from providers.neutral.codec import Reply, Writer, new_id
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import Event
from streams.fold import Answer, Block, Fold


class ThreadTurn(TurnRecorder):
    """The recorder of a turn of a Messages thread. Only complete responses are stored.

    A client without ``message_stop`` cannot continue the turn, and sends the whole conversation next. Several turns may
    continue one message: Anthropic rejects all but the first (``thread_already_continued``), here each is a branch, so
    that repeating a request whose response was lost works."""

    records = True
    continues = True

    def __init__(
        self, store: Store, owner: str, previous: str | None, own_members: Mapping[str, msgspec.Raw], issuer: Issuer
    ) -> None:
        """Prepare the recorder.

        ``own_members`` are the request's members without the thread's; ``issuer`` is the expected source of the
        response."""
        self._store = store
        self._node = Node(new_id("msg_"), owner, "message", b"", previous)
        self._own_members = own_members
        self._issuer = issuer
        self._fold = Fold()
        self._is_committed = False  # content has gone to the client
        self._is_persisted = False

    def reply(self, reply: Reply) -> Reply:
        return attrs.evolve(reply, id=self._node.id)

    def writer(self, writer: Writer) -> Writer:
        return _FoldingWriter(writer, Fold())

    def record_target(self, target: Target, writer: Writer | None = None) -> None:
        self._issuer = target.recipient.issuer
        if isinstance(writer, _FoldingWriter):
            self._fold = writer.fold

    def may_pass(self, data: bytes, progress: StreamProgress) -> bool:
        if progress.end is None or self._is_persisted:
            self._is_committed = progress.committed
            return True
        return False

    async def persist(self, data: bytes, progress: StreamProgress) -> bytes:
        self._is_persisted = True
        try:
            await self._write(self._fold.blocks())
        except GatewayError as error:
            progress.end, progress.error, progress.committed = None, error.info, self._is_committed
            return data.removesuffix(MESSAGES.wire.words.bare_end) + MESSAGES.last_event(error.info, progress.start, 0)
        return data

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        await self._write(answer.blocks)
        return body

    async def _write(self, blocks: Sequence[Block]) -> None:
        """Store the turn. Raises ``GatewayError`` (503)."""
        size = sum(map(len, self._own_members.values()))
        body = await offload(size, lambda: thread_body(self._own_members, write_content(blocks, self._issuer)))
        with store_deadline("store the thread"):
            await self._store.put([attrs.evolve(self._node, body=body)])


class _FoldingWriter:
    """A writer that also folds its events, for the stored turn."""

    def __init__(self, writer: Writer, fold: Fold) -> None:
        self._writer = writer
        self.fold = fold

    def send(self, event: Event) -> bytes:
        self.fold.add(event)
        return self._writer.send(event)
