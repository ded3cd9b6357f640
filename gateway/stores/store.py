"""The interface of every store. It keeps nodes, which form trees, and knows nothing of what is in them.

A node is stored once, with a pointer to the node before it: a chain takes as much room as what is added to it, not its
square. A whole tree (all nodes that go back to one first node) lives and dies together: every write to it puts off its
end, so that the first node of a chain that goes on is never the one that is missing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs


@attrs.frozen
class Node:
    """A piece of data with its place in a tree. ``id`` is unique for its ``owner`` (a client's name, "" where clients
    have none); ``kind`` says how ``body`` is to be read, and means nothing to the store; ``items`` are ids of what is
    in it, by which it can be found."""

    id: str
    owner: str
    kind: str
    body: bytes = attrs.field(repr=False)
    parent: str | None = None
    items: tuple[str, ...] = ()


class Unavailable(Exception):
    """The store cannot be reached, or cannot hold so much. The message is for the operator and the client: it names no
    place and no credential."""


class Changed(Exception):
    """The node that a write expected has been changed by somebody else in between."""


@attrs.frozen
class Size:
    """The size of all that is kept. ``bytes`` are as for ``max_bytes``, which is ``limit`` (None: there is none). What
    is past its time counts until it is swept away."""

    nodes: int
    bytes: int
    limit: int | None


class Store(Protocol):
    """A place for nodes. Every method may raise ``Unavailable``, and nothing else but what it says. Cancellation: a
    write that is cancelled has been done wholly or not at all. What is older than the store's ``ttl`` (seconds since
    the last write to its tree) is not there, whether or not it has been swept away yet."""

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        """Write ``nodes``, all or none, each in place of what had its owner and id. They are durable (as far as the
        store is) when this returns. A parent that is not there is no error.

        ``expect`` must still be stored with just this body, else ``Changed`` is raised and nothing written."""
        ...

    async def get(self, owner: str, id: str) -> Node | None: ...

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        """The node and all before it, the first one first; empty if any of them is not there."""
        ...

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        """The node that has each of ``items``, of several the one written last; without those that none has."""
        ...

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        """Delete these nodes, and none of those before or after them. Returns how many there were."""
        ...

    async def sweep(self) -> int:
        """Remove what is past its time and, if there is too much, what makes room: of whoever has most the tree that
        was least recently written to. Returns how many nodes went. To be called now and then; ``put`` keeps to
        ``max_bytes`` in any case."""
        ...

    def limit_owners(self, most: Callable[[str], float]) -> None:
        """Hold each owner to ``most(owner)`` bytes from its next write on; ``math.inf`` is no limit. A write beyond
        that takes the place of the owner's own trees, those that were least recently written to first."""
        ...

    async def size(self) -> Size:
        """The size of what all processes keep here, from counters: as fast for much as for little."""
        ...

    async def aclose(self) -> None: ...
