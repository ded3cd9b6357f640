"""The tables of people in the state storage, which the store of clients creates with its own."""

from typing import Final

TABLES: Final = (
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
    CREATE TABLE {own_keys} (
        person text NOT NULL, name text NOT NULL, digest text NOT NULL UNIQUE, until double precision NOT NULL,
        made double precision NOT NULL, PRIMARY KEY (person, name)
    )
    """,
    "ALTER TABLE {own_keys} ADD COLUMN used double precision",
)
"""The scripts. Types and clauses are those that both databases understand."""
