"""The tables of people in the state storage. Versions without them ignore them."""

from typing import Final

from gateway.stores.database import AddedTables

AUDIT_DIGESTS: Final = AddedTables(
    "audit_digests",
    ("CREATE TABLE {audit_digests} (number bigint PRIMARY KEY, digest text NOT NULL)",),
    is_optional=True,
)
"""The digests of the audit's rows. Older versions write rows without a digest."""

PEOPLE_TABLES: Final = AddedTables(
    "people",
    (
        """
        CREATE TABLE {people} (
            name text PRIMARY KEY, issuer text NOT NULL, label text NOT NULL, claims text NOT NULL,
            client_group text, role text NOT NULL, first double precision NOT NULL, seen double precision NOT NULL,
            claims_at double precision NOT NULL
        );
        CREATE INDEX {people_seen} ON {people} (seen);
        CREATE TABLE {issuer_sessions} (
            id text PRIMARY KEY, person text NOT NULL, issuer text NOT NULL, claims text NOT NULL,
            refresh bytea, checked double precision NOT NULL,
            claimed double precision
        );
        CREATE TABLE {person_sessions} (
            id text PRIMARY KEY, origin text NOT NULL, person text NOT NULL, kind text NOT NULL,
            program text NOT NULL, address text NOT NULL, began double precision NOT NULL,
            until double precision NOT NULL, tokens_until double precision NOT NULL, seen double precision NOT NULL,
            cookie text UNIQUE, refresh text UNIQUE, ended double precision
        );
        CREATE INDEX {person_sessions_person} ON {person_sessions} (person, ended, until);
        CREATE INDEX {person_sessions_began} ON {person_sessions} (person, began);
        CREATE INDEX {person_sessions_origin} ON {person_sessions} (origin);
        CREATE INDEX {person_sessions_until} ON {person_sessions} (until);
        CREATE TABLE {used_refresh_tokens} (
            digest text PRIMARY KEY, session text NOT NULL, at double precision NOT NULL
        );
        CREATE INDEX {used_refresh_tokens_session} ON {used_refresh_tokens} (session, at);
        CREATE TABLE {device_grants} (
            device_code text PRIMARY KEY, user_code text NOT NULL UNIQUE, program text NOT NULL, address text NOT NULL,
            began double precision NOT NULL, until double precision NOT NULL, status text NOT NULL,
            origin text, person text, polled double precision
        );
        CREATE TABLE {used_once} (digest text PRIMARY KEY, until double precision NOT NULL);
        CREATE TABLE {people_blocks} (
            name text PRIMARY KEY, at double precision NOT NULL, made_by text NOT NULL, reason text NOT NULL
        );
        CREATE TABLE {raises} (
            holder text PRIMARY KEY, budgets text NOT NULL, until double precision NOT NULL,
            at double precision NOT NULL, made_by text NOT NULL
        );
        CREATE TABLE {own_keys} (
            person text NOT NULL, name text NOT NULL, digest text NOT NULL UNIQUE, until double precision NOT NULL,
            made double precision NOT NULL, PRIMARY KEY (person, name)
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
        "ALTER TABLE {own_keys} ADD COLUMN used double precision",
    ),
    further=AUDIT_DIGESTS,
)
"""The tables with their additions. Types and clauses are those that both databases understand."""
