"""Opens the tables of keys, people and the audit in the state storage. The caller closes them.

Each connects when it is first used. Raises ``ConfigError`` for a missing package."""

from typing import TYPE_CHECKING, Final, cast

from gateway.config.settings import Config
from gateway.features.admin.followed_keys import FollowedKeys, FollowedRows
from gateway.features.admin.followed_rights import FollowedRights
from gateway.features.admin.key_store import KeyStore
from gateway.features.admin.store import RightsStore
from gateway.features.admin.tables import PEOPLE_TABLES
from gateway.open_store import open_database
from gateway.seams.identify import OpenRows

if TYPE_CHECKING:
    from gateway.config.clients import ClientGroup, ClientKey

PEOPLE_CONNECTIONS: Final = 3
"""Connections to PostgreSQL for sign-ins, changes and lists of people."""


def open_key_store(config: Config, *, with_audit: bool = False) -> KeyStore | None:
    """Return the store of clients' keys, or ``None`` if the state storage cannot store keys.

    ``with_audit`` creates the tables of people, which include the audit."""
    database = open_database(config, 1, PEOPLE_TABLES if with_audit or _follows_people(config) else None)
    return None if database is None else KeyStore(database)


def open_rights_store(config: Config) -> RightsStore | None:
    """Return the store of raises and of the audit, or ``None`` if nothing needs it or the state storage cannot have
    it."""
    if not (config.rule_clients or config.stored_clients != "off"):
        return None
    database = open_database(config, PEOPLE_CONNECTIONS, PEOPLE_TABLES)
    return None if database is None else RightsStore(database)


def open_keys(config: Config, rows: OpenRows | None) -> FollowedKeys:
    """Return the stored clients that this process follows, with raises and other ``rows``."""

    def rows_for(config: Config, store: KeyStore) -> FollowedRows | None:
        if not _follows_people(config):
            return None
        return FollowedRights(store.notation) if rows is None else cast("FollowedRows", rows(store.notation))

    return FollowedKeys(open_key_store(config), rows_for=rows_for)


def _follows_people(config: Config) -> bool:
    """Return whether the rights of clients may change through the tables of people."""
    holders: tuple[ClientKey | ClientGroup, ...] = (*config.client_keys, *config.client_groups)
    return bool(config.rule_clients) or any(holder.raise_to for holder in holders)
