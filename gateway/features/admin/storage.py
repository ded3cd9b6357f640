"""Opens the stored clients, with the tables of people and the audit that change with them."""

from typing import TYPE_CHECKING, cast

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.admin.feature import RaiseRights
from gateway.features.admin.followed_keys import FollowedKeys
from gateway.features.admin.followed_rights import FollowedRights
from gateway.features.admin.key_store import KeyStore
from gateway.features.admin.store import rights_tables
from gateway.seams.identify import OpenRows

if TYPE_CHECKING:
    from gateway.config.clients import ClientGroup, ClientKey
    from gateway.stores.database import Database


def key_store_of(database: "Database") -> KeyStore:
    """Return the store of clients' keys, which also changes the audit."""
    return KeyStore(database, rights_tables())


def open_keys(config: Config, database: "Database", rows: OpenRows | None) -> FollowedKeys:
    """Return the stored clients that this process follows, with raises and other ``rows``."""

    def rows_for(config: Config) -> FollowedRights | None:
        if not _follows_people(config):
            return None
        return FollowedRights() if rows is None else cast("FollowedRights", rows())

    return FollowedKeys(key_store_of(database), rows_for=rows_for)


def _follows_people(config: Config) -> bool:
    """Return whether the rights of clients may change through the tables of people."""
    holders: tuple[ClientKey | ClientGroup, ...] = (*config.client_keys, *config.client_groups)
    return bool(config.rule_clients) or any(part_of(holder, RaiseRights).raise_to for holder in holders)
