"""Nodes to store."""

from collections.abc import Iterable
from typing import Any

from gateway.stores.store import Node


def node(id: str, parent: str | None = None, body: bytes = b"{}", **more: Any) -> Node:
    return Node(**{"id": id, "owner": "alice", "kind": "response", "body": body, "parent": parent, **more})


def chain_of(count: int, prefix: str = "n", body: bytes = b"{}") -> list[Node]:
    return [node(f"{prefix}{i}", f"{prefix}{i - 1}" if i else None, body) for i in range(count)]


def ids(nodes: Iterable[Node]) -> list[str]:
    return [node.id for node in nodes]
