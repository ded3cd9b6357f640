"""The tables of raises and of the audit in the state storage, with those of features whose rows change with clients.

Versions without them ignore them."""

from functools import cache
from itertools import zip_longest
from typing import Final

from gateway.features.known import features
from gateway.named_imports import import_named
from gateway.stores.database import AddedTables

AUDIT_DIGESTS: Final = AddedTables(
    "audit_digests",
    ("CREATE TABLE {audit_digests} (number bigint PRIMARY KEY, digest text NOT NULL)",),
    is_optional=True,
)
"""The digests of the audit's rows. Older versions write rows without a digest."""

_OWN: Final = (
    """
    CREATE TABLE {raises} (
        holder text PRIMARY KEY, budgets text NOT NULL, until double precision NOT NULL,
        at double precision NOT NULL, made_by text NOT NULL
    );
    CREATE TABLE {audit} (
        number bigint PRIMARY KEY, at double precision NOT NULL, who text NOT NULL, credential text NOT NULL,
        address text NOT NULL, request_id text NOT NULL, method text NOT NULL, path text NOT NULL,
        status integer NOT NULL, before text, after text
    );
    CREATE INDEX {audit_at} ON {audit} (at);
    CREATE TABLE {people_changes} (
        number bigint PRIMARY KEY, mark text NOT NULL, kind text NOT NULL, name text NOT NULL
    )
    """,
)
"""The scripts. Types and clauses are those that both databases understand."""


@cache
def rights_tables() -> AddedTables:
    """Return the tables. They have one version together, because all processes change them in one transaction.

    Without another feature, a database may have more of them."""
    others = [import_named(feature.client_tables) for feature in features() if feature.client_tables]
    scripts = tuple(";".join(filter(None, parts)) for parts in zip_longest(_OWN, *others))
    return AddedTables("people", scripts, is_optional=not others, further=AUDIT_DIGESTS)
