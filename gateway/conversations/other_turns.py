"""Stored turns of other APIs as items of Responses, for the lists of a response's input. It is imported with its first
use."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from gateway.conversations.bodies import StoredTurn
from gateway.conversations.stored_apis import ITEMS, stored_apis_of
from gateway.conversations.stored_responses import STORED as STORED_RESPONSES
from gateway.http.offload import offload
from gateway.request.parse import EarlierItems
from gateway.stores.store import Node
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import Message, Part, ReasoningPart, Request
from providers.neutral.seal import PREFIX, Issuer
from providers.responses import RESPONSES
from providers.responses.kept_items import prepare_input
from streams.events import Api

Items: TypeAlias = list[dict[str, Any]]

_LIST: Final = Recipient("", Issuer("", "", ""), Quirks())
_ITEM_SIZE: Final = 2000  # bytes that take as long as the conversion of an item


async def items_of_turns(turns: Iterable[tuple[Node, StoredTurn]]) -> Items:
    """Return the items of ``turns`` with their nodes; those of other APIs keep their ids from list to list."""
    known = list(turns)
    rows = await stored_apis_of(node for node, _ in known)
    apis: list[Api] = [STORED_RESPONSES.api if node.kind == ITEMS else rows[node.kind].api for node, _ in known]
    size = sum(_ITEM_SIZE * len(turn.items) for _, turn in known)

    def convert() -> Items:
        found: Items = []
        for (node, turn), api in zip(known, apis, strict=True):
            found += turn.items if api == STORED_RESPONSES.api else _items_of_turn(node.id, api, turn.items)
        return found

    return await offload(size, convert)


def _items_of_turn(id: str, api: Api, items: Sequence[dict[str, Any]]) -> Items:
    """Return ``items`` of the turn ``id`` in the form of Responses."""
    request = EarlierItems(api, tuple(items)).messages()
    found = [item for message in request.messages for item in _items_of(message)]
    numbers = iter(range(len(found)))

    def make_id(prefix: str) -> str:
        text = f"{id} {next(numbers)}".encode("utf-8", "surrogatepass")
        return f"{prefix}{PREFIX}{hashlib.blake2b(text, digest_size=12).hexdigest()}"

    return prepare_input(found, make_id)


def _items_of(message: Message) -> Iterator[Any]:
    """Yield the items of ``message``. Reasoning has no signature here, because a signature belongs to its own API."""
    run: list[Part] = []
    for part in (*message.parts, None):
        if part is not None and not isinstance(part, ReasoningPart):
            run.append(part)
            continue
        if run:
            shown = attrs.evolve(message, parts=tuple(run))
            written = RESPONSES.write_request(Request(RESPONSES.api, "", (shown,)), _LIST)
            for item in msgspec.json.decode(written.body)["input"]:
                yield {"status": "completed", **item}
            run = []
        if part is not None and part.text:
            yield {"type": "reasoning", "summary": [{"type": "summary_text", "text": part.text}]}
