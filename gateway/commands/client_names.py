"""Clients by name, for ``trigate explain`` and ``trigate steps try``: those of the configuration, and of features."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar, cast

import click
import trio

from configfile.document import sentence
from gateway.commands.terminal import suggest_name
from gateway.config.settings import Config
from gateway.features.known import imported_features
from gateway.named_imports import import_named
from gateway.open_store import open_keeping_database
from gateway.stores.errors import Unavailable

if TYPE_CHECKING:
    from gateway.seams.identify import FindClient
    from gateway.stores.database import Database

T = TypeVar("T")


def with_client(config: Config, key: str | None) -> Config:
    """Return ``config`` with the client ``key``, which it or a feature has. Raises ``click.UsageError``."""
    names = [one.name for one in config.client_keys]
    if key is None or key in names:
        return config
    for feature in imported_features():
        if feature.find_client:
            found = cast("FindClient", import_named(feature.find_client))(config, key, names)
            if found is not None:
                return found
    raise click.UsageError(f"--key: {config.path} has no client key {key!r}; {suggest_name(key, names)}")


def read_storage(config: Config, read: Callable[["Database"], Awaitable[T]], unknown: str) -> T | None:
    """Return what ``read`` reads in the database of the state storage, ``None`` if there is none yet.

    Raises ``click.UsageError``, which begins with ``unknown``, if it cannot be read."""
    kept = config.state_storage
    if kept is None or (kept.path is not None and not kept.path.exists()):  # opening it would create the file
        return None

    async def read_part() -> T | None:
        async with open_keeping_database(config) as database:
            return None if database is None else await read(database)

    try:
        return trio.run(read_part)
    except Unavailable as error:
        raise click.UsageError(f"--key: {unknown}: {sentence(error.with_cause())}") from None
