"""Sessions, device grants and sign-ins as rows. Each function runs in one transaction, and notes its change."""

import json
from typing import Any, Final

import attrs

from gateway.people.records import CLOCK_SKEW, AuditEntry, DeviceGrant, FoundRefresh, IssuerSession, PersonSession
from gateway.people.rows import PeopleTables, json_text
from streams.errors import GatewayError

MOST_SESSIONS: Final = 50
"""The most open sessions of a person in browsers, and in programs; a new one ends the session that was used least
recently."""
_WINDOW: Final = 600.0
_MOST_BEGUN: Final = 100
"""The sessions of a kind that a person may begin in ten minutes: processes remember each that ends before its time."""
_MOST_REFRESHES: Final = 60
"""The refreshes of a session in ten minutes: each one is also a request to the issuer."""
_MOST_USED: Final = 1000
"""The used refresh tokens of a session that are recognised; an older one is unknown."""
_TOO_MANY: Final = "too many sign-ins of one person: wait a few minutes"
_TOO_OFTEN: Final = "this session was refreshed too often: use its last token"
MOST_GRANTS: Final = 20_000
SHORTEST_POLL: Final = 4.8
"""The shortest permitted interval of polls in seconds, a little below the announced five."""
REMEMBERED_SECONDS: Final = 3600.0
"""Seconds for which processes know the session of a cookie without reading it again, and so must know its end."""
CLAIM_SECONDS: Final = 10.0
"""The time after which another process may contact the issuer, because the claiming process may have crashed."""

_ISSUER_SESSION: Final = "SELECT id, person, issuer, claims, refresh, checked FROM {issuer_sessions} WHERE id = :id"
_SESSION: Final = """
    SELECT id, origin, person, kind, program, address, began, until, tokens_until, seen, cookie, refresh, ended
    FROM {person_sessions}
"""
_WITH_ISSUER: Final = """
    SELECT s.id, s.origin, s.person, s.kind, s.program, s.address, s.began, s.until, s.tokens_until, s.seen, s.cookie,
        s.refresh, s.ended, i.id, i.person, i.issuer, i.claims, i.refresh, i.checked
    FROM {person_sessions} s LEFT JOIN {issuer_sessions} i ON i.id = s.origin
"""  # one statement, because a refresh changes both rows
_BEYOND: Final = f"""
    {_SESSION} WHERE person = :person AND kind = :kind AND ended IS NULL AND until > :now
    ORDER BY seen DESC, id LIMIT 100 OFFSET :kept
"""
_BEGUN: Final = """
    SELECT count(*) FROM {person_sessions} WHERE person = :person AND kind = :kind
        AND began > :since AND began < :until
"""
_REFRESHED: Final = (
    "SELECT count(*) FROM {used_refresh_tokens} WHERE session = :session AND at > :since AND at < :until"
)
_FORGET_USED: Final = """
    DELETE FROM {used_refresh_tokens} WHERE session = :session AND at < (
        SELECT at FROM {used_refresh_tokens} WHERE session = :session ORDER BY at DESC LIMIT 1 OFFSET :kept
    )
"""
_REMOVE_OLDEST_GRANT: Final = """
    DELETE FROM {device_grants} WHERE device_code = (
        SELECT device_code FROM {device_grants} ORDER BY CASE status WHEN 'approved' THEN 1 ELSE 0 END, began LIMIT 1
    )
"""
_GRANT: Final = """
    SELECT device_code, user_code, program, address, began, until, status, origin, person, polled FROM {device_grants}
"""


# Sessions at issuers


def put_issuer_session(tables: PeopleTables, new: IssuerSession) -> None:
    """Store a session at an issuer, and release its claim."""
    tables.select(
        """
        INSERT INTO {issuer_sessions} VALUES (:id, :person, :issuer, :claims, :refresh, :checked, NULL)
        ON CONFLICT (id) DO UPDATE SET claims = excluded.claims, refresh = excluded.refresh,
        checked = excluded.checked, claimed = NULL
        """,
        id=new.id, person=new.person, issuer=new.issuer, claims=json_text(dict(new.claims)), refresh=new.refresh,
        checked=new.checked,
    )  # fmt: skip


def find_issuer_session(tables: PeopleTables, id: str) -> IssuerSession | None:
    """Return the session at an issuer with this id."""
    return _issuer_session(tables.first(_ISSUER_SESSION, id=id))


def _issuer_session(row: tuple[Any, ...] | None) -> IssuerSession | None:
    if row is None or row[0] is None:
        return None
    id, person, issuer, claims, refresh, checked = row
    return IssuerSession(id, person, issuer, json.loads(claims), None if refresh is None else bytes(refresh), checked)


def claim_issuer_session(tables: PeopleTables, before: IssuerSession, now: float) -> tuple[IssuerSession | None, bool]:
    """Return the present state of a session at an issuer, and whether this process may now contact the issuer.

    It may not if another process does, or has confirmed the session since ``before``. To store the session, or its
    refresh token, releases the claim."""
    found = find_issuer_session(tables, before.id)
    if found is None or found.checked != before.checked:
        return found, False
    claimed = tables.select("SELECT claimed FROM {issuer_sessions} WHERE id = :id", id=before.id)[0][0]
    if claimed is not None and abs(now - claimed) < CLAIM_SECONDS:
        return found, False
    tables.select("UPDATE {issuer_sessions} SET claimed = :now WHERE id = :id", id=before.id, now=now)
    return found, True


def release_issuer_session(tables: PeopleTables, id: str) -> None:
    """Release the claim on a session at an issuer."""
    tables.select("UPDATE {issuer_sessions} SET claimed = NULL WHERE id = :id", id=id)


def keep_issuer_refresh(tables: PeopleTables, issuer_session: IssuerSession) -> bool:
    """Store only the new refresh token of a session at an issuer, which did not confirm the person, and release its
    claim. Return whether the session exists."""
    if find_issuer_session(tables, issuer_session.id) is None:
        return False
    tables.select(
        "UPDATE {issuer_sessions} SET refresh = :refresh, claimed = NULL WHERE id = :id",
        refresh=issuer_session.refresh, id=issuer_session.id,
    )  # fmt: skip
    return True


# Sessions


def add_session(tables: PeopleTables, new: PersonSession) -> None:
    """Store a session. If its person has too many of its kind, the one that was used least recently ends.

    Raises ``GatewayError`` (429) if the person began too many in the last minutes."""
    begun = tables.count(_BEGUN, person=new.person, kind=new.kind, **_window(new.began))
    if begun >= _MOST_BEGUN:
        raise _too_often_error(_TOO_MANY)
    beyond = {"person": new.person, "kind": new.kind, "now": new.began, "kept": MOST_SESSIONS - 1}
    for old in tables.all_of(PersonSession, _BEYOND, **beyond):
        end_session(tables, old, new.began)
    tables.select(
        """
        INSERT INTO {person_sessions} VALUES (:id, :origin, :person, :kind, :program, :address, :began, :until,
        :tokens_until, :seen, :cookie, :refresh, :ended)
        """,
        **attrs.asdict(new),
    )


def find_session(tables: PeopleTables, id: str) -> PersonSession | None:
    """Return the session with this id."""
    return tables.one_of(PersonSession, f"{_SESSION} WHERE id = :id", id=id)


def find_session_by_cookie(tables: PeopleTables, cookie: str) -> tuple[PersonSession, IssuerSession | None] | None:
    """Return the session of the cookie with this digest, also one that has expired, and its sign-in at the issuer."""
    return _with_issuer(tables.first(f"{_WITH_ISSUER} WHERE s.cookie = :cookie", cookie=cookie))


def find_session_by_refresh(tables: PeopleTables, refresh: str) -> FoundRefresh | None:
    """Return the session of the refresh token with this digest."""
    if (found := _with_issuer(tables.first(f"{_WITH_ISSUER} WHERE s.refresh = :refresh", refresh=refresh))) is not None:
        return FoundRefresh(*found, None)
    used = tables.first("SELECT session, at FROM {used_refresh_tokens} WHERE digest = :refresh", refresh=refresh)
    found = None if used is None else _with_issuer(tables.first(f"{_WITH_ISSUER} WHERE s.id = :id", id=used[0]))
    return None if used is None or found is None else FoundRefresh(*found, used[1])


def _with_issuer(row: tuple[Any, ...] | None) -> tuple[PersonSession, IssuerSession | None] | None:
    return None if row is None else (PersonSession(*row[:13]), _issuer_session(row[13:]))


def open_sessions(tables: PeopleTables, person: str, now: float) -> tuple[PersonSession, ...]:
    """Return the open sessions of a person, the oldest first."""
    statement = f"{_SESSION} WHERE person = :person AND ended IS NULL AND until > :now ORDER BY began, id"
    return tables.all_of(PersonSession, statement, person=person, now=now)


def check_refreshes(tables: PeopleTables, session: str, now: float) -> None:
    """Raise ``GatewayError`` (429) if a session was refreshed too often in the last minutes."""
    if tables.count(_REFRESHED, session=session, **_window(now)) >= _MOST_REFRESHES:
        raise _too_often_error(_TOO_OFTEN)


def _window(now: float) -> dict[str, float]:
    """Return the last ten minutes. Rows of a clock that was too fast do not count."""
    return {"since": now - _WINDOW, "until": now + CLOCK_SKEW}


def _too_often_error(message: str) -> GatewayError:
    return GatewayError("rate_limited", message, headers=(("retry-after", "60"),))


def rotate_session(
    tables: PeopleTables, session: PersonSession, refresh: str | None, tokens_until: float, now: float
) -> None:
    """Replace the refresh token of ``session``, and note its present one as used."""
    if session.refresh is not None and refresh != session.refresh:
        tables.select(
            "INSERT INTO {used_refresh_tokens} VALUES (:digest, :session, :at)",
            digest=session.refresh, session=session.id, at=now,
        )  # fmt: skip
        tables.select(_FORGET_USED, session=session.id, kept=_MOST_USED - 1)
    tables.select(
        "UPDATE {person_sessions} SET refresh = :refresh, tokens_until = :tokens_until, seen = :now WHERE id = :id",
        refresh=refresh, tokens_until=max(tokens_until, session.tokens_until), now=now, id=session.id,
    )  # fmt: skip


def end_session(tables: PeopleTables, session: PersonSession, now: float, audit: AuditEntry | None = None) -> None:
    """End a session, and forget the issuer's refresh token with the last session of a sign-in."""
    tables.select(
        """
        UPDATE {person_sessions} SET ended = :now, cookie = NULL, refresh = NULL, tokens_until = :until WHERE id = :id
        """,
        id=session.id, now=now, until=max(session.tokens_until, now + REMEMBERED_SECONDS),
    )  # fmt: skip
    tables.select("DELETE FROM {used_refresh_tokens} WHERE session = :id", id=session.id)
    tables.select(
        """
        DELETE FROM {issuer_sessions} WHERE id = :origin AND NOT EXISTS (
            SELECT 1 FROM {person_sessions} WHERE origin = :origin AND ended IS NULL
        )
        """,
        origin=session.origin,
    )
    tables.note_change("session", session.person)
    tables.add_audit(audit, {"session": session.id, "person": session.person, "kind": session.kind}, None)


def end_sessions(tables: PeopleTables, person: str, now: float, audit: AuditEntry | None = None) -> int:
    """End all sessions of a person, and return their number."""
    sessions = open_sessions(tables, person, now)
    for session in sessions:
        end_session(tables, session, now)
    tables.add_audit(audit, {"person": person, "sessions": len(sessions)}, None)
    return len(sessions)


def end_sessions_of_origin(tables: PeopleTables, origin: str, now: float) -> None:
    """End all sessions that follow from one sign-in at an issuer."""
    for session in tables.all_of(PersonSession, f"{_SESSION} WHERE origin = :origin AND ended IS NULL", origin=origin):
        end_session(tables, session, now)


# Device grants


def add_grant(tables: PeopleTables, grant: DeviceGrant) -> bool:
    """Store a pending grant. Return false if its user code is in use; the caller then draws another one.

    If there are too many grants, the oldest pending one is removed, so a flood of requests prevents no sign-ins."""
    tables.select("DELETE FROM {device_grants} WHERE until <= :now", now=grant.began - 600.0)
    if tables.count("SELECT count(*) FROM {device_grants}") >= MOST_GRANTS:
        tables.select(_REMOVE_OLDEST_GRANT)
    if find_grant_by_user_code(tables, grant.user_code) is not None:
        return False
    tables.select(
        """
        INSERT INTO {device_grants} VALUES (:device_code, :user_code, :program, :address, :began, :until, :status,
        :origin, :person, :polled)
        """,
        **attrs.asdict(grant),
    )
    return True


def find_grant_by_user_code(tables: PeopleTables, user_code: str) -> DeviceGrant | None:
    """Return the grant of the user code with this digest, also one that has expired or is decided."""
    return tables.one_of(DeviceGrant, f"{_GRANT} WHERE user_code = :code", code=user_code)


def find_grant(tables: PeopleTables, device_code: str) -> DeviceGrant | None:
    """Return the grant of the device code with this digest."""
    return tables.one_of(DeviceGrant, f"{_GRANT} WHERE device_code = :code", code=device_code)


def decide_grant(tables: PeopleTables, user_code: str, session: PersonSession | None, now: float) -> bool:
    """Approve a pending grant for the person of ``session``, or deny it. Return false if none is pending."""
    grant = find_grant_by_user_code(tables, user_code)
    if grant is None or grant.status != "pending" or grant.until <= now:
        return False
    tables.select(
        "UPDATE {device_grants} SET status = :status, origin = :origin, person = :person WHERE user_code = :code",
        status="denied" if session is None else "approved", code=user_code,
        origin=None if session is None else session.origin, person=None if session is None else session.person,
    )  # fmt: skip
    return True


def note_poll(tables: PeopleTables, device_code: str, now: float) -> None:
    """Store the time of a poll."""
    tables.select("UPDATE {device_grants} SET polled = :now WHERE device_code = :code", code=device_code, now=now)


def remove_grant(tables: PeopleTables, device_code: str) -> None:
    """Delete a grant; its device code is then invalid."""
    tables.select("DELETE FROM {device_grants} WHERE device_code = :code", code=device_code)


# Single use


def use_once(tables: PeopleTables, digest: str, until: float) -> bool:
    """Mark a secret as used until it expires, and return whether this was its first use.

    For the ``state`` of a browser's sign-in: the rest is in the browser's cookie, encrypted (``people.seals``), so a
    request without a credential writes nothing."""
    if tables.first("SELECT until FROM {used_once} WHERE digest = :digest", digest=digest) is not None:
        return False
    tables.select("INSERT INTO {used_once} VALUES (:digest, :until)", digest=digest, until=until)
    return True
