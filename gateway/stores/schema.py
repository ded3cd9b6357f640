"""The tables that every database of the state storage has: one script per schema version, in the notation of
``gateway.stores.database``."""

from typing import Final

SCHEMA: Final = (
    """
    CREATE TABLE {trees} (tree {row_number}, used double precision NOT NULL);
    CREATE INDEX {trees_used} ON {trees} (used);
    CREATE TABLE {nodes} (
        {node} {row_number},  -- grows with every write: the higher one is the later one
        tree bigint NOT NULL REFERENCES {trees},
        owner text NOT NULL, id text NOT NULL, kind text NOT NULL, parent text,
        size bigint NOT NULL, items {texts} NOT NULL,
        body {bytes} NOT NULL,  -- last: the columns before it are read without its pages
        UNIQUE (owner, id)
    );
    CREATE INDEX {nodes_tree} ON {nodes} (tree, size);
    CREATE TABLE {items} (
        owner text NOT NULL, item text NOT NULL, {node} bigint NOT NULL REFERENCES {nodes} ON DELETE CASCADE,
        PRIMARY KEY (owner, item, {node})
    ) {clustered};
    CREATE INDEX {items_node} ON {items} ({node});
    {create_total};
    """,
    """
    ALTER TABLE {total} ADD COLUMN nodes bigint NOT NULL DEFAULT 0;
    UPDATE {total} SET nodes = (SELECT count(*) FROM {nodes}) {where_first_stripe};
    """,
    """
    ALTER TABLE {trees} ADD COLUMN owner text NOT NULL DEFAULT '';
    UPDATE {trees} SET owner = coalesce((SELECT n.owner FROM {nodes} n WHERE n.tree = {trees}.tree LIMIT 1), '');
    CREATE INDEX {trees_owner} ON {trees} (owner, used, tree);
    {create_owners};
    """,
    """
    CREATE TABLE {ledger} (  -- a row for each attempt of an exchange, the first of them also for one without any
        began bigint NOT NULL,  -- microseconds since 1970
        line bigint NOT NULL, attempt integer NOT NULL,
        request text NOT NULL, client text, client_group text, run text, asked text, route text,
        target text, model text, reason text,
        input bigint NOT NULL, cache_read bigint NOT NULL, cache_write bigint NOT NULL, output bigint NOT NULL,
        nanos bigint NOT NULL, grade integer, estimated integer NOT NULL, delivered integer NOT NULL,
        status integer NOT NULL, ended text NOT NULL,
        PRIMARY KEY (began, line, attempt)
    ) {clustered};
    """,
    """
    CREATE TABLE {client_keys} (name text PRIMARY KEY, item text NOT NULL) {clustered};
    CREATE TABLE {key_changes} (
        number {serial}, at double precision NOT NULL, made_by text NOT NULL, event text NOT NULL, name text NOT NULL,
        about text NOT NULL, mark text NOT NULL
    );
    """,
    """
    CREATE TABLE IF NOT EXISTS {kept_objects} (  -- what clients have made at providers, as they saw it last
        number {serial}, owner text NOT NULL, collection text NOT NULL, id text NOT NULL,
        until double precision NOT NULL, body {bytes} NOT NULL,
        UNIQUE (owner, id)
    );
    CREATE INDEX IF NOT EXISTS {kept_objects_listed} ON {kept_objects} (owner, collection, number);
    """,
    """
    ALTER TABLE {ledger} ADD COLUMN endpoint text;  -- and beside tokens
    ALTER TABLE {ledger} ADD COLUMN images bigint NOT NULL DEFAULT 0;
    ALTER TABLE {ledger} ADD COLUMN seconds bigint NOT NULL DEFAULT 0;
    ALTER TABLE {ledger} ADD COLUMN characters bigint NOT NULL DEFAULT 0;
    ALTER TABLE {ledger} ADD COLUMN searches bigint NOT NULL DEFAULT 0;
    ALTER TABLE {ledger} ADD COLUMN pages bigint NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE {ledger} ADD COLUMN last bigint;  -- of a sum: when its last exchange began
    ALTER TABLE {ledger} ADD COLUMN level integer;
    ALTER TABLE {ledger} ADD COLUMN exchanges bigint;
    ALTER TABLE {ledger} ADD COLUMN failures bigint;
    ALTER TABLE {ledger} ADD COLUMN attempts bigint;
    ALTER TABLE {ledger} ADD COLUMN attempt_failures bigint;
    CREATE INDEX {ledger_sums} ON {ledger} (level, began) WHERE level IS NOT NULL;
    """,
)
"""Older versions refuse a database with more scripts. Tables or columns that they may ignore are ``AddedTables``."""
