"""Stored clients by name."""

import click

from gateway.commands.client_names import read_storage
from gateway.config.settings import Config
from gateway.features.admin.commands.keys import parse_clients
from gateway.features.admin.key_store import KeyTable
from gateway.features.admin.storage import key_store_of


def find_stored(config: Config, name: str, names: list[str]) -> Config | None:
    """Return ``config`` with its stored clients if one has the ``name``: a ``FindClient``."""
    if config.stored_clients == "off" or config.is_rule_name(name):
        return None
    what = "the stored clients are unknown"
    table = read_storage(config, lambda database: key_store_of(database).read(), what)
    stored = parse_clients(table or KeyTable(), config)
    if name in stored.refused:
        raise click.UsageError(f"--key: gateways refuse the stored client {name}: {stored.refused[name]}")
    names += [one.name for one in stored.clients]
    return stored.beside(config) if name in names else None
