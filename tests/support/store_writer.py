"""A process that writes chains as fast as possible and prints the id of each stored node, until it is killed."""

import sys
from pathlib import Path

import trio

from gateway.stores.store import Node, Store
from tests.support.stores import postgres_store, sqlite_store

LENGTH = 20
"""Nodes in a chain."""


def body_of(id: str) -> bytes:
    return id.encode() * 400


async def write(store: Store, prefix: str) -> None:
    chain, parent = 0, None
    while True:
        for step in range(LENGTH):
            id = f"{prefix}{chain}.{step}"
            head = Node(f"{id}/head", "o", "head", body_of(id)[::-1], id)
            await store.put([Node(id, "o", "response", body_of(id), parent, (f"item{id}",)), head])
            sys.stdout.write(f"{id}\n")
            sys.stdout.flush()
            parent = id
        chain, parent = chain + 1, None


async def main(kind: str, place: str, prefix: str) -> None:
    if kind == "sqlite":
        store: Store = sqlite_store(Path(place), 1e9, None)
    else:
        store = postgres_store(place, 1e9, None)
    await write(store, prefix)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
