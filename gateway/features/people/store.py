"""Stores people's sessions, keys, blocks and raises in the tables of a database, and an audit of all changes.

Every method is one transaction, and may raise ``Unavailable``. The store has digests of secrets, never secrets
(``records.digest_of``)."""

from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Concatenate, LiteralString, ParamSpec, TypeAlias, TypeVar

import attrs

from gateway.features.people import rights_rows, session_rows
from gateway.features.people.records import (
    AuditEntry,
    Block,
    DeviceGrant,
    IssuerSession,
    OwnKey,
    PersonSession,
    Raise,
    SeenPerson,
)
from gateway.features.people.rights_rows import accept_any
from gateway.features.people.rows import (
    BLOCKS,
    GRANTS,
    ISSUER_SESSIONS,
    OWN_KEYS,
    PEOPLE,
    RAISES,
    SESSIONS,
    PeopleTables,
    RecordTable,
)
from gateway.features.people.sweeping import sweep
from gateway.stores.sql import Database, Session

P = ParamSpec("P")
T = TypeVar("T")

Work: TypeAlias = Callable[Concatenate[PeopleTables, P], T]
Method: TypeAlias = Callable[Concatenate["PeopleStore", P], Coroutine[Any, Any, T]]


@attrs.frozen(repr=False)
class Refreshed:
    """The result of a refresh: the unchanged ``session``, its person, and the new sign-in at the issuer.

    ``issuer_session`` is ``None`` if another process has stored it. ``refresh`` is the digest of the next refresh
    token, ``tokens_until`` the end of the next token."""

    session: PersonSession
    person: SeenPerson
    issuer_session: IssuerSession | None
    refresh: str
    tokens_until: float
    now: float


def _reading(work: Work[P, T]) -> Method[P, T]:
    """Return a method of the store that runs ``work`` in a transaction."""

    @wraps(work)
    async def read(self: "PeopleStore", /, *args: P.args, **named: P.kwargs) -> T:
        return await self.database.read(lambda session: work(self.tables(session), *args, **named))

    return read


def _changing(work: Work[P, T]) -> Method[P, T]:
    """Return a method of the store that runs ``work`` in a transaction while no other process changes the tables."""

    @wraps(work)
    async def change(self: "PeopleStore", /, *args: P.args, **named: P.kwargs) -> T:
        def run_locked(session: Session) -> T:
            tables = self.tables(session)
            tables.lock()
            return work(tables, *args, **named)

        return await self.database.write(run_locked)

    return change


def _confirm(tables: PeopleTables, person: SeenPerson, issuer_session: IssuerSession) -> bool:
    """Store the issuer's confirmation of a sign-in. Return false if the sign-in has ended, or is blocked."""
    if tables.find(ISSUER_SESSIONS, id=issuer_session.id) is None:
        return False
    if tables.find(BLOCKS, name=person.name) is not None:
        return False
    session_rows.put_issuer_session(tables, issuer_session)
    rights_rows.put_person(tables, person)
    return True


def _sign_in(
    tables: PeopleTables,
    person: SeenPerson,
    issuer_session: IssuerSession,
    session: PersonSession,
    ends_cookie: str | None = None,
) -> bool:
    """Store the session of a new sign-in, and end the one of the digest ``ends_cookie``, the browser's old cookie.

    Return false, and store nothing, if the person is blocked. Raises ``GatewayError`` (429) if it began too many
    sessions in the last minutes, as ``redeem_grant`` does."""
    if tables.find(BLOCKS, name=person.name) is not None:
        return False
    if ends_cookie is not None:
        old = session_rows.find_session_by_cookie(tables, ends_cookie)
        if old is not None:
            session_rows.end_session(tables, old[0], session.began)
    rights_rows.put_person(tables, person)
    session_rows.put_issuer_session(tables, issuer_session)
    session_rows.add_session(tables, session)
    return True


def _refresh(tables: PeopleTables, new: Refreshed) -> bool:
    """Rotate the refresh token of a session, and store the issuer's confirmation.

    Return false if the session has ended, its person is blocked, or its refresh token has changed."""
    if new.issuer_session is not None and not _confirm(tables, new.person, new.issuer_session):
        return False
    there = tables.find(SESSIONS, id=new.session.id)
    if there is None or not there.is_open(new.now) or there.refresh != new.session.refresh:
        return False
    if tables.find(BLOCKS, name=there.person) is not None:
        return False
    session_rows.rotate_session(tables, there, new.refresh, new.tokens_until, new.now)
    return True


def _end_session(tables: PeopleTables, person: str, id: str, now: float, audit: AuditEntry | None = None) -> bool:
    """End a session of a person. Return whether it was open."""
    session = tables.find(SESSIONS, id=id)
    if session is None or session.person != person or not session.is_open(now):
        return False
    session_rows.end_session(tables, session, now, audit)
    return True


def _end_access(tables: PeopleTables, person: str, now: float) -> None:
    """End all sessions and own keys of a person that no rule admits any more."""
    session_rows.end_sessions(tables, person, now)
    rights_rows.remove_own_keys(tables, person)


def _redeem_grant(tables: PeopleTables, device_code: str, session: PersonSession, now: float) -> IssuerSession | None:
    """Consume an approved grant, and store its ``session``, whose person and origin are the grant's.

    Return the sign-in that the session follows from; ``None`` if the grant was consumed, the approving person's
    sign-in has ended, or the person is blocked."""
    grant = tables.find(GRANTS, device_code=device_code)
    if grant is None or grant.status != "approved" or grant.until <= now:
        return None
    tables.remove(GRANTS, device_code=device_code)
    origin = tables.find(ISSUER_SESSIONS, id=session.origin)
    if origin is None or grant.origin != origin.id or tables.find(BLOCKS, name=session.person) is not None:
        return None
    session_rows.add_session(tables, session)
    return origin


def _note_people(tables: PeopleTables, people: tuple[SeenPerson, ...]) -> None:
    """Store people as seen."""
    for person in people:
        rights_rows.put_person(tables, person)


def _put_own_key(
    tables: PeopleTables,
    person: SeenPerson,
    key: OwnKey,
    most: int,
    now: float,
    audit: AuditEntry | None = None,
    check: Callable[[OwnKey | None], None] = accept_any,
) -> bool:
    """Store an own key of ``person`` in place of the one with its name, and the person's present claims.

    Return false, and store nothing, if the person has ``most`` other keys that have not expired at ``now``."""
    if not rights_rows.put_own_key(tables, key, most, now, check, audit):
        return False
    rights_rows.put_person(tables, person)
    return True


def _session_of_cookie(tables: PeopleTables, cookie: str) -> tuple[PersonSession, IssuerSession] | None:
    """Return the session of the cookie with this digest, also one that has expired."""
    found = session_rows.find_session_by_cookie(tables, cookie)
    return None if found is None or found[1] is None else (found[0], found[1])


class PeopleStore:
    """The people tables of ``database``.

    ``audit`` of a change is its row in the audit, stored with the change: the store sets ``before`` and ``after``.
    ``check(present)`` is called in the transaction with the present record, ``None`` without one; it raises
    ``Changed`` to reject the change. Lists are in the order of a key, so they are stable while rows are added."""

    def __init__(self, database: Database) -> None:
        """Use ``database``, which has the tables ``PEOPLE_TABLES``."""
        self.database = database

    async def aclose(self) -> None:
        await self.database.aclose()

    async def open(self) -> None:
        """Create the tables if they are missing: ``client_change`` writes over a connection of another store."""
        await self.database.read(lambda session: None)

    # Sign-ins and sessions

    use_once = _changing(session_rows.use_once)
    sign_in = _changing(_sign_in)
    session_of_cookie = _reading(_session_of_cookie)
    find_refresh = _reading(session_rows.find_session_by_refresh)
    check_refreshes = _reading(session_rows.check_refreshes)

    async def issuer_session(self, id: str) -> IssuerSession | None:
        return await self._find(ISSUER_SESSIONS, id=id)

    claim_issuer_session = _changing(session_rows.claim_issuer_session)
    release_issuer_session = _changing(session_rows.release_issuer_session)
    confirm = _changing(_confirm)
    keep_refresh = _changing(session_rows.keep_issuer_refresh)
    refresh = _changing(_refresh)
    sessions = _reading(session_rows.open_sessions)
    end_session = _changing(_end_session)
    end_sessions = _changing(session_rows.end_sessions)
    end_sign_in = _changing(session_rows.end_sessions_of_origin)
    end_access = _changing(_end_access)

    # Device grants

    add_grant = _changing(session_rows.add_grant)

    async def find_grant(self, user_code: str) -> DeviceGrant | None:
        return await self._find(GRANTS, user_code=user_code)

    decide_grant = _changing(session_rows.decide_grant)

    async def poll_grant(self, device_code: str, now: float) -> tuple[DeviceGrant, bool] | None:
        """Note a program's poll. Return the grant, and whether the poll came too early; ``None`` if it is unknown."""
        grant = await self._find(GRANTS, device_code=device_code)
        if grant is None:
            return None
        is_early = grant.polled is not None and 0 <= now - grant.polled < session_rows.SHORTEST_POLL
        if grant.status == "pending":  # without the lock
            await self.database.write(lambda session: session_rows.note_poll(self.tables(session), device_code, now))
        return grant, is_early

    redeem_grant = _changing(_redeem_grant)

    # People

    note_people = _changing(_note_people)

    async def person(self, name: str) -> SeenPerson | None:
        return await self._find(PEOPLE, name=name)

    people = _reading(rights_rows.list_people)
    forget = _changing(rights_rows.forget_person)
    block = _changing(rights_rows.block_person)
    unblock = _changing(rights_rows.unblock_person)

    async def block_of(self, name: str) -> Block | None:
        return await self._find(BLOCKS, name=name)

    async def blocks(self) -> tuple[Block, ...]:
        return await self._list(BLOCKS, "ORDER BY name")

    # Raises

    put_raise = _changing(rights_rows.put_raise)
    remove_raise = _changing(rights_rows.remove_raise)

    async def raise_of(self, holder: str) -> Raise | None:
        return await self._find(RAISES, holder=holder)

    async def raises(self) -> tuple[Raise, ...]:
        return await self._list(RAISES, "ORDER BY holder")

    groups_of_raised_people = _reading(rights_rows.groups_of_raised_people)

    # Own keys

    put_own_key = _changing(_put_own_key)
    remove_own_key = _changing(rights_rows.remove_own_key)
    own_keys = _reading(rights_rows.own_keys_of)

    async def list_own_keys(self) -> tuple[OwnKey, ...]:
        return await self._list(OWN_KEYS)

    async def note_key_uses(self, uses: Mapping[str, float]) -> None:
        """Store the times of the last requests with own keys, by their digests. Needs no lock."""
        await self.database.write(lambda session: rights_rows.note_key_uses(self.tables(session), uses))

    # Audit

    add_audit = _changing(PeopleTables.add_audit)
    audit = _reading(rights_rows.list_audit)
    last_audit = _reading(rights_rows.last_audit)

    sweep = _changing(sweep)

    async def _find(self, table: RecordTable[T], **where: str) -> T | None:
        return await self.database.read(lambda session: self.tables(session).find(table, **where))

    async def _list(self, table: RecordTable[T], order: LiteralString = "") -> tuple[T, ...]:
        """Return all records; some may have ended or expired."""
        return await self.database.read(lambda session: self.tables(session).list(table, order))

    def tables(self, session: Session) -> PeopleTables:
        return PeopleTables(session, self.database.notation)
