"""Opens the tables of keys, people and the audit in the state storage. The caller closes them.

Each connects when it is first used. Raises ``ConfigError`` for a missing package."""

from typing import TYPE_CHECKING, Final

from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
from gateway.features.admin.followed_keys import FollowedKeys
from gateway.features.admin.tables import PEOPLE_TABLES
from gateway.open_store import open_database
from gateway.stores.key_store import KeyStore

if TYPE_CHECKING:
    from gateway.config.clients import ClientGroup, ClientKey
    from gateway.features.people.followed import FollowedPeople
    from gateway.features.people.store import PeopleStore

PEOPLE_CONNECTIONS: Final = 3
"""Connections to PostgreSQL for sign-ins, changes and lists of people."""


def open_key_store(config: Config, *, with_audit: bool = False) -> KeyStore | None:
    """Return the store of clients' keys, or ``None`` if the state storage cannot store keys.

    ``with_audit`` creates the tables of people, which include the audit."""
    database = open_database(config, 1, PEOPLE_TABLES if with_audit or _follows_people(config) else None)
    return None if database is None else KeyStore(database)


def open_people_store(config: Config) -> "PeopleStore | None":
    """Return the store of people and of the audit, or ``None`` if nothing needs it or the state storage cannot have
    it."""
    if not (config.issuers or config.stored_keys != "off"):
        return None
    from gateway.features.people.store import PeopleStore

    database = open_database(config, PEOPLE_CONNECTIONS, PEOPLE_TABLES)
    return None if database is None else PeopleStore(database)


def open_keys(config: Config) -> FollowedKeys:
    """Return the stored clients that this process follows, with the rows of people and raises."""
    return FollowedKeys(open_key_store(config), rows_for=_rows_of_people)


def _rows_of_people(config: Config, store: KeyStore) -> "FollowedPeople | None":
    if not _follows_people(config):
        return None
    from gateway.features.people.followed import FollowedPeople

    return FollowedPeople(store.notation)


def stores_clients(config: Config) -> bool:
    """Return whether the state storage can have clients."""
    return config.state_storage is not None and config.state_storage.type in KEEPING_KEYS


def _follows_people(config: Config) -> bool:
    """Return whether the rights of clients may change through the tables of people."""
    holders: tuple[ClientKey | ClientGroup, ...] = (*config.client_keys, *config.client_groups)
    return bool(config.issuers) or any(holder.raise_to for holder in holders)
