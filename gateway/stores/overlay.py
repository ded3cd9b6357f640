"""A store whose writes stay on one connection, and whose reads fall through to the shared store."""

from collections.abc import Callable, Mapping, Sequence

import attrs

from gateway.stores.store import Node, Size, Store


@attrs.frozen
class OverlayStore:
    """A store that writes to ``local`` and reads both; chains may alternate between them.

    ``shared`` has another owner: it is never written to, swept or closed here."""

    local: Store
    shared: Store | None = None
    database: None = attrs.field(default=None, init=False)

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        await self.local.put(nodes, expect)

    async def get(self, owner: str, id: str) -> Node | None:
        node = await self.local.get(owner, id)
        if node is None and self.shared is not None:
            return await self.shared.get(owner, id)
        return node

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        """Return the chain across both stores.

        ``shared`` is queried once for the rest of a chain, and once per node only where a shared node follows a local
        one."""
        later: list[Node] = []
        next_id: str | None = id
        entering = True
        while next_id is not None:
            node = await self.local.get(owner, next_id)
            if node is not None:
                entering = True
            elif self.shared is not None:
                if entering and (rest := await self.shared.chain(owner, next_id)):
                    return (*rest, *reversed(later))
                entering = False
                node = await self.shared.get(owner, next_id)
            if node is None:
                return ()
            later.append(node)
            next_id = node.parent
        return tuple(reversed(later))

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        """Return the nodes of ``items``, preferring local ones, which this connection wrote."""
        found = await self.local.find(owner, items)
        missing = [item for item in items if item not in found]
        if self.shared is None or not missing:
            return found
        return {**await self.shared.find(owner, missing), **found}

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        return await self.local.delete(owner, ids)

    async def sweep(self) -> int:
        return await self.local.sweep()

    def limit_owners(self, most: Callable[[str], float]) -> None:
        self.local.limit_owners(most)

    async def size(self) -> Size:
        return await self.local.size()

    async def aclose(self) -> None:
        await self.local.aclose()
