"""Stores people's sessions, keys and blocks in the tables of a database.

Every method is one transaction, and may raise ``Unavailable``. The store has digests of secrets, never secrets
(``records.digest_of``)."""

from collections.abc import Mapping

from gateway.features.admin.interface import AdminCall, RightsStore
from gateway.features.people import rights_rows, session_rows
from gateway.features.people.records import (
    BLOCKS,
    GRANTS,
    ISSUER_SESSIONS,
    PEOPLE,
    SESSIONS,
    Block,
    DeviceGrant,
    IssuerSession,
    PersonSession,
    SeenPerson,
)
from gateway.features.people.sweeping import sweep
from gateway.stores.record_tables import AuditEntry, RightsTables, changing, reading


def _confirm(tables: RightsTables, person: SeenPerson, issuer_session: IssuerSession) -> bool:
    """Store the issuer's confirmation of a sign-in. Return false if the sign-in has ended, or is blocked."""
    if tables.find(ISSUER_SESSIONS, id=issuer_session.id) is None:
        return False
    if tables.find(BLOCKS, name=person.name) is not None:
        return False
    session_rows.put_issuer_session(tables, issuer_session)
    rights_rows.put_person(tables, person)
    return True


def _sign_in(
    tables: RightsTables,
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


def _refresh(
    tables: RightsTables,
    session: PersonSession,
    person: SeenPerson,
    issuer_session: IssuerSession | None,
    refresh: str,
    tokens_until: float,
    now: float,
) -> bool:
    """Rotate the refresh token of a session to the one with the digest ``refresh``, and store the confirmed person.

    ``issuer_session`` is ``None`` if another process has stored the issuer's confirmation. Return false if the session
    has ended, its person is blocked, or its refresh token has changed."""
    if issuer_session is not None and not _confirm(tables, person, issuer_session):
        return False
    there = tables.find(SESSIONS, id=session.id)
    if there is None or not there.is_open(now) or there.refresh != session.refresh:
        return False
    if tables.find(BLOCKS, name=there.person) is not None:
        return False
    session_rows.rotate_session(tables, there, refresh, tokens_until, now)
    return True


def _end_session(tables: RightsTables, person: str, id: str, now: float, audit: AuditEntry | None = None) -> bool:
    """End a session of a person. Return whether it was open."""
    session = tables.find(SESSIONS, id=id)
    if session is None or session.person != person or not session.is_open(now):
        return False
    session_rows.end_session(tables, session, now, audit)
    return True


def _end_access(tables: RightsTables, person: str, now: float) -> None:
    """End all sessions and own keys of a person that no rule admits any more."""
    session_rows.end_sessions(tables, person, now)
    rights_rows.remove_own_keys(tables, person)


def _redeem_grant(tables: RightsTables, device_code: str, session: PersonSession, now: float) -> bool:
    """Consume an approved grant, and store its ``session``, whose person and origin are the grant's.

    Return false if the grant was consumed, the approving person's sign-in has ended, or the person is blocked."""
    grant = tables.find(GRANTS, device_code=device_code)
    if grant is None or grant.status != "approved" or grant.until <= now:
        return False
    tables.remove(GRANTS, device_code=device_code)
    origin = tables.find(ISSUER_SESSIONS, id=session.origin)
    if origin is None or grant.origin != origin.id or tables.find(BLOCKS, name=session.person) is not None:
        return False
    session_rows.add_session(tables, session)
    return True


class PeopleStore(RightsStore):
    """The tables of people, of raises and of the audit in ``database``."""

    # Sign-ins and sessions

    use_once = changing(session_rows.use_once)
    sign_in = changing(_sign_in)
    session_of_cookie = reading(session_rows.find_session_by_cookie)
    find_refresh = reading(session_rows.find_session_by_refresh)
    check_refreshes = reading(session_rows.check_refreshes)

    async def issuer_session(self, id: str) -> IssuerSession | None:
        return await self.find(ISSUER_SESSIONS, id=id)

    claim_issuer_session = changing(session_rows.claim_issuer_session)
    release_issuer_session = changing(session_rows.release_issuer_session)
    confirm = changing(_confirm)
    keep_refresh = changing(session_rows.keep_issuer_refresh)
    replace_refresh = changing(session_rows.replace_issuer_refresh)
    refresh = changing(_refresh)
    sessions = reading(session_rows.open_sessions)
    end_session = changing(_end_session)
    end_sessions = changing(session_rows.end_sessions)
    end_sign_in = changing(session_rows.end_sessions_of_origin)
    end_access = changing(_end_access)

    # Device grants

    add_grant = changing(session_rows.add_grant)

    async def find_grant(self, user_code: str) -> DeviceGrant | None:
        return await self.find(GRANTS, user_code=user_code)

    decide_grant = changing(session_rows.decide_grant)

    async def poll_grant(self, device_code: str, now: float) -> tuple[DeviceGrant, bool] | None:
        """Note a program's poll. Return the grant, and whether the poll came too early; ``None`` if it is unknown."""
        grant = await self.find(GRANTS, device_code=device_code)
        if grant is None:
            return None
        is_early = grant.polled is not None and 0 <= now - grant.polled < session_rows.SHORTEST_POLL
        if grant.status == "pending":  # without the lock
            await self.database.write(lambda session: session_rows.note_poll(RightsTables(session), device_code, now))
        return grant, is_early

    redeem_grant = changing(_redeem_grant)

    # People

    note_people = changing(rights_rows.put_people)

    async def person(self, name: str) -> SeenPerson | None:
        return await self.find(PEOPLE, name=name)

    people = reading(rights_rows.list_people)
    forget = changing(rights_rows.forget_person)
    block = changing(rights_rows.block_person)
    unblock = changing(rights_rows.unblock_person)

    async def block_of(self, name: str) -> Block | None:
        return await self.find(BLOCKS, name=name)

    async def blocks(self) -> tuple[Block, ...]:
        return await self.list(BLOCKS, "ORDER BY name")

    # Own keys

    put_own_key = changing(rights_rows.put_own_key)
    remove_own_key = changing(rights_rows.remove_own_key)
    own_keys = reading(rights_rows.own_keys_of)

    key_uses = reading(rights_rows.key_uses)

    async def note_key_uses(self, uses: Mapping[str, float]) -> None:
        """Store the times of the last requests with own keys, by their digests. Needs no lock."""
        await self.database.write(lambda session: rights_rows.note_key_uses(RightsTables(session), uses))

    sweep = changing(sweep)


async def people_store(call: AdminCall) -> PeopleStore:
    """Return the store of people for a call, with its tables and everyone whom this process has seen.

    Raises ``GatewayError`` (403) and ``Unavailable``."""
    return PeopleStore((await call.rights()).database)
