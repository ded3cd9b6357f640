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
"""What is listed together: the objects of one path in one API, or a collection for internal use."""

PAID: Final[Collection] = "paid batches"
"""Batches whose cost was billed; not listed."""

OUTPUTS: Final[Collection] = "batch outputs"
"""The batches whose results a file contains; not listed."""

BATCH_FILES: Final[Collection] = "batch files"
"""The models in input files of batches; not listed."""

PENDING: Final[Collection] = "pending batches"
"""The expected cost of running batches; not listed."""

MOST: Final = 10_000
"""Objects in one list of one owner; beyond it, the oldest are dropped."""

MOST_IN_ALL: Final = 20_000
"""The same for all owners, in memory."""

LARGEST: Final = 16 * 1024
"""The largest stored object in bytes."""

AT_ONCE: Final = 500
"""Objects read per step of a list."""

Order: TypeAlias = Literal["asc", "desc"]


@attrs.frozen(eq=False)
class KeptObject:
    """An object of ``owner`` with the owner's ``id``.

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
    """An object with its number in the order of creation."""

    number: int
    kept: KeptObject


class Inventory(Protocol):
    """The inventory. Every method may raise ``Unavailable``."""

    @property
    def at_once(self) -> int:
        """The most objects that ``some`` returns."""
        ...

    async def put(self, kept: KeptObject) -> None:
        """Store ``kept`` as the owner's newest object, or update it in place."""
        ...

    async def get(self, owner: str, collection: Collection, id: str) -> NumberedObject | None: ...

    async def remove(self, owner: str, collection: Collection, id: str) -> None: ...

    async def some(
        self, owner: str, collection: Collection, behind: int | None, order: Order
    ) -> Sequence[NumberedObject]:
        """Return up to ``at_once`` objects after the number ``behind``, in ``order``."""
        ...

    async def claim(self, owner: str, id: str) -> bool:
        """Return whether this is the first claim of the batch ``id``, whose cost is billed once."""
        ...

    async def aclose(self) -> None: ...


@attrs.frozen(repr=False)
class ListRequest:
    """A client's list request: at most ``limit`` objects after the id ``after`` or before ``before`` that ``shown``
    accepts."""

    collection: Collection
    limit: int
    order: Order = "desc"
    after: str | None = None
    before: str | None = None
    shown: Callable[[KeptObject], bool] = lambda kept: True


@attrs.frozen(eq=False, repr=False)
class ObjectPage:
    """A page of a list; ``more`` means that another follows."""

    objects: tuple[KeptObject, ...]
    more: bool


async def read_page(
    inventory: Inventory, owner: str, request: ListRequest, clock: Callable[[], float] = time.time
) -> ObjectPage | None:
    """Return a page of the owner's list, ``None`` if the cursor's object is unknown. Raises ``Unavailable``."""
    backwards = request.before is not None and request.after is None
    order: Order = request.order if not backwards else ("asc" if request.order == "desc" else "desc")
    cursor = request.before if backwards else request.after
    behind = None
    if cursor is not None:
        if (found := await inventory.get(owner, request.collection, cursor)) is None:
            return None
        behind = found.number
    objects: list[KeptObject] = []
    while len(objects) <= request.limit:
        some = await inventory.some(owner, request.collection, behind, order)
        now = clock()
        objects += [one.kept for one in some if _is_there(one.kept, now) and request.shown(one.kept)]
        if len(some) < inventory.at_once:
            break
        behind = some[-1].number
    page = objects[: request.limit]
    return ObjectPage(tuple(reversed(page) if backwards else page), len(objects) > request.limit)


def _is_there(kept: KeptObject, now: float) -> bool:
    return not kept.until or kept.until > now


def kept_object(owner: str, collection: Collection, body: bytes, id_member: str = "id") -> KeptObject | None:
    """Return the object in a provider's response ``body``, whose ids are already the owner's, ``None`` if it is
    unsuitable."""
    if len(body) > LARGEST:
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
    """An inventory in memory that ends with the process."""

    def __init__(self, most: int = MOST, in_all: int = MOST_IN_ALL, at_once: int = AT_ONCE) -> None:
        self.at_once = at_once
        self._most = most
        self._in_all = in_all
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
            self._forget_oldest(own)
        elif self._count > self._in_all:
            self._forget_oldest(max(self._lists.values(), key=len))

    def _forget_oldest(self, own: OrderedDict[str, NumberedObject]) -> None:
        own.popitem(last=False)
        self._count -= 1

    async def claim(self, owner: str, id: str) -> bool:
        await trio.lowlevel.checkpoint()
        if id in self._lists.get((owner, PAID), ()):
            return False
        self._put(KeptObject(owner, PAID, id, b"{}"))  # no checkpoint in between: several may claim it
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

    async def some(
        self, owner: str, collection: Collection, behind: int | None, order: Order
    ) -> Sequence[NumberedObject]:
        await trio.lowlevel.checkpoint()
        own = self._lists.get((owner, collection), OrderedDict()).values()
        if order == "asc":
            return list(islice((one for one in own if behind is None or one.number > behind), self.at_once))
        return list(islice((one for one in reversed(own) if behind is None or one.number < behind), self.at_once))

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
