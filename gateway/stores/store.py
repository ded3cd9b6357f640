"""What a store must be able to do. It keeps nodes, which form trees, and knows nothing of what is in them.

A turn is stored once, with a pointer to the turn before it: what a conversation takes grows with what is said in it,
not with its square. A whole tree (all turns that go back to one first turn) lives and dies together: every write to it
puts off its end, so that the first turn of a conversation that goes on is never the one that is missing.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import attrs

Kind: TypeAlias = Literal["response", "head", "items", "conversation", "message", "foreign", "mark"]
"""``response``: what a turn of the Responses API took and gave. ``head``: the rest of it, which no later turn needs, as
a child of the former. ``items``: what was put into a conversation at once. ``conversation``: the conversation itself,
root of its tree. ``message``: a turn of a Messages thread. ``foreign``: whose response a provider keeps.
``mark``: what one worker tells another of a turn that is running."""


@attrs.frozen
class Node:
    """One thing that is kept. ``id`` is unique for its ``owner`` (the name of the client whose key let it in, "" where
    the door is open to all); ``body`` is for its kind to read; ``items`` are ids of what is in it, by which it can be
    found."""

    id: str
    owner: str
    kind: Kind
    body: bytes = attrs.field(repr=False)
    parent: str | None = None
    items: tuple[str, ...] = ()


class Unavailable(Exception):
    """The store cannot be reached, or cannot hold so much. The message is for the operator and the client: it names no
    place and no credential."""


class Changed(Exception):
    """What was expected is no longer so: somebody else has written in between."""


@attrs.frozen
class Size:
    """How much is kept. ``bytes`` are as for ``max_bytes``, which is ``limit`` (None: there is none). What is past its
    time counts until it is swept away."""

    nodes: int
    bytes: int
    limit: int | None


class Store(Protocol):
    """Every method may raise ``Unavailable``, and nothing else but what it says. Cancellation: a write that is
    cancelled has been done wholly or not at all. What is older than the store's ``ttl`` (seconds since the last write
    to its tree) is not there, whether or not it has been swept away yet."""

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        """Write ``nodes``, all or none, each in place of what had its owner and id. They are durable (as far as the
        store is) when this returns. A parent that is not there is no error.

        ``expect`` must still be stored with just this body, else ``Changed`` is raised and nothing written."""
        ...

    async def get(self, owner: str, id: str) -> Node | None: ...

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        """The node and all before it, the first one first; nothing if any of them is not there."""
        ...

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        """Those of ``items`` that are in a stored node, with that node; of several the one written last."""
        ...

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        """Forget these nodes, and none of those before or after them. How many were there."""
        ...

    async def sweep(self) -> int:
        """Remove what is past its time and, if there is too much, the trees that were least recently written to. How
        many nodes went. For a process to call now and then; ``put`` keeps to ``max_bytes`` in any case."""
        ...

    async def size(self) -> Size:
        """How much is kept, by whichever process; asked of what is counted anyway, whatever is kept."""
        ...

    async def aclose(self) -> None: ...
