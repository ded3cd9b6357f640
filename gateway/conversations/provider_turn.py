"""The recorder of a Responses turn that its provider stores: here only its owner is."""

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
from gateway.streaming.progress import StreamProgress
from providers.neutral.codec import Writer
from streams import sse
from streams.errors import GatewayError
from streams.fold import Answer
from streams.surrogates import NOT_JSON

log = logging.getLogger("trigate")

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ProviderTurn(TurnRecorder):
    """The recorder of a turn that its provider stores: the owner is stored here, and at which ``entry`` it is, which is
    known when one has answered. That of a turn ``in_background`` is stored as soon as its client may know its id, for
    the client may lose its connection and come back.

    Where that fails the answer is still given, for it was paid for, with ``"store": false``: nobody can continue it."""

    # Members of the request say what it continues, and go to the provider, which runs a turn in the background itself.
    records = True

    def __init__(self, store: Store, owner: str, entry: str, in_background: bool = False) -> None:
        self._store = store
        self._owner = owner
        self._entry = entry
        self._is_due_early = in_background
        self._is_settled = False

    def answered_by(self, target: Target, writer: Writer | None = None) -> None:
        self._entry = target.entry.name

    def may_pass(self, data: bytes, seen: StreamProgress) -> bool:
        return self._is_settled or not (seen.committed and (seen.over or self._is_due_early))

    async def persist(self, data: bytes, seen: StreamProgress) -> bytes:
        self._is_due_early = False
        is_noted = await self._note(seen.start.id)
        self._is_settled = is_noted or seen.over
        return data if is_noted or not seen.over else await offload(len(data), _with_unstored_end, data)

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        return body if await self._note(answer.start.id) else await offload(len(body), _unstored, body)

    async def persist_failure(self, id: str) -> None:
        await self._note(id)  # the client of one in the background will ask for it again

    async def _note(self, id: str) -> bool:
        """Store whose response ``id`` is; false where that fails."""
        if not id:
            return True
        body = provider_turn_body(self._entry)
        try:
            with store_deadline("note whose response it is"):
                await self._store.put([Node(id, self._owner, "foreign", body)])
        except GatewayError as error:
            log.warning("response %s cannot be continued: %s", id, error.failed.loggable_message)
            return False
        return True


def _unstored(response: bytes | msgspec.Raw) -> bytes:
    """Return a response that says that it is not stored. All other members keep their bytes."""
    try:
        members = _MEMBERS(response)
    except NOT_JSON:
        return bytes(response)
    return msgspec.json.encode({**members, "store": msgspec.Raw(b"false")})


def _with_unstored_end(data: bytes) -> bytes:
    """Return the whole events ``data`` with a response that is not stored in the last event of the response."""
    return b"".join(map(_with_unstored_response, sse.Splitter(len(data)).feed(data)))


def _with_unstored_response(raw: bytes) -> bytes:
    if (parsed := sse.parse(raw)) is None:
        return raw
    try:
        members = _MEMBERS(parsed[1])
        if msgspec.json.decode(members["type"]) not in ENDS:
            return raw
        members["response"] = msgspec.Raw(_unstored(members["response"]))
    except (*NOT_JSON, KeyError):
        return raw
    return raw.replace(parsed[1], sse.dump(members))


async def find_keeper(store: Store, owner: str, id: str) -> str | None:
    """The name of the entry whose provider keeps the owner's response ``id``, ``None`` if that is not known. Raises
    ``Unavailable``."""
    node = await store.get(owner, id)
    return read_provider_turn(node.body) if node is not None and node.kind == "foreign" else None
