"""The APIs whose turns are stored, by their name and the kind of their nodes. Each is imported with its first use."""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway.conversations.stored_api import StoredApi
from gateway.conversations.stored_responses import STORED_RESPONSES
from gateway.http.late_imports import load_module
from gateway.stores.store import Node
from providers.interactions import INTERACTIONS
from streams.events import Api

ITEMS: Final = "items"
"""The kind of the nodes with items of conversations, which are those of Responses."""

_MODULES: Final[Mapping[str, str]] = {"interaction": "gateway.conversations.stored_interactions"}
"""The modules of the APIs that few clients use, by the kind of their nodes. Each has its row as ``STORED``."""

_KINDS: Final[Mapping[Api, str]] = {STORED_RESPONSES.api: STORED_RESPONSES.kind, INTERACTIONS.api: "interaction"}

TURNS: Final = frozenset(_KINDS.values())
"""The kinds of nodes with a turn that a later turn can continue."""


async def stored_api(api: Api) -> StoredApi:
    return await _of_kind(_KINDS[api])


async def stored_apis_of(chain: Iterable[Node]) -> Mapping[str, StoredApi]:
    """Return the rows of the turns in ``chain``, by the kind of their nodes."""
    return {kind: await _of_kind(kind) for kind in {node.kind for node in chain} & {*TURNS, ITEMS}}


async def _of_kind(kind: str) -> StoredApi:
    if kind not in _MODULES:
        return STORED_RESPONSES
    row: StoredApi = (await load_module(_MODULES[kind])).STORED
    return row
