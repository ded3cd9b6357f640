"""The inventory: objects created through the gateway, for their owners' lists.

A provider lists the objects of everyone with its key. The inventory stores each owner's objects as its client last saw
them, so lists and cursors contain only those (BerriAI/litellm#36087). Nothing else depends on it, because ids contain
their account."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Literal, Protocol, TypeAlias

import attrs
import msgspec
import trio

from gateway.stores.nodes import OwnerBytes, OwnerLimit, is_storable
from streams.surrogates import decode_or

Collection: TypeAlias = Literal[
    "files", "vector_stores", "containers", "batches", "videos", "messages files", "message_batches", "gemini files",
    "gemini batches", "paid batches", "batch outputs", "batch files", "pending batches",
    "provider runs",
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

PROVIDER_RUNS: Final[Collection] = "provider runs"
"""Answers that providers continue in the background, until they are billed; not listed."""

MAX_IN_LIST: Final = 10_000
"""The most objects in one collection of one owner; beyond it, the oldest are dropped."""

MAX_TOTAL: Final = 20_000
"""The most objects of all owners in a ``MemoryInventory``."""

MAX_BYTES: Final = 16 * 2**20
"""The default size of a ``MemoryInventory``, with all owners."""

OVERHEAD: Final = 500
"""The estimated bytes of an object besides its ids and its body."""

UNLISTED: Final[tuple[Collection, ...]] = (
    BILLED_BATCHES, BATCH_OUTPUTS, BATCH_FILES, PENDING_BATCHES, PROVIDER_RUNS,
)  # fmt: skip
"""Records that bill batches and background answers. They count as an owner's bytes, but are not removed because of
them."""

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

    async def put(self, kept: KeptObject) -> None:
        """Store ``kept`` as the owner's newest object, or update it in place."""

    async def get(self, owner: str, collection: Collection, id: str) -> NumberedObject | None: ...

    async def remove(self, owner: str, collection: Collection, id: str) -> None: ...

    async def read_some(
        self, owner: str, collection: Collection, after_number: int | None, order: Order
    ) -> Sequence[NumberedObject]:
        """Return up to ``page_size`` objects of a collection in ``order``, starting after ``after_number``, if set."""

    async def claim(self, owner: str, *ids: str) -> bool:
        """Claim the right to bill a batch by all ``ids`` in one write; return whether this is the first claim of each.

        It ends at the first id that another request has claimed. Otherwise each of two simultaneous requests could
        claim one id, and neither would bill."""

    def limit_owners(self, most: OwnerLimit) -> None:
        """Limit the bytes of each owner from now on: beyond ``most(owner)``, its oldest listed objects are removed."""


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
    """A page of a list; ``more`` is true if another page follows."""

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
    value: Any = decode_or(msgspec.json.decode, body, None)
    id = value.get(id_member) if isinstance(value, dict) else None
    if not isinstance(id, str) or not id or not is_storable(id):
        return None
    until = value.get("expires_at")
    ends = float(until) if isinstance(until, int | float) and not isinstance(until, bool) else 0.0
    return KeptObject(owner, collection, id, body, ends)


def _size_of(kept: KeptObject) -> int:
    """Return the bytes that ``kept`` takes in memory."""
    return len(kept.owner) + len(kept.id) + len(kept.body) + OVERHEAD


class MemoryInventory:
    """An inventory in the process's memory, of at most ``max_bytes``.

    Beyond that, or beyond ``max_total`` objects, the oldest objects of the owner with the most bytes are removed."""

    def __init__(
        self,
        most: int = MAX_IN_LIST,
        max_total: int = MAX_TOTAL,
        page_size: int = PAGE_SIZE,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.page_size = page_size
        self._most = most
        self._max_total = max_total
        self._lists: dict[tuple[str, Collection], OrderedDict[str, NumberedObject]] = {}
        self._listed: dict[str, OrderedDict[tuple[Collection, str], None]] = {}  # by owner, the oldest first
        self._owners = OwnerBytes()
        self._most_of: OwnerLimit = lambda _: math.inf
        self._max_bytes = max_bytes
        self._bytes = 0
        self._number = 0
        self._count = 0

    def limit_owners(self, most: OwnerLimit) -> None:
        self._most_of = most

    async def put(self, kept: KeptObject) -> None:
        await trio.lowlevel.checkpoint()
        self._put(kept)

    def _put(self, kept: KeptObject) -> None:
        own = self._lists.setdefault((kept.owner, kept.collection), OrderedDict())
        if (there := own.get(kept.id)) is not None:
            own[kept.id] = attrs.evolve(there, kept=kept)
            self._count_bytes(kept.owner, _size_of(kept) - _size_of(there.kept))
        else:
            self._number += 1
            self._count += 1
            own[kept.id] = NumberedObject(self._number, kept)
            self._count_bytes(kept.owner, _size_of(kept))
            if kept.collection not in UNLISTED:
                self._listed.setdefault(kept.owner, OrderedDict())[kept.collection, kept.id] = None
        self._remove_excess(kept.owner, kept.collection)

    def _remove_excess(self, owner: str, collection: Collection) -> None:
        """Remove the oldest objects beyond each limit, after a write to a collection of ``owner``."""
        own = self._lists[owner, collection]
        if len(own) > self._most:
            self._remove(owner, collection, next(iter(own)))
        while self._owners.of(owner) > self._most_of(owner) and self._remove_oldest(owner):
            pass
        passed: set[str] = set()
        while self._count > self._max_total or self._bytes > self._max_bytes:
            largest = self._owners.largest_owner(passed)
            if largest is None:
                return
            if not self._remove_oldest(largest):
                passed.add(largest)

    def _remove_oldest(self, owner: str) -> bool:
        """Remove the oldest listed object of ``owner``; return false if there is none."""
        if not (listed := self._listed.get(owner)):
            return False
        self._remove(owner, *next(iter(listed)))
        return True

    def _remove(self, owner: str, collection: Collection, id: str) -> None:
        own = self._lists.get((owner, collection))
        if own is None or (there := own.pop(id, None)) is None:
            return
        self._count -= 1
        self._count_bytes(owner, -_size_of(there.kept))
        if not own:
            del self._lists[owner, collection]
        if (listed := self._listed.get(owner)) is not None:
            listed.pop((collection, id), None)
            if not listed:
                del self._listed[owner]

    def _count_bytes(self, owner: str, size: int) -> None:
        self._bytes += size
        self._owners.add(owner, size)

    async def claim(self, owner: str, *ids: str) -> bool:
        await trio.lowlevel.checkpoint()  # and none below: several may claim it
        for id in ids:
            if id in self._lists.get((owner, BILLED_BATCHES), ()):
                return False
            self._put(KeptObject(owner, BILLED_BATCHES, id, b"{}"))
        return True

    async def get(self, owner: str, collection: Collection, id: str) -> NumberedObject | None:
        await trio.lowlevel.checkpoint()
        own = self._lists.get((owner, collection))
        return None if own is None else own.get(id)

    async def remove(self, owner: str, collection: Collection, id: str) -> None:
        await trio.lowlevel.checkpoint()
        self._remove(owner, collection, id)

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
