"""The APIs whose turns are stored, by their name and the kind of their nodes. Each is imported with its first use."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from gateway.http.late_imports import load_module
from gateway.stores.store import Node
from providers.interactions import INTERACTIONS
from providers.responses import RESPONSES
from streams.events import Api

if TYPE_CHECKING:
    from gateway.conversations.stored_api import StoredApi

ITEMS: Final = "items"
"""The kind of the nodes with items of conversations, which are those of Responses."""

_KINDS: Final[Mapping[Api, str]] = {RESPONSES.api: "response", INTERACTIONS.api: "interaction"}

_MODULES: Final[Mapping[str, str]] = {
    "response": "gateway.conversations.stored_responses",
    "interaction": "gateway.conversations.stored_interactions",
    ITEMS: "gateway.conversations.stored_responses",
}
"""The modules of the APIs by the kind of their nodes. Each has its row as ``STORED``."""

TURNS: Final = frozenset(_KINDS.values())
"""The kinds of nodes with a turn that a later turn can continue."""


async def stored_api(api: Api) -> "StoredApi":
    return await _of_kind(_KINDS[api])


async def stored_apis_of(chain: Iterable[Node]) -> "Mapping[str, StoredApi]":
    """Return the rows of the turns in ``chain``, by the kind of their nodes."""
    return {kind: await _of_kind(kind) for kind in {node.kind for node in chain} & {*TURNS, ITEMS}}


async def _of_kind(kind: str) -> "StoredApi":
    row: StoredApi = (await load_module(_MODULES[kind])).STORED
    return row
