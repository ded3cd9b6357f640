"""The inventory: objects created through the gateway, for their owners' lists.

A provider lists the objects of everyone with its key. The inventory stores each owner's objects as its client last saw
them, so lists and cursors contain only those (BerriAI/litellm#36087). Nothing else depends on it, because ids contain
their account."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Literal, Protocol, TypeAlias

import attrs
import msgspec
import trio

from gateway.stores.nodes import is_storable

Collection: TypeAlias = Literal[
    "files", "vector_stores", "containers", "batches", "videos", "messages files", "message_batches", "gemini files",
    "gemini batches", "paid batches", "batch outputs", "batch files", "pending batches",
]  # fmt: skip
"""The name of a collection: the objects that one path of one API lists, or records for internal use."""

BILLED_BATCHES: Final[Collection] = "paid batches"
"""Batches whose cost was billed; not listed."""

BATCH_OUTPUTS: Final[Collection] = "batch outputs"
"""Notes which batch's results a file contains; not listed."""

BATCH_FILES: Final[Collection] = "batch files"
"""Summaries of input files of batches; not listed."""

PENDING_BATCHES: Final[Collection] = "pending batches"
"""The expected cost of running batches; not listed."""

MAX_IN_LIST: Final = 10_000
"""The most objects in one collection of one owner; beyond it, the oldest are dropped."""

MAX_TOTAL: Final = 20_000
"""The most objects of all owners in a ``MemoryInventory``."""

MAX_OBJECT: Final = 16 * 1024
"""The largest stored object in bytes."""

PAGE_SIZE: Final = 500
"""Objects read per step of a list."""

Order: TypeAlias = Literal["asc", "desc"]


@attrs.frozen(eq=False)
class KeptObject:
    """A stored object of ``owner``; ``id`` is the client's id.

    ``body`` is the provider's JSON with that id; ``until`` is the expiry in Unix seconds, 0 if it does not expire."""

    owner: str
    collection: Collection
    id: str
    body: bytes = attrs.field(repr=False)
    until: float = 0.0

    @property
    def value(self) -> Mapping[str, Any]:
        return msgspec.json.decode(self.body, type=dict[str, Any])


@attrs.frozen(eq=False, repr=False)
class NumberedObject:
    """A stored object with its number in the order of creation."""

    number: int
    kept: KeptObject


class Inventory(Protocol):
    """The stored objects of all owners. Every method may raise ``Unavailable``."""

    @property
    def page_size(self) -> int:
        """The most objects that one call of ``read_some`` returns."""
        ...

    async def put(self, kept: KeptObject) -> None:
        """Store ``kept`` as the owner's newest object, or update it in place."""
        ...

    async def get(self, owner: str, collection: Collection, id: str) -> NumberedObject | None: ...

    async def remove(self, owner: str, collection: Collection, id: str) -> None: ...

    async def read_some(
        self, owner: str, collection: Collection, after_number: int | None, order: Order
    ) -> Sequence[NumberedObject]:
        """Return up to ``page_size`` objects of a collection in ``order``, starting after ``after_number``, if set."""
        ...

    async def claim(self, owner: str, id: str) -> bool:
        """Claim the right to bill the batch ``id``; return whether this is the first claim."""
        ...

    async def aclose(self) -> None: ...


@attrs.frozen(repr=False)
class ListRequest:
    """A client's request for up to ``limit`` objects of a collection.

    The page starts after the id ``after``, or ends before the id ``before``. ``is_shown`` selects objects."""

    collection: Collection
    limit: int
    order: Order = "desc"
    after: str | None = None
    before: str | None = None
    is_shown: Callable[[KeptObject], bool] = lambda kept: True


@attrs.frozen(eq=False, repr=False)
class ObjectPage:
    """A page of a list; ``more`` tells whether another page follows."""

    objects: tuple[KeptObject, ...]
    more: bool


async def read_page(
    inventory: Inventory, owner: str, request: ListRequest, clock: Callable[[], float] = time.time
) -> ObjectPage | None:
    """Return a page of the owner's list, ``None`` if the cursor's object is unknown. Raises ``Unavailable``."""
    backwards = request.before is not None and request.after is None
    order: Order = request.order if not backwards else ("asc" if request.order == "desc" else "desc")
    cursor = request.before if backwards else request.after
    after_number = None
    if cursor is not None:
        if (found := await inventory.get(owner, request.collection, cursor)) is None:
            return None
        after_number = found.number
    objects: list[KeptObject] = []
    while len(objects) <= request.limit:
        objects_read = await inventory.read_some(owner, request.collection, after_number, order)
        now = clock()
        objects += [one.kept for one in objects_read if _has_not_expired(one.kept, now) and request.is_shown(one.kept)]
        if len(objects_read) < inventory.page_size:
            break
        after_number = objects_read[-1].number
    page = objects[: request.limit]
    return ObjectPage(tuple(reversed(page) if backwards else page), len(objects) > request.limit)


def _has_not_expired(kept: KeptObject, now: float) -> bool:
    return not kept.until or kept.until > now


def parse_object(owner: str, collection: Collection, body: bytes, id_member: str = "id") -> KeptObject | None:
    """Return the object in a response ``body`` that has the client's ids, ``None`` if it cannot be stored."""
    if len(body) > MAX_OBJECT:
        return None
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    id = value.get(id_member) if isinstance(value, dict) else None
    if not isinstance(id, str) or not id or not is_storable(id):
        return None
    until = value.get("expires_at")
    ends = float(until) if isinstance(until, int | float) and not isinstance(until, bool) else 0.0
    return KeptObject(owner, collection, id, body, ends)


class MemoryInventory:
    """An inventory in the process's memory."""

    def __init__(self, most: int = MAX_IN_LIST, max_total: int = MAX_TOTAL, page_size: int = PAGE_SIZE) -> None:
        self.page_size = page_size
        self._most = most
        self._max_total = max_total
        self._lists: dict[tuple[str, Collection], OrderedDict[str, NumberedObject]] = {}
        self._number = 0
        self._count = 0

    async def put(self, kept: KeptObject) -> None:
        await trio.lowlevel.checkpoint()
        self._put(kept)

    def _put(self, kept: KeptObject) -> None:
        own = self._lists.setdefault((kept.owner, kept.collection), OrderedDict())
        if (there := own.get(kept.id)) is not None:
            own[kept.id] = attrs.evolve(there, kept=kept)
            return
        self._number += 1
        self._count += 1
        own[kept.id] = NumberedObject(self._number, kept)
        if len(own) > self._most:
            self._drop_oldest(own)
        elif self._count > self._max_total:
            self._drop_oldest(max(self._lists.values(), key=len))

    def _drop_oldest(self, own: OrderedDict[str, NumberedObject]) -> None:
        own.popitem(last=False)
        self._count -= 1

    async def claim(self, owner: str, id: str) -> bool:
        await trio.lowlevel.checkpoint()
        if id in self._lists.get((owner, BILLED_BATCHES), ()):
            return False
        self._put(KeptObject(owner, BILLED_BATCHES, id, b"{}"))  # no checkpoint in between: several may claim it
        return True

    async def get(self, owner: str, collection: Collection, id: str) -> NumberedObject | None:
        await trio.lowlevel.checkpoint()
        own = self._lists.get((owner, collection))
        return None if own is None else own.get(id)

    async def remove(self, owner: str, collection: Collection, id: str) -> None:
        await trio.lowlevel.checkpoint()
        own = self._lists.get((owner, collection))
        if own is not None and own.pop(id, None) is not None:
            self._count -= 1
            if not own:
                del self._lists[owner, collection]

    async def read_some(
        self, owner: str, collection: Collection, after_number: int | None, order: Order
    ) -> Sequence[NumberedObject]:
        await trio.lowlevel.checkpoint()
        own = self._lists.get((owner, collection), OrderedDict()).values()
        if order == "asc":
            return list(
                islice((one for one in own if after_number is None or one.number > after_number), self.page_size)
            )
        return list(
            islice((one for one in reversed(own) if after_number is None or one.number < after_number), self.page_size)
        )

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
