"""Counters in PostgreSQL: a function performs each step there, with rows locked in key order. Requires the extra
``postgres``."""

import contextlib
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, LiteralString, cast

import psycopg
from psycopg.sql import SQL, Literal

from gateway.counters.counter_store import CounterStoreUnavailable, SendStep
from gateway.stores.errors import Unavailable
from gateway.stores.pool import ConnectionPool
from gateway.stores.postgres import BEGIN, PostgresConnection, reason_of

_SCHEMA: Final[LiteralString] = """
SELECT pg_advisory_xact_lock(7482111964);
CREATE TABLE IF NOT EXISTS trigate_counters (
    key text PRIMARY KEY, full_at double precision NOT NULL DEFAULT 0, used bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0, until double precision NOT NULL DEFAULT 0
);
DO $$ BEGIN
    IF to_regclass('trigate_counters_until') IS NULL THEN  -- IF NOT EXISTS waits for all steps, and holds up the next
        CREATE INDEX trigate_counters_until ON trigate_counters (until);
    END IF;
END $$;
CREATE TABLE IF NOT EXISTS trigate_counting (
    name text PRIMARY KEY, number bigint NOT NULL, reply text NOT NULL, seen double precision NOT NULL
);
CREATE TABLE IF NOT EXISTS trigate_claims (
    process text NOT NULL, name text NOT NULL, debits jsonb NOT NULL, PRIMARY KEY (process, name)
);
CREATE TABLE IF NOT EXISTS trigate_notes (
    name text PRIMARY KEY, value text NOT NULL, writer text NOT NULL, until double precision NOT NULL,
    number bigserial UNIQUE
);

CREATE OR REPLACE FUNCTION trigate_told(one jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT format(
        '[%s,%s,%s]',
        CASE WHEN one->>0 = 'rate' THEN coalesce(c.full_at, 0)::text ELSE coalesce(c.used, 0)::text END,
        coalesce(c.held, 0), (
            SELECT format('%s,%s', coalesce(sum(e.used), 0), coalesce(sum(e.held), 0)) FROM trigate_counters e
            WHERE e.key IN (SELECT jsonb_array_elements_text(one->4))
        )
    ) FROM (SELECT 1) AS always LEFT JOIN trigate_counters c ON c.key = one->>1
$$;

CREATE OR REPLACE FUNCTION trigate_fits(one jsonb, now double precision) RETURNS boolean LANGUAGE sql AS $$
    SELECT (one->>5)::bigint = 0 OR CASE WHEN one->>0 = 'rate' THEN
        greatest(c.full_at, now) + least((one->>5)::float * (one->>2)::float, (one->>3)::float)
            - now - (one->>3)::float <= 0.000001
    ELSE
        c.used + c.held + (one->>5)::bigint + (
            SELECT coalesce(sum(e.used + e.held), 0) FROM trigate_counters e
            WHERE e.key IN (SELECT jsonb_array_elements_text(one->4))
        ) <= (one->>2)::bigint
    END FROM trigate_counters c WHERE c.key = one->>1
$$;

CREATE OR REPLACE FUNCTION trigate_debit(one jsonb, now double precision) RETURNS void LANGUAGE sql AS $$
    UPDATE trigate_counters SET
        full_at = CASE WHEN (one->>5)::bigint > 0 THEN greatest(full_at, now) ELSE full_at END
            + (one->>5)::float * (one->>2)::float
    WHERE key = one->>1 AND (one->>5)::bigint <> 0;
    UPDATE trigate_counters SET until = full_at WHERE key = one->>1
$$;

CREATE OR REPLACE FUNCTION trigate_hold(me text, claim jsonb, rates boolean, now double precision) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE one jsonb;
BEGIN
    INSERT INTO trigate_claims VALUES (me, claim->>0, claim->1) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RETURN; END IF;
    FOR one IN SELECT * FROM jsonb_array_elements(claim->1) LOOP
        IF one->>0 <> 'rate' THEN
            UPDATE trigate_counters SET held = least(held + (one->>5)::bigint, 1000000000000000000),
                until = (one->>3)::float + 3600 WHERE key = one->>1;
        ELSIF rates THEN
            PERFORM trigate_debit(one, now);
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION trigate_step(asked jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    me text := asked->>'name'; this bigint := (asked->>'number')::bigint;
    now double precision := extract(epoch FROM clock_timestamp());
    last bigint; told text; gone text[]; keys text[]; one jsonb; claims jsonb; room boolean; alive bigint;
    read_to bigint := coalesce((asked->>'read_to')::bigint, 0); noted text;
    added text[] := '{}'; reserved text[] := '{}'; looked text[] := '{}'; states text[];
BEGIN
    IF asked->>'joins' = '1' THEN  -- it may come twice at once, and there is no row yet to wait for
        PERFORM pg_advisory_xact_lock(hashtextextended(me, 7482111964));
    END IF;
    SELECT number, reply INTO last, told FROM trigate_counting WHERE name = me FOR UPDATE;
    last := coalesce(last, 0);
    IF last = this THEN RETURN told; END IF;
    IF last <> this - 1 OR (last = 0 AND asked->>'joins' = '0') THEN RETURN '{"lost":1}'; END IF;

    gone := ARRAY(SELECT jsonb_array_elements_text(asked->'former')) || ARRAY(
        SELECT name FROM trigate_counting WHERE seen < now - (asked->>'lease')::float AND name <> me
        ORDER BY name LIMIT 4 FOR UPDATE SKIP LOCKED
    );
    keys := ARRAY(SELECT DISTINCT wanted.key FROM (
        SELECT d->>1 AS key FROM jsonb_array_elements((asked->'raised') || (asked->'added')) d
        UNION ALL SELECT d->>1 FROM jsonb_array_elements(asked->'holds') c, jsonb_array_elements(c->1) d
        UNION ALL SELECT d->>1 FROM jsonb_array_elements(asked->'reserved') r, jsonb_array_elements(r) c,
            jsonb_array_elements(c->1) d
        UNION ALL SELECT d->>1 FROM trigate_claims o, jsonb_array_elements(o.debits) d WHERE o.process = ANY(gone)
            OR o.process = me AND o.name IN (SELECT e->>0 FROM jsonb_array_elements(asked->'ended') e)
    ) wanted ORDER BY 1);
    INSERT INTO trigate_counters (key) SELECT unnest(keys) ORDER BY 1 ON CONFLICT DO NOTHING;
    PERFORM 1 FROM trigate_counters WHERE key = ANY(keys) ORDER BY key FOR UPDATE;

    FOR one IN SELECT * FROM jsonb_array_elements(asked->'raised') LOOP
        IF one->>0 = 'rate' THEN
            UPDATE trigate_counters SET full_at = greatest(full_at, (one->>5)::float),
                until = greatest(full_at, (one->>5)::float) WHERE key = one->>1;
        ELSE
            UPDATE trigate_counters SET used = greatest(used, (one->>5)::bigint),
                until = greatest(until, (one->>3)::float + 3600) WHERE key = one->>1;
        END IF;
    END LOOP;
    DELETE FROM trigate_counting WHERE name = ANY(gone);
    WITH over AS (DELETE FROM trigate_claims WHERE process = ANY(gone) RETURNING debits),
    back AS (
        SELECT d->>1 AS key, sum((d->>5)::bigint) AS amount FROM over, jsonb_array_elements(debits) d
        WHERE d->>0 <> 'rate' GROUP BY 1
    ) UPDATE trigate_counters c SET held = greatest(0, held - back.amount) FROM back WHERE c.key = back.key;
    FOR one IN SELECT * FROM jsonb_array_elements(asked->'holds') LOOP
        PERFORM trigate_hold(me, one, false, now);
    END LOOP;
    WITH ended AS (SELECT e->>0 AS name, e->>1 = '1' AS refund FROM jsonb_array_elements(asked->'ended') e),
    over AS (
        DELETE FROM trigate_claims c USING ended WHERE c.process = me AND c.name = ended.name RETURNING debits, refund
    ), back AS (
        SELECT d->>1 AS key, coalesce(sum((d->>5)::bigint) FILTER (WHERE d->>0 <> 'rate'), 0) AS amount,
            coalesce(sum((d->>5)::float * (d->>2)::float) FILTER (WHERE d->>0 = 'rate' AND refund), 0) AS seconds
        FROM over, jsonb_array_elements(debits) d GROUP BY 1
    ) UPDATE trigate_counters c SET held = greatest(0, held - back.amount), full_at = full_at - back.seconds
    FROM back WHERE c.key = back.key;
    FOR one IN SELECT * FROM jsonb_array_elements(asked->'added') LOOP
        IF one->>0 = 'rate' THEN
            PERFORM trigate_debit(one, now);
        ELSE
            UPDATE trigate_counters SET used = least(used + (one->>5)::bigint, 1000000000000000000),
                until = greatest(until, (one->>3)::float + 3600) WHERE key = one->>1;
        END IF;
        added := added || trigate_told(one);
    END LOOP;
    FOR claims IN SELECT * FROM jsonb_array_elements(asked->'reserved') LOOP
        SELECT coalesce(bool_and(trigate_fits(d, now)), true) INTO room
        FROM jsonb_array_elements(claims) c, jsonb_array_elements(c->1) d;
        states := '{}';
        FOR one IN SELECT * FROM jsonb_array_elements(claims) LOOP
            IF room THEN PERFORM trigate_hold(me, one, true, now); END IF;
            states := states || ARRAY(SELECT trigate_told(d)
                FROM jsonb_array_elements(one->1) WITH ORDINALITY AS o(d, n)
                ORDER BY n);
        END LOOP;
        reserved := reserved || format('[%s,[%s]]', room::integer, array_to_string(states, ','));
    END LOOP;

    FOR one IN SELECT * FROM jsonb_array_elements(coalesce(asked->'looked', '[]'::jsonb)) LOOP
        looked := looked || trigate_told(one);
    END LOOP;

    IF jsonb_array_length(coalesce(asked->'noted', '[]'::jsonb)) > 0 THEN
        PERFORM pg_advisory_xact_lock(7482111965);  -- so that notes become visible in the order of their numbers
        INSERT INTO trigate_notes (name, value, writer, until)
        SELECT n->>0, n->>1, me, now + (n->>2)::float / 1000 FROM jsonb_array_elements(asked->'noted') n
        ON CONFLICT (name) DO UPDATE SET value = excluded.value, writer = me, until = excluded.until,
            number = excluded.number
        WHERE trigate_notes.writer = me OR trigate_notes.number <= read_to OR trigate_notes.until < now;
        DELETE FROM trigate_notes WHERE number <= (SELECT max(number) - 100000 FROM trigate_notes);
    END IF;
    SELECT coalesce(max(n.number), read_to), coalesce(string_agg(
        format('[%s,%s,%s]', to_json(n.name), to_json(n.value), round((n.until - now) * 1000)), ',' ORDER BY n.number
    ) FILTER (WHERE n.writer <> me AND n.until > now), '') INTO read_to, noted
    FROM (SELECT * FROM trigate_notes t WHERE t.number > read_to ORDER BY t.number LIMIT 500) n;

    SELECT count(*) INTO alive FROM trigate_counting WHERE name <> me;
    told := format('{"time":%s,"alive":%s,"reserved":[%s],"added":[%s],"looked":[%s],"noted":[%s],"read_to":%s}',
        now, alive + 1, array_to_string(reserved, ','), array_to_string(added, ','), array_to_string(looked, ','),
        noted, read_to);
    IF asked->>'leaves' = '1' THEN
        DELETE FROM trigate_counting WHERE name = me;
    ELSE
        INSERT INTO trigate_counting VALUES (me, this, told, now)
        ON CONFLICT (name) DO UPDATE SET number = this, reply = told, seen = now;
    END IF;
    IF cardinality(keys) = 0 THEN  -- nobody waits
        DELETE FROM trigate_counters WHERE key IN (
            SELECT key FROM trigate_counters WHERE until < now AND held = 0 ORDER BY until LIMIT 1000
            FOR UPDATE SKIP LOCKED
        );
    END IF;
    RETURN told;
END $$;
"""
"""Executed by a connection that finds only a part of it, or another version's functions."""

_PARTS: Final = frozenset(
    re.findall(r"CREATE (?:TABLE IF NOT EXISTS|INDEX) (\w+)", _SCHEMA)
    + re.findall(r"FUNCTION[^$]+\$\$(.*?)\$\$;", _SCHEMA, re.DOTALL)
)
"""The names of tables and indexes, and the sources of functions."""

_FIND_PARTS: Final = """
    SELECT relname::text FROM pg_class WHERE relname LIKE 'trigate%' AND pg_table_is_visible(oid)
    UNION SELECT prosrc FROM pg_proc WHERE proname LIKE 'trigate%' AND pg_function_is_visible(oid)
"""

_BEGIN: Final = BEGIN.format(milliseconds=5000) + "; SET LOCAL synchronous_commit = off"
"""A crashed server may lose the last tenth of a second; the gateway detects that and sends it again."""

_STEP: Final = SQL(_BEGIN + "; SELECT trigate_step({}::jsonb); COMMIT")

_LIMIT: Final = 3.0
"""Seconds to connect."""


class PostgresCounters:
    """A counter store in the PostgreSQL server at ``url``."""

    title = "PostgreSQL"

    def __init__(self, url: str) -> None:
        self._url = url

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[SendStep]:
        pool = ConnectionPool(partial(CountingConnection, self._url, _BEGIN), 1, _LIMIT)

        async def send(text: bytes, limit: float) -> bytes:
            try:
                return await pool.run(lambda connection: connection.step(text), limit)
            except Unavailable:
                raise CounterStoreUnavailable(f"no response for {limit:g} s") from None
            except psycopg.Error as error:
                raise CounterStoreUnavailable(reason_of(error, "it")) from None

        try:
            yield send
        finally:
            await pool.aclose()


class CountingConnection(PostgresConnection):
    """A connection that performs steps."""

    def prepare(self) -> None:
        if _PARTS - {part for (part,) in self.db.execute(_FIND_PARTS)}:  # otherwise the user may lack permissions
            self.transact(lambda connection: connection.db.execute(_SCHEMA))

    def step(self, text: bytes) -> bytes:
        """Perform a step in one message: a process that stalls must not keep a transaction open."""
        try:
            cursor = self.db.execute(_STEP.format(Literal(text.decode())))
        except BaseException:
            if not self.db.closed:
                self.db.rollback()
            raise
        while cursor.description is None:
            assert cursor.nextset()
        found = cursor.fetchone()
        assert found is not None
        return cast("str", found[0]).encode()
