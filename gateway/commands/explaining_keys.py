"""Clients in the state storage, for ``trigate explain --key``."""

import click
import trio

from configfile.document import sentence
from gateway.commands.keys import parse_clients
from gateway.config.loading import Config
from gateway.config.stored_keys import StoredClients
from gateway.open_store import open_key_store
from gateway.stores.key_store import KeyTable
from gateway.stores.store import Unavailable


def read_stored_clients(config: Config) -> StoredClients:
    """Return the clients in the state storage of ``config``, none if it does not exist yet.

    Raises ``click.UsageError``."""
    try:
        return parse_clients(trio.run(_read_table, config), config)
    except Unavailable as error:
        raise click.UsageError(f"--key: the stored clients are unknown: {sentence(str(error))}") from None


async def _read_table(config: Config) -> KeyTable:
    kept = config.state_storage
    if kept is None or (kept.path is not None and not kept.path.exists()):  # opening it would create the file
        return KeyTable()
    store = open_key_store(config)
    if store is None:
        return KeyTable()
    try:
        return await store.read()
    finally:
        await store.aclose()
