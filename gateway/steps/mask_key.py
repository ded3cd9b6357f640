"""The key of placeholders: derived from ``signing_key``, or kept in the state storage."""

import hmac
import logging
import secrets
from collections.abc import Sequence
from typing import Final

import trio

from gateway.stores.store import Node, Store, Unavailable

log = logging.getLogger("trigate.steps")

_OWNER: Final = "trigate: masks"
_ID: Final = "mask-key"
SETTLING: Final = 0.1
"""Seconds after which another worker that starts at the same time has stored its key, too: the last one applies."""

REFRESH: Final = 60.0
"""Seconds between two writes of the key, because a store removes old data."""


def derived_mask_key(signing_keys: Sequence[bytes]) -> bytes:
    """Return the key that follows from the first of ``signing_keys``, empty without any."""
    return hmac.digest(signing_keys[0], b"trigate: the key of masks", "sha256") if signing_keys else b""


async def stored_mask_key(store: Store) -> bytes:
    """Return the key in ``store``, which is a new one at first. Raises ``Unavailable``."""
    node = await store.get(_OWNER, _ID)
    if node is not None:
        return node.body
    await _write(store, secrets.token_bytes(32))
    await trio.sleep(SETTLING)
    node = await store.get(_OWNER, _ID)
    if node is None:
        raise Unavailable("the state storage removes new data immediately")
    return node.body


async def keep_mask_key(store: Store, key: bytes) -> None:
    """Postpone the expiry of ``key`` in ``store`` again and again, until cancelled."""
    while True:
        try:
            await _write(store, key)
        except Unavailable as error:
            log.warning("the key of masks could not be stored: %s", error)
        await trio.sleep(REFRESH)


async def _write(store: Store, key: bytes) -> None:
    await store.put([Node(_ID, _OWNER, "key", key)])
