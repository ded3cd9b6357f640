"""The key of placeholders: derived from ``signing_key``, or kept in the state storage."""

import hmac
import logging
import secrets
from collections.abc import Sequence
from typing import Final

import trio

from gateway.stores.errors import Changed, Unavailable
from gateway.stores.store import Node, Store

log = logging.getLogger("trigate.steps")

_OWNER: Final = "trigate: masks"
_ID: Final = "mask-key"
_TURN: Final = "mask-key-turn"
MOST_TRIES: Final = 100
"""The most attempts to store a key while other workers store theirs."""

REFRESH: Final = 60.0
"""Seconds between two writes of the key, because a store removes old data."""


def derived_mask_key(signing_keys: Sequence[bytes]) -> bytes:
    """Return the key that follows from the first of ``signing_keys``, empty without any."""
    return hmac.digest(signing_keys[0], b"trigate: the key of masks", "sha256") if signing_keys else b""


async def stored_mask_key(store: Store) -> bytes:
    """Return the key in ``store``, which is a new one at first. Raises ``Unavailable``.

    Workers that start together get the same key: the turn changes with each new key, so a write that expects an older
    turn fails."""
    for _ in range(MOST_TRIES):
        turn = await store.get(_OWNER, _TURN)
        if (node := await store.get(_OWNER, _ID)) is not None:
            return node.body
        key, next_turn = secrets.token_bytes(32), Node(_TURN, _OWNER, "turn", secrets.token_bytes(16))
        try:
            await store.put([next_turn] if turn is None else [_key_node(key), next_turn], turn)
        except Changed:
            continue
        if turn is not None:
            return key
    raise Unavailable("the state storage lost the key that it stored a moment ago")


async def keep_mask_key(store: Store, key: bytes) -> None:
    """Postpone the expiry of ``key`` in ``store`` again and again, until cancelled."""
    while True:
        try:
            await store.put([_key_node(key)])
        except Unavailable as error:
            log.warning("the key of masks could not be stored: %s", error)
        await trio.sleep(REFRESH)


def _key_node(key: bytes) -> Node:
    return Node(_ID, _OWNER, "key", key)
