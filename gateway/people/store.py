"""Stores people's sessions, keys, blocks and raises in the tables of a database, and an audit of all changes.

Every method is one transaction, and may raise ``Unavailable``. The store has digests of secrets, never secrets
(``records.digest_of``)."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

import attrs

from gateway.people import rights_rows, session_rows
from gateway.people.records import (
    AuditEntry,
    Block,
    DeviceGrant,
    FoundRefresh,
    IssuerSession,
    OwnKey,
    PersonSession,
    Raise,
    SeenPerson,
)
from gateway.people.rows import PeopleTables
from gateway.people.sweeping import sweep
from gateway.stores.sql import Database, Session

T = TypeVar("T")

Work: TypeAlias = Callable[[PeopleTables], T]


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


def _accept(present: object) -> None:
    """Permit a change of any record: the default for checks."""


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
        """Create the tables if they are missing: ``audit_writer`` writes over a connection of another store."""
        await self._read(lambda tables: None)

    # Sign-ins and sessions

    async def use_once(self, digest: str, until: float) -> bool:
        """Mark a secret as used until it expires, and return whether this was its first use.

        For the ``state`` of a browser's sign-in: the rest is in the browser's cookie, encrypted (``people.seals``), so
        a request without a credential writes nothing."""
        return await self._change(partial(session_rows.use_once, digest=digest, until=until))

    async def sign_in(
        self,
        person: SeenPerson,
        issuer_session: IssuerSession,
        session: PersonSession,
        ends_cookie: str | None = None,
        audit: AuditEntry | None = None,
    ) -> bool:
        """Store the session of a new sign-in, and end the one of the digest ``ends_cookie``, the browser's old cookie.

        Return false, and store nothing, if the person is blocked. Raises ``GatewayError`` (429) if it began too many
        sessions in the last minutes, as ``add_exchange`` and ``redeem_grant`` do."""

        def work(tables: PeopleTables) -> bool:
            if rights_rows.find_block(tables, person.name) is not None:
                return False
            if ends_cookie is not None:
                old = session_rows.find_session_by_cookie(tables, ends_cookie)
                if old is not None:
                    session_rows.end_session(tables, old[0], session.began)
            rights_rows.put_person(tables, person)
            session_rows.put_issuer_session(tables, issuer_session)
            session_rows.add_session(tables, session)
            tables.add_audit(audit, None, _audited_session(session))
            return True

        return await self._change(work)

    async def add_exchange(self, person: SeenPerson, session: PersonSession) -> bool:
        """Store the session of a token exchange. Return false, and store nothing, if the person is blocked."""

        def work(tables: PeopleTables) -> bool:
            if rights_rows.find_block(tables, person.name) is not None:
                return False
            rights_rows.put_person(tables, person)
            session_rows.add_session(tables, session)
            return True

        return await self._change(work)

    async def session_of_cookie(self, cookie: str) -> tuple[PersonSession, IssuerSession] | None:
        """Return the session of the cookie with this digest, also one that has expired."""
        found = await self._read(partial(session_rows.find_session_by_cookie, cookie=cookie))
        return None if found is None or found[1] is None else (found[0], found[1])

    async def find_refresh(self, refresh: str) -> FoundRefresh | None:
        """Return the session of the refresh token with this digest."""
        return await self._read(partial(session_rows.find_session_by_refresh, refresh=refresh))

    async def check_refreshes(self, session: str, now: float) -> None:
        """Raise ``GatewayError`` (429) if a session was refreshed too often in the last minutes."""
        await self._read(partial(session_rows.check_refreshes, session=session, now=now))

    async def issuer_session(self, id: str) -> IssuerSession | None:
        """Return the sign-in at an issuer with this id."""
        return await self._read(partial(session_rows.find_issuer_session, id=id))

    async def claim_issuer_session(self, before: IssuerSession, now: float) -> tuple[IssuerSession | None, bool]:
        """Return the present state of a session at an issuer, and whether this process may now contact the issuer.

        It may not if another process does, or has confirmed the session since ``before``. ``refresh``, ``confirm`` and
        ``keep_refresh`` release the claim."""
        return await self._change(partial(session_rows.claim_issuer_session, before=before, now=now))

    async def release_issuer_session(self, id: str) -> None:
        """Release a reservation without a result."""
        await self._change(partial(session_rows.release_issuer_session, id=id))

    async def confirm(self, person: SeenPerson, issuer_session: IssuerSession) -> bool:
        """Store the issuer's confirmation of a sign-in. Return false if the sign-in has ended, or is blocked."""
        return await self._change(partial(_confirm, person=person, issuer_session=issuer_session))

    async def keep_refresh(self, issuer_session: IssuerSession) -> bool:
        """Store only the issuer's new refresh token, because the issuer did not confirm the person.

        Return whether the sign-in still exists."""
        return await self._change(partial(session_rows.keep_issuer_refresh, session=issuer_session))

    async def refresh(self, new: Refreshed) -> bool:
        """Rotate the refresh token of a session, and store the issuer's confirmation.

        Return false if the session has ended, its person is blocked, or its refresh token has changed."""

        def work(tables: PeopleTables) -> bool:
            if new.issuer_session is not None and not _confirm(tables, new.person, new.issuer_session):
                return False
            there = session_rows.find_session(tables, new.session.id)
            if there is None or not there.is_open(new.now) or there.refresh != new.session.refresh:
                return False
            if rights_rows.find_block(tables, there.person) is not None:
                return False
            session_rows.rotate_session(tables, there, new.refresh, new.tokens_until, new.now)
            return True

        return await self._change(work)

    async def sessions(self, person: str, now: float) -> tuple[PersonSession, ...]:
        """Return the open sessions of a person, the oldest first."""
        return await self._read(partial(session_rows.open_sessions, person=person, now=now))

    async def end_session(self, person: str, id: str, now: float, audit: AuditEntry | None = None) -> bool:
        """End a session of a person. Return whether it was open."""

        def work(tables: PeopleTables) -> bool:
            session = session_rows.find_session(tables, id)
            if session is None or session.person != person or not session.is_open(now):
                return False
            session_rows.end_session(tables, session, now, audit)
            return True

        return await self._change(work)

    async def end_sessions(self, person: str, now: float, audit: AuditEntry | None = None) -> int:
        """End all sessions of a person, and return their number."""
        return await self._change(partial(session_rows.end_sessions, person=person, now=now, audit=audit))

    async def end_sign_in(self, origin: str, now: float) -> None:
        """End all sessions that follow from one sign-in, because its issuer refused it."""
        await self._change(partial(session_rows.end_sessions_of_origin, origin=origin, now=now))

    async def end_access(self, person: str, now: float) -> None:
        """End all sessions and own keys of a person that no rule admits any more."""

        def work(tables: PeopleTables) -> None:
            session_rows.end_sessions(tables, person, now)
            rights_rows.remove_own_keys(tables, person)

        await self._change(work)

    # Device grants

    async def add_grant(self, grant: DeviceGrant) -> bool:
        """Store a pending grant. Return false if its user code is in use; the caller then draws another one."""
        return await self._change(partial(session_rows.add_grant, grant=grant))

    async def find_grant(self, user_code: str) -> DeviceGrant | None:
        """Return the grant of the user code with this digest, also one that has expired or is decided."""
        return await self._read(partial(session_rows.find_grant_by_user_code, user_code=user_code))

    async def decide_grant(self, user_code: str, session: PersonSession | None, now: float) -> bool:
        """Approve a pending grant for the person of ``session``, or deny it. Return false if none is pending."""
        return await self._change(partial(session_rows.decide_grant, user_code=user_code, session=session, now=now))

    async def poll_grant(self, device_code: str, now: float) -> tuple[DeviceGrant, bool] | None:
        """Note a program's poll. Return the grant, and whether the poll came too early; ``None`` if it is unknown."""
        grant = await self._read(partial(session_rows.find_grant, device_code=device_code))
        if grant is None:
            return None
        is_early = grant.polled is not None and 0 <= now - grant.polled < session_rows.SHORTEST_POLL
        if grant.status == "pending":
            note = partial(session_rows.note_poll, device_code=device_code, now=now)
            await self.database.write(lambda session: note(self._tables(session)))  # without the lock
        return grant, is_early

    async def redeem_grant(
        self, device_code: str, session: PersonSession, now: float, audit: AuditEntry | None = None
    ) -> IssuerSession | None:
        """Consume an approved grant, and store its ``session``, whose person and origin are the grant's.

        Return the sign-in that the session follows from; ``None`` if the grant was consumed, the approving person's
        sign-in has ended, or the person is blocked."""

        def work(tables: PeopleTables) -> IssuerSession | None:
            grant = session_rows.find_grant(tables, device_code)
            if grant is None or grant.status != "approved" or grant.until <= now:
                return None
            session_rows.remove_grant(tables, device_code)
            origin = session_rows.find_issuer_session(tables, session.origin)
            if (
                origin is None
                or grant.origin != origin.id
                or rights_rows.find_block(tables, session.person) is not None
            ):
                return None
            session_rows.add_session(tables, session)
            tables.add_audit(audit, None, _audited_session(session))
            return origin

        return await self._change(work)

    # People

    async def note_people(self, people: tuple[SeenPerson, ...]) -> None:
        """Store people as seen."""

        def work(tables: PeopleTables) -> None:
            for person in people:
                rights_rows.put_person(tables, person)

        await self._change(work)

    async def person(self, name: str) -> SeenPerson | None:
        """Return the stored record of the person with the client name ``name``."""
        return await self._read(partial(rights_rows.find_person, name=name))

    async def people(
        self, after: str = "", most: int = 100, *, group: str | None = None, issuer: str | None = None
    ) -> tuple[SeenPerson, ...]:
        """Return the first ``most`` people after the name ``after``, by name, of one ``group`` or ``issuer``."""
        select = partial(rights_rows.list_people, after=after, most=most, group=group, issuer=issuer)
        return await self._read(select)

    async def forget(self, name: str, audit: AuditEntry | None = None) -> bool:
        """Delete the label of a person, and the person unless it has an own key. Return whether it existed."""
        return await self._change(partial(rights_rows.forget_person, name=name, audit=audit))

    async def block(self, block: Block, audit: AuditEntry | None = None) -> bool:
        """Block a person, and end its sessions. Return false if it is blocked already; the older block remains."""
        return await self._change(partial(rights_rows.block_person, block=block, audit=audit))

    async def unblock(self, name: str, audit: AuditEntry | None = None) -> bool:
        """Remove the block of a person. Return whether it was blocked."""
        return await self._change(partial(rights_rows.unblock_person, name=name, audit=audit))

    async def blocks(self) -> tuple[Block, ...]:
        """Return all blocks, by name."""
        return await self._read(rights_rows.list_blocks)

    # Raises

    async def put_raise(
        self, new: Raise, audit: AuditEntry | None = None, check: Callable[[Raise | None], None] = _accept
    ) -> Raise | None:
        """Store a raise in place of the holder's present one, which is returned."""
        return await self._change(partial(rights_rows.put_raise, new=new, check=check, audit=audit))

    async def remove_raise(
        self, holder: str, audit: AuditEntry | None = None, check: Callable[[Raise | None], None] = _accept
    ) -> Raise | None:
        """Remove the raise of a holder, and return it."""
        return await self._change(partial(rights_rows.remove_raise, holder=holder, check=check, audit=audit))

    async def raise_of(self, holder: str) -> Raise | None:
        """Return the raise of a holder, which may have ended."""
        return await self._read(partial(rights_rows.find_raise, holder=holder))

    async def raises(self) -> tuple[Raise, ...]:
        """Return all raises by holder; some may have ended."""
        return await self._read(rights_rows.list_raises)

    async def groups_of_raised_people(self) -> dict[str, str | None]:
        """Return the group of each person with a raise, at its last sign-in or token."""
        return await self._read(rights_rows.groups_of_raised_people)

    # Own keys

    async def put_own_key(
        self,
        person: SeenPerson,
        key: OwnKey,
        most: int,
        now: float,
        audit: AuditEntry | None = None,
        check: Callable[[OwnKey | None], None] = _accept,
    ) -> bool:
        """Store an own key of ``person`` in place of the one with its name, and the person's present claims.

        Return false, and store nothing, if the person has ``most`` other keys that have not expired at ``now``."""

        def work(tables: PeopleTables) -> bool:
            if not rights_rows.put_own_key(tables, key, most, now, check, audit):
                return False
            rights_rows.put_person(tables, person)
            return True

        return await self._change(work)

    async def remove_own_key(self, person: str, name: str, audit: AuditEntry | None = None) -> bool:
        """Remove an own key. Return whether it existed."""
        return await self._change(partial(rights_rows.remove_own_key, person=person, name=name, audit=audit))

    async def own_keys(self, person: str) -> tuple[OwnKey, ...]:
        """Return the own keys of a person by name; some may have expired."""
        return await self._read(partial(rights_rows.own_keys_of, person=person))

    # Audit

    async def audit(
        self, after: int = 0, since: float = 0.0, until: float = 1e12, most: int = 100
    ) -> tuple[AuditEntry, ...]:
        """Return the first ``most`` audit rows after number ``after`` from ``since`` to ``until``, the oldest first."""
        return await self._read(partial(rights_rows.list_audit, after=after, since=since, until=until, most=most))

    async def last_audit(self, most: int) -> tuple[AuditEntry, ...]:
        """Return the last ``most`` audit rows, the oldest first."""
        return await self._read(partial(rights_rows.last_audit, most=most))

    def audit_writer(self, entry: AuditEntry, before: Any = None, after: Any = None) -> Callable[[Session], None]:
        """Return a function that adds ``entry`` in the transaction of another store, ``KeyStore.change(also=)``.

        ``before`` and ``after`` are the changed record without secrets, ``None`` if there is none."""

        def write(session: Session) -> None:
            tables = self._tables(session)
            tables.lock()
            tables.add_audit(entry, before, after)

        return write

    async def sweep(self, now: float) -> None:
        """Delete everything that has expired."""
        await self._change(partial(sweep, now=now))

    async def _read(self, work: Work[T]) -> T:
        return await self.database.read(lambda session: work(self._tables(session)))

    async def _change(self, work: Work[T]) -> T:
        """Run ``work`` while no other process changes the tables."""

        def run_locked(session: Session) -> T:
            tables = self._tables(session)
            tables.lock()
            return work(tables)

        return await self.database.write(run_locked)

    def _tables(self, session: Session) -> PeopleTables:
        return PeopleTables(session, self.database.notation)


def _confirm(tables: PeopleTables, person: SeenPerson, issuer_session: IssuerSession) -> bool:
    if session_rows.find_issuer_session(tables, issuer_session.id) is None:
        return False
    if rights_rows.find_block(tables, person.name) is not None:
        return False
    session_rows.put_issuer_session(tables, issuer_session)
    rights_rows.put_person(tables, person)
    return True


def _audited_session(session: PersonSession) -> dict[str, str]:
    return {"session": session.id, "person": session.person, "kind": session.kind}
