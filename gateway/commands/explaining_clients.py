"""Clients by name, for ``trigate explain`` and ``trigate steps try``.

They are in the configuration or in the state storage, or people with the rights of the rule that admits them."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeVar

import attrs
import click
import trio

from configfile.document import sentence
from gateway.commands.keys import parse_clients
from gateway.commands.terminal import suggest_name
from gateway.config.clients import ClientKey
from gateway.config.issuers import AdmitRule, TrustedIssuer
from gateway.config.loading import Config
from gateway.config.stored_keys import StoredClients
from gateway.stores.key_store import KeyTable
from gateway.stores.store import Unavailable

T = TypeVar("T")

_UNSEEN: Final = (
    "--key: the gateway has not seen {0} in the last 90 days, so its rule is unknown; `trigate people list` lists the "
    "people that it has seen"
)


def with_client(config: Config, key: str | None) -> Config:
    """Return ``config`` with the client ``key``: a client key of it or of its state storage, or a person of an issuer.

    Raises ``click.UsageError``."""
    names = [one.name for one in config.client_keys]
    if key is None or key in names:
        return config
    if (person := _client_of_person(config, key)) is not None:
        return attrs.evolve(config, client_keys=(*config.client_keys, person))
    if config.stored_keys != "off":
        stored = _read_stored_clients(config)
        if key in stored.refused:
            raise click.UsageError(f"--key: gateways refuse the stored client {key}: {stored.refused[key]}")
        names += [one.name for one in stored.clients]
        if key in names:
            return stored.beside(config)
    raise click.UsageError(f"--key: {config.path} has no client key {key!r}; {suggest_name(key, names)}")


def _read_stored_clients(config: Config) -> StoredClients:
    """Return the clients in the state storage, none if it does not exist yet. Raises ``click.UsageError``."""
    from gateway.features.admin.interface import open_key_store  # only stored clients need it

    what = "the stored clients are unknown"
    table = _read_storage(config, open_key_store, lambda store: store.read(), what)
    return parse_clients(table or KeyTable(), config)


def _client_of_person(config: Config, name: str) -> ClientKey | None:
    """Return the person ``name`` as a client, ``None`` if no issuer of ``config`` has such people.

    The state storage has the claims of the people that the gateway has seen. Raises ``click.UsageError``."""
    issuer = next((one for one in config.issuers if name.startswith(f"{one.name}:")), None)
    if issuer is None:
        return None
    client = _rule_of(config, issuer, name).client
    assert client is not None, "rules of a read configuration have one"
    return attrs.evolve(client, name=name)


def _rule_of(config: Config, issuer: TrustedIssuer, name: str) -> AdmitRule:
    from gateway.features.people.interface import (  # only a configuration with issuers needs it
        Block,
        NotAdmitted,
        PeopleStore,
        RuleBook,
        SeenPerson,
        open_people_store,
    )

    async def read(store: PeopleStore) -> tuple[SeenPerson | None, Block | None]:
        return await store.person(name), await store.block_of(name)

    what = f"the rule of {name} is unknown"
    seen, block = _read_storage(config, open_people_store, read, what) or (None, None)
    if block is not None:
        raise click.UsageError(f"--key: the access of {name} is blocked, so its requests get 401")
    if seen is not None:
        try:
            return RuleBook(config.issuers).admit(seen.issuer, seen.claims)[1]
        except NotAdmitted as error:
            raise click.UsageError(f"--key: {error.info.message}") from None
    if len(issuer.admit) == 1:
        return issuer.admit[0]
    raise click.UsageError(_UNSEEN.format(name))


def _read_storage(
    config: Config, open_part: Callable[[Config], Any], read: Callable[[Any], Awaitable[T]], unknown: str
) -> T | None:
    """Return what ``read`` reads in a part of the state storage, ``None`` if there is none yet.

    Raises ``click.UsageError``, which begins with ``unknown``, if it cannot be read."""
    kept = config.state_storage
    if kept is None or (kept.path is not None and not kept.path.exists()):  # opening it would create the file
        return None

    async def read_part() -> T | None:
        if (store := open_part(config)) is None:
            return None
        async with aclosing(store):
            return await read(store)

    try:
        return trio.run(read_part)
    except Unavailable as error:
        raise click.UsageError(f"--key: {unknown}: {sentence(str(error))}") from None
