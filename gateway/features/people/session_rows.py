"""Sessions, device grants and sign-ins as rows. Each function runs in one transaction, and notes its change."""

from typing import Final, LiteralString

from gateway.features.people.records import (
    GRANTS,
    ISSUER_SESSIONS,
    SESSIONS,
    DeviceGrant,
    FoundRefresh,
    IssuerSession,
    PersonSession,
)
from gateway.stores.record_tables import CLOCK_SKEW, AuditEntry, RightsTables
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

_BEYOND: Final = """
    WHERE person = :person AND kind = :kind AND ended IS NULL AND until > :now
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


# Sessions at issuers


def put_issuer_session(tables: RightsTables, new: IssuerSession) -> None:
    """Store a session at an issuer, and release its claim."""
    tables.put(ISSUER_SESSIONS, new, kept=("person", "issuer"), claimed=None)


def claim_issuer_session(tables: RightsTables, before: IssuerSession, now: float) -> tuple[IssuerSession | None, bool]:
    """Return the present state of a session at an issuer, and whether this process may now contact the issuer.

    It may not if another process does, or has confirmed the session since ``before``. To store the session, or its
    refresh token, releases the claim."""
    found = tables.find(ISSUER_SESSIONS, id=before.id)
    if found is None or found.checked != before.checked:
        return found, False
    claimed = tables.select("SELECT claimed FROM {issuer_sessions} WHERE id = :id", id=before.id)[0][0]
    if claimed is not None and abs(now - claimed) < CLAIM_SECONDS:
        return found, False
    tables.update(ISSUER_SESSIONS, {"id": before.id}, claimed=now)
    return found, True


def release_issuer_session(tables: RightsTables, id: str) -> None:
    """Release the claim on a session at an issuer."""
    tables.update(ISSUER_SESSIONS, {"id": id}, claimed=None)


def keep_issuer_refresh(tables: RightsTables, issuer_session: IssuerSession) -> bool:
    """Store only the new refresh token of a session at an issuer, which did not confirm the person, and release its
    claim. Return whether the session exists."""
    if tables.find(ISSUER_SESSIONS, id=issuer_session.id) is None:
        return False
    tables.update(ISSUER_SESSIONS, {"id": issuer_session.id}, refresh=issuer_session.refresh, claimed=None)
    return True


def replace_issuer_refresh(tables: RightsTables, id: str, used: bytes, refresh: bytes) -> None:
    """Store ``refresh``, which follows ``used``, unless another process has stored a later one."""
    tables.select(
        "UPDATE {issuer_sessions} SET refresh = :refresh WHERE id = :id AND refresh = :used",
        id=id, used=used, refresh=refresh,
    )  # fmt: skip


# Sessions


def add_session(tables: RightsTables, new: PersonSession) -> None:
    """Store a session. If its person has too many of its kind, the one that was used least recently ends.

    Raises ``GatewayError`` (429) if the person began too many in the last minutes."""
    begun = tables.count(_BEGUN, person=new.person, kind=new.kind, **_window(new.began))
    if begun >= _MOST_BEGUN:
        raise _too_often_error(_TOO_MANY)
    beyond = {"person": new.person, "kind": new.kind, "now": new.began, "kept": MOST_SESSIONS - 1}
    for old in tables.list(SESSIONS, _BEYOND, **beyond):
        end_session(tables, old, new.began)
    tables.add(SESSIONS, new)


def find_session_by_cookie(tables: RightsTables, cookie: str) -> tuple[PersonSession, IssuerSession] | None:
    """Return the session of the cookie with this digest, also one that has expired, and its sign-in at the issuer."""
    return _with_issuer(tables, "s.cookie = :value", cookie)


def find_session_by_refresh(tables: RightsTables, refresh: str) -> FoundRefresh | None:
    """Return the session of the refresh token with this digest."""
    if (found := _with_issuer(tables, "s.refresh = :value", refresh)) is not None:
        return FoundRefresh(*found, None)
    used = tables.first("SELECT session, at FROM {used_refresh_tokens} WHERE digest = :refresh", refresh=refresh)
    found = None if used is None else _with_issuer(tables, "s.id = :value", used[0])
    return None if used is None or found is None else FoundRefresh(*found, used[1])


def _with_issuer(
    tables: RightsTables, condition: LiteralString, value: str
) -> tuple[PersonSession, IssuerSession] | None:
    """Return a session and its sign-in at the issuer, by one statement, because a refresh changes both rows."""
    row = tables.first(
        f"SELECT {SESSIONS.selection('s')}, {ISSUER_SESSIONS.selection('i')} FROM {{person_sessions}} s "
        f"JOIN {{issuer_sessions}} i ON i.id = s.origin WHERE {condition}",
        value=value,
    )
    if row is None:
        return None
    at = len(SESSIONS.columns)
    return SESSIONS.read(row[:at]), ISSUER_SESSIONS.read(row[at:])


def open_sessions(tables: RightsTables, person: str, now: float) -> tuple[PersonSession, ...]:
    """Return the open sessions of a person, the oldest first."""
    rest = "WHERE person = :person AND ended IS NULL AND until > :now ORDER BY began, id"
    return tables.list(SESSIONS, rest, person=person, now=now)


def check_refreshes(tables: RightsTables, session: str, now: float) -> None:
    """Raise ``GatewayError`` (429) if a session was refreshed too often in the last minutes."""
    if tables.count(_REFRESHED, session=session, **_window(now)) >= _MOST_REFRESHES:
        raise _too_often_error(_TOO_OFTEN)


def _window(now: float) -> dict[str, float]:
    """Return the last ten minutes. Rows of a clock that was too fast do not count."""
    return {"since": now - _WINDOW, "until": now + CLOCK_SKEW}


def _too_often_error(message: str) -> GatewayError:
    return GatewayError("rate_limited", message, headers=(("retry-after", "60"),))


def rotate_session(tables: RightsTables, session: PersonSession, refresh: str, tokens_until: float, now: float) -> None:
    """Replace the refresh token of ``session``, and note its present one as used."""
    tables.select(
        "INSERT INTO {used_refresh_tokens} VALUES (:digest, :session, :at)",
        digest=session.refresh, session=session.id, at=now,
    )  # fmt: skip
    tables.select(_FORGET_USED, session=session.id, kept=_MOST_USED - 1)
    until = max(tokens_until, session.tokens_until)
    tables.update(SESSIONS, {"id": session.id}, refresh=refresh, tokens_until=until, seen=now)


def end_session(tables: RightsTables, session: PersonSession, now: float, audit: AuditEntry | None = None) -> None:
    """End a session, and forget the issuer's refresh token with the last session of a sign-in."""
    until = max(session.tokens_until, now + REMEMBERED_SECONDS)
    tables.update(SESSIONS, {"id": session.id}, ended=now, cookie=None, refresh=None, tokens_until=until)
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
    tables.add_audit(audit, {"session": session.id, "person": session.person, "kind": session.kind})


def end_sessions(tables: RightsTables, person: str, now: float, audit: AuditEntry | None = None) -> int:
    """End all sessions of a person, and return their number."""
    sessions = open_sessions(tables, person, now)
    for session in sessions:
        end_session(tables, session, now)
    tables.add_audit(audit, {"person": person, "sessions": len(sessions)}, None)
    return len(sessions)


def end_sessions_of_origin(tables: RightsTables, origin: str, now: float) -> None:
    """End all sessions that follow from one sign-in at an issuer."""
    for session in tables.list(SESSIONS, "WHERE origin = :origin AND ended IS NULL", origin=origin):
        end_session(tables, session, now)


# Device grants


def add_grant(tables: RightsTables, grant: DeviceGrant) -> bool:
    """Store a pending grant. Return false if its user code is in use; the caller then draws another one.

    If there are too many grants, the oldest pending one is removed, so a flood of requests prevents no sign-ins."""
    tables.select("DELETE FROM {device_grants} WHERE until <= :now", now=grant.began - 600.0)
    if tables.count("SELECT count(*) FROM {device_grants}") >= MOST_GRANTS:
        tables.select(_REMOVE_OLDEST_GRANT)
    if tables.find(GRANTS, user_code=grant.user_code) is not None:
        return False
    tables.add(GRANTS, grant)
    return True


def decide_grant(tables: RightsTables, user_code: str, session: PersonSession | None, now: float) -> bool:
    """Approve a pending grant for the person of ``session``, or deny it. Return false if none is pending."""
    grant = tables.find(GRANTS, user_code=user_code)
    if grant is None or grant.status != "pending" or grant.until <= now:
        return False
    approver = (None, None) if session is None else (session.origin, session.person)
    status = "denied" if session is None else "approved"
    tables.update(GRANTS, {"user_code": user_code}, status=status, origin=approver[0], person=approver[1])
    return True


def note_poll(tables: RightsTables, device_code: str, now: float) -> None:
    """Store the time of a poll."""
    tables.update(GRANTS, {"device_code": device_code}, polled=now)


# Single use


def use_once(tables: RightsTables, digest: str, until: float) -> bool:
    """Mark a secret as used until it expires, and return whether this was its first use.

    For the ``state`` of a browser's sign-in: the rest is in the browser's cookie, encrypted
    (``oauth.sign_in_states``), so a request without a credential writes nothing."""
    if tables.first("SELECT until FROM {used_once} WHERE digest = :digest", digest=digest) is not None:
        return False
    tables.select("INSERT INTO {used_once} VALUES (:digest, :until)", digest=digest, until=until)
    return True
