"""The recorder of a turn that its provider stores; the gateway stores only its owner."""

import logging
from typing import Final

import msgspec

from gateway.conversations.bodies import provider_turn_body, read_provider_turn
from gateway.conversations.deadline import store_deadline
from gateway.conversations.passed_turn import ENDS
from gateway.conversations.recorder import TurnRecorder
from gateway.http.offload import offload
from gateway.routing.target import Target
from gateway.stores.store import Node, Store
from gateway.streaming.lane import StreamProgress
from providers.neutral.codec import Writer
from streams import sse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.fold import Answer
from streams.surrogates import NOT_JSON, decode_or

log = logging.getLogger("trigate")

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ProviderTurn(TurnRecorder):
    """The recorder of a turn that its provider stores.

    The gateway stores the owner and the ``entry`` that responded. For a turn ``in_background`` it does so as soon as
    the client may know the id, because the client may come back after losing its connection. If storing fails, the
    client still gets its response, if ``marks_unstored`` with ``"store": false``."""

    # Members such as previous_response_id go to the provider, which also runs background turns.
    records = True

    def __init__(
        self, store: Store, owner: str, entry: str, in_background: bool = False, *, marks_unstored: bool = True
    ) -> None:
        self._store = store
        self._owner = owner
        self._entry = entry
        self._is_due_early = in_background
        self._is_settled = False
        self._marks_unstored = marks_unstored

    def record_target(self, target: Target, writer: Writer | None = None) -> None:
        self._entry = target.entry.name

    def may_pass(self, data: bytes, progress: StreamProgress) -> bool:
        return self._is_settled or not (progress.committed and (progress.over or self._is_due_early))

    async def persist(self, data: bytes, progress: StreamProgress) -> bytes:
        self._is_due_early = False
        is_stored = await self._store_owner(progress.start.id)
        self._is_settled = is_stored or progress.over
        if is_stored or not progress.over or not self._marks_unstored:
            return data
        return await offload(len(data), _with_unstored_end, data)

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        if await self._store_owner(answer.start.id) or not self._marks_unstored:
            return body
        return await offload(len(body), _mark_unstored, body)

    async def persist_failure(self, id: str, error: ErrorInfo) -> ErrorInfo | None:
        await self._store_owner(id)  # the client of a background turn will request it again
        return error

    async def _store_owner(self, id: str) -> bool:
        """Store the owner of response ``id``; return false on failure."""
        if not id:
            return True
        body = provider_turn_body(self._entry)
        try:
            with store_deadline("store the owner of the response"):
                await self._store.put([Node(id, self._owner, "foreign", body)])
        except GatewayError as error:
            log.warning("clients cannot continue response %s: %s", id, error.info.loggable_message)
            return False
        return True


def _mark_unstored(response: bytes | msgspec.Raw) -> bytes:
    """Return ``response`` marked as not stored; all other members keep their bytes."""
    if (members := decode_or(_MEMBERS, response, None)) is None:
        return bytes(response)
    return msgspec.json.encode({**members, "store": msgspec.Raw(b"false")})


def _with_unstored_end(data: bytes) -> bytes:
    """Return the events ``data`` with the last response event marked as not stored."""
    return b"".join(map(_with_unstored_response, sse.Splitter(len(data)).feed(data)))


def _with_unstored_response(raw: bytes) -> bytes:
    if (parsed := sse.parse(raw)) is None:
        return raw
    try:
        members = _MEMBERS(parsed[1])
        if msgspec.json.decode(members["type"]) not in ENDS:
            return raw
        members["response"] = msgspec.Raw(_mark_unstored(members["response"]))
    except (*NOT_JSON, KeyError):
        return raw
    return raw.replace(parsed[1], sse.dump(members))


async def find_storing_entry(store: Store, owner: str, id: str) -> str | None:
    """Return the name of the entry whose provider stores the owner's response ``id``, ``None`` if unknown.

    Raises ``Unavailable``."""
    node = await store.get(owner, id)
    return read_provider_turn(node.body) if node is not None and node.kind == "foreign" else None
