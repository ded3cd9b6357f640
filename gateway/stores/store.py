"""The protocol of all stores: they store nodes, which form trees, without interpreting them.

A node is stored once, with a pointer to the node before it, so a chain takes linear space. Every write to a tree (all
nodes with the same first node) postpones the expiry of the whole tree, so the beginning of a continued chain is never
missing."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from gateway.stores.errors import ChangeRejected

if TYPE_CHECKING:
    from gateway.stores.database import Database


@attrs.frozen
class Node:
    """A piece of data with its position in a tree.

    ``id`` is unique for its ``owner`` (a client's name, "" without one). ``kind`` is the format of ``body``; stores
    ignore it. ``items`` are ids of its contents, by which it can be found."""

    id: str
    owner: str
    kind: str
    body: bytes = attrs.field(repr=False)
    parent: str | None = None
    items: tuple[str, ...] = ()


LONGEST_NAME: Final = 128


def check_name(name: str, what: str = "the name") -> None:
    """Check a name for the log. Raises ``ChangeRejected``."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ChangeRejected(
            f"{what} is not valid: expected 1 to {LONGEST_NAME} printable characters without spaces at the ends"
        )


@attrs.frozen(repr=False)
class Size:
    """The size of a store. ``bytes`` counts as ``max_bytes`` does, ``limit`` is that limit; expired nodes count until
    swept."""

    nodes: int
    bytes: int
    limit: int | None


class Store(Protocol):
    """A store of nodes. Every method may raise ``Unavailable``, and otherwise only what it documents.

    ``database`` has its tables, and those of other parts of the process; ``None`` if the store is in memory.

    A cancelled write is done completely or not at all. Nodes expire ``ttl`` seconds after the last write to their tree,
    whether or not they have been swept."""

    @property
    def database(self) -> "Database | None": ...

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        """Write ``nodes``, all or none, replacing those with the same owner and id.

        They are durable, as far as the store is, when this returns. A missing parent is no error. If ``expect`` is no
        longer stored with exactly this body, raise ``Changed`` and write nothing."""

    async def get(self, owner: str, id: str) -> Node | None: ...

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        """Return the node and all before it, the first node first; empty if any is missing."""

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        """Return the last written node with each of ``items``, without items that no node has."""

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        """Delete these nodes, but none before or after them, and return how many existed."""

    async def sweep(self) -> int:
        """Remove expired trees and, over the limit, the least recently written trees of the largest owners; return the
        number of nodes.

        Call it periodically; ``put`` keeps to ``max_bytes`` in any case."""

    def limit_owners(self, most: Callable[[str], float]) -> None:
        """Limit each owner to ``most(owner)`` bytes from its next write on; ``math.inf`` is no limit.

        A write over the limit deletes the owner's least recently written trees."""

    async def size(self) -> Size:
        """Return the size of everything stored by all processes, from counters, in constant time."""

    async def aclose(self) -> None:
        """Close the store with its database, after all parts of the process that use it."""
