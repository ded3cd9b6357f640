"""Sessions of people: opened by a sign-in, confirmed by the issuer with each refresh, ended by time, sign-out or block.

A session's token is valid for ``sessions.token`` without any query. To refresh it, and every hour for a browser's
session, the gateway first asks the issuer whether the person still has access; people who left lose it then."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from gateway.config.settings import Config
from gateway.features.people.confirming import ConfirmationRefused, IssuerConfirmation
from gateway.features.people.followed import FollowedPeople
from gateway.features.people.records import (
    DeviceGrant,
    FoundRefresh,
    IssuerSession,
    Person,
    PersonSession,
    digest_of,
    new_id,
    readable_text,
)
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.seen import seen_person
from gateway.features.people.session_rows import REMEMBERED_SECONDS
from gateway.features.people.session_tokens import SessionTokens
from gateway.features.people.settings import people_keys
from gateway.features.people.store import PeopleStore
from gateway.stores.errors import Unavailable
from gateway.stores.record_tables import CLOCK_SKEW

REUSE_SECONDS: Final = 10.0
"""Seconds in which a used refresh token still works: its response may have been lost, or two programs share it."""

_LONGEST_TOKEN: Final = 7000
"""Characters from which on a token contains only the groups that rules mention: many proxies permit 8 KiB a header."""

_REREAD: Final = 5.0
"""Seconds after which a browser's session is read again."""
_MOST_CACHED: Final = 10_000

GrantError: TypeAlias = Literal["invalid_grant", "authorization_pending", "slow_down", "access_denied", "expired_token"]

_UNKNOWN: Final = "the token is not valid: sign in again"
_ENDED: Final = "the session has ended: sign in again"
_REUSED: Final = "the refresh token was used before, so the session has ended: sign in again"
_BLOCKED: Final = "the access of this person is blocked: ask the gateway's operator"


class GrantRefused(Exception):
    """The refusal of a grant, with its code of RFC 6749, section 5.2, or RFC 8628, section 3.5.

    ``is_known`` means that the credential was the gateway's once, so its sender did not guess."""

    def __init__(self, code: GrantError, description: str, *, is_known: bool = True) -> None:
        super().__init__(description)
        self.code: GrantError = code
        self.description = description
        self.is_known = is_known


class PersonBlocked(Exception):
    """An error: the person is blocked, so no session was opened. The message is for the person."""

    def __init__(self) -> None:
        super().__init__(_BLOCKED)


@attrs.frozen(repr=False)
class IssuedTokens:
    """The result of a grant: a session's token with its lifetime in seconds, and the refresh token, if any."""

    access_token: str
    expires_in: int
    refresh_token: str | None
    person: Person
    session: str


@attrs.frozen(repr=False)
class OpenSession:
    """A valid session, and its person with the rights that the rules give it now."""

    session: PersonSession
    person: Person


@attrs.frozen(repr=False)
class _CachedSession:
    session: PersonSession
    issuer_session: IssuerSession
    read: float


class Sessions:
    """The sessions at the gateway of ``config``.

    Every coroutine may raise ``Unavailable``, and ``GatewayError`` (503) if the issuer is unavailable. Then nothing has
    changed. ``now`` returns Unix time."""

    def __init__(
        self,
        config: Config,
        store: PeopleStore,
        rules: RuleBook,
        confirmation: IssuerConfirmation,
        revocations: FollowedPeople,
        now: Callable[[], float] = time.time,
    ) -> None:
        assert config.public_url is not None
        self.tokens = SessionTokens(config.signing_key, config.public_url)
        self._token_seconds = people_keys(config).sessions.token
        self._longest = people_keys(config).sessions.longest
        self._store = store
        self._rules = rules
        self.confirmation = confirmation
        self._revocations = revocations
        self._now = now
        self._browsers: dict[str, _CachedSession] = {}  # by the digest of the cookie; the last was used last

    # Browsers

    async def sign_in(
        self,
        issuer_name: str,
        claims: Mapping[str, Any],
        refresh_token: str | None,
        *,
        cookie: str,
        old_cookie: str | None = None,
        program: str = "",
        address: str = "",
    ) -> OpenSession:
        """Open the session of a browser with the new value ``cookie``, and end that of ``old_cookie``.

        ``claims`` are verified; ``refresh_token`` is the issuer's. Without it the session ends with its first token.
        Raises ``NotAdmitted`` if no rule admits the person, and ``PersonBlocked``."""
        now = self._now()
        person = await self._admit(issuer_name, claims, now)
        needed = self._rules.needed_claims(issuer_name, claims)
        origin = new_id()
        sealed = None if refresh_token is None else self.confirmation.seal(refresh_token, origin)
        session = PersonSession(
            new_id(), origin, person.name, "browser", readable_text(program), readable_text(address), began=now,
            until=now + (self._token_seconds if sealed is None else self._longest), tokens_until=now, seen=now,
            cookie=digest_of(cookie),
        )  # fmt: skip
        issuer_session = IssuerSession(origin, person.name, issuer_name, needed, sealed, now)
        ends = None if old_cookie is None else digest_of(old_cookie)
        if not await self._store.sign_in(seen_person(person, needed, now, now), issuer_session, session, ends):
            raise PersonBlocked
        if ends is not None:
            self._browsers.pop(ends, None)
        return OpenSession(session, person)

    async def browser_session(self, cookie: str) -> OpenSession | None:
        """Return the session of a browser's cookie, ``None`` if it is unknown or has ended.

        When a token's lifetime has passed, the issuer must confirm the person first."""
        digest, now = digest_of(cookie), self._now()
        found = await self._read_browser_session(digest, now)
        if found is None or not found.session.is_open(now) or self._is_revoked(found.session):
            return None
        before = found.issuer_session
        if -CLOCK_SKEW <= now - before.checked < self._token_seconds:
            person = self._rules.find(before.issuer, before.claims)
            return None if isinstance(person, NotAdmitted) else OpenSession(found.session, person)
        try:
            confirmed = await self.confirmation.confirm(before, self._rules)
        except ConfirmationRefused:
            self._browsers.pop(digest, None)
            return None
        after = confirmed.issuer_session
        seen = seen_person(confirmed.person, after.claims, now, after.checked)
        if confirmed.is_new and not await self.confirmation.save(
            before, after, lambda: self._store.confirm(seen, after)
        ):
            return None
        self._cache(digest, _CachedSession(found.session, after, now))
        return OpenSession(found.session, confirmed.person)

    async def _read_browser_session(self, digest: str, now: float) -> _CachedSession | None:
        """Return the session of a cookie's digest, for an hour the last known one while the store is unavailable."""
        cached = self._browsers.get(digest)
        if cached is not None and 0 <= now - cached.read < _REREAD:
            return cached
        try:
            found = await self._store.session_of_cookie(digest)
        except Unavailable:
            if cached is None or now - cached.read >= REMEMBERED_SECONDS:
                raise
            return cached
        if found is None:
            self._browsers.pop(digest, None)
            return None
        return self._cache(digest, _CachedSession(*found, now))

    def _cache(self, digest: str, session: _CachedSession) -> _CachedSession:
        self._browsers.pop(digest, None)
        self._browsers[digest] = session
        if len(self._browsers) > _MOST_CACHED:
            del self._browsers[next(iter(self._browsers))]
        return session

    def _is_revoked(self, session: PersonSession) -> bool:
        return self._revocations.is_ended(session.id) or self._revocations.is_blocked(session.person)

    async def end(self, person: str, session: str) -> bool:
        """End a session of a person everywhere. Return whether it was open.

        The caller then makes this process read the change (``FollowedKeys.apply_changes``)."""
        return await self._store.end_session(person, session, self._now())

    # Programs

    async def redeem_device_code(self, device_code: str) -> IssuedTokens:
        """Return the tokens for the device code of a program, once its person has approved it.

        Raises ``GrantRefused``."""
        now = self._now()
        polled = await self._store.poll_grant(digest_of(device_code), now)
        if polled is None:
            raise GrantRefused("invalid_grant", "the device code is unknown, or was used", is_known=False)
        grant, is_early = polled
        if grant.until <= now:
            raise GrantRefused("expired_token", "the sign-in was not approved in time: start again")
        if grant.status == "denied":
            raise GrantRefused("access_denied", "the sign-in was denied")
        if is_early:
            raise GrantRefused("slow_down", "wait five seconds between two requests")
        if grant.status == "pending" or grant.origin is None or grant.person is None:
            raise GrantRefused("authorization_pending", "the sign-in is not approved yet")
        return await self._open_device_session(grant, grant.origin, grant.person, now)

    async def _open_device_session(self, grant: DeviceGrant, origin: str, name: str, now: float) -> IssuedTokens:
        """Return the tokens of a new session of the person ``name``, who approved ``grant`` in the sign-in ``origin``.

        Raises ``GrantRefused``."""
        issuer_session = await self._store.issuer_session(origin)
        if issuer_session is None:
            raise GrantRefused("access_denied", "the session of the browser that approved the sign-in has ended")
        person = self._person_of(issuer_session)
        first = None if issuer_session.refresh is None else self.tokens.first_refresh_token()
        session = PersonSession(
            new_id(), origin, name, "device", grant.program, grant.address, began=now,
            until=now + (self._token_seconds if first is None else self._longest),
            tokens_until=now + self._token_seconds, seen=now, refresh=None if first is None else digest_of(first),
        )  # fmt: skip
        if not await self._store.redeem_grant(grant.device_code, session, now):
            raise GrantRefused("invalid_grant", "the device code was used, or the person is blocked")
        return self._issue(person, issuer_session, session, first, now)

    async def refresh(self, refresh_token: str) -> IssuedTokens:
        """Return new tokens for a refresh token, which is then invalid. The issuer must confirm the person first.

        A token that was used in the last seconds returns the same successor again. Its later reuse ends the session
        (RFC 9700, section 4.14.2). Raises ``GrantRefused``, and ``GatewayError`` (429) after too many refreshes."""
        found = await self._store.find_refresh(digest_of(refresh_token))
        if found is None:
            raise GrantRefused("invalid_grant", _UNKNOWN, is_known=False)
        now = self._now()
        if not found.session.is_open(now):
            raise GrantRefused("invalid_grant", _ENDED)
        if found.used_at is not None:
            return await self._refresh_again(refresh_token, found, now)
        await self._store.check_refreshes(found.session.id, now)
        return await self._rotate(refresh_token, found.session, found.issuer_session)

    async def _rotate(self, refresh_token: str, session: PersonSession, before: IssuerSession) -> IssuedTokens:
        """Confirm the person at its issuer, and replace the refresh token."""
        try:
            confirmed = await self.confirmation.confirm(before, self._rules)
        except ConfirmationRefused as error:
            raise GrantRefused("invalid_grant", str(error)) from None
        now, after = self._now(), confirmed.issuer_session
        following = self.tokens.next_refresh_token(refresh_token)
        person = seen_person(confirmed.person, after.claims, now, after.checked)
        is_rotated = await self.confirmation.save(before, after, lambda: self._store.refresh(
            session, person, after if confirmed.is_new else None, digest_of(following), now + self._token_seconds, now
        ))  # fmt: skip
        if is_rotated:
            return self._issue(confirmed.person, after, session, following, now)
        again = await self._store.find_refresh(digest_of(refresh_token))
        if again is None or again.used_at is None or not again.session.is_open(now):
            raise GrantRefused("invalid_grant", _ENDED)
        return await self._refresh_again(refresh_token, again, now)

    async def _refresh_again(self, refresh_token: str, found: FoundRefresh, now: float) -> IssuedTokens:
        """Return tokens for a refresh token that was used in the last seconds. If it was used earlier, end its
        session."""
        assert found.used_at is not None
        session = found.session
        if not -CLOCK_SKEW <= now - found.used_at <= REUSE_SECONDS:
            await self._store.end_session(session.person, session.id, now)
            raise GrantRefused("invalid_grant", _REUSED)
        if self._is_revoked(session):
            raise GrantRefused("invalid_grant", _ENDED)
        later = self.tokens.later_refresh_tokens(refresh_token)
        following = next((token for token in later if digest_of(token) == session.refresh), None)
        return self._issue(self._person_of(found.issuer_session), found.issuer_session, session, following, now)

    def _issue(
        self, person: Person, confirmed: IssuerSession, session: PersonSession, refresh: str | None, now: float
    ) -> IssuedTokens:
        """Return the tokens of a session, with the claims that the issuer has ``confirmed``."""
        claims, checked = confirmed.claims, confirmed.checked
        until = min(now + self._token_seconds, session.until)
        token = self.tokens.make(person, claims, session.id, now, until, checked)
        if len(token) > _LONGEST_TOKEN:
            claims = self._rules.shortened_claims(person.issuer, claims)
            shortened = self._rules.find(person.issuer, claims)
            groups = () if isinstance(shortened, NotAdmitted) else shortened.groups
            token = self.tokens.make(attrs.evolve(person, groups=groups), claims, session.id, now, until, checked)
        return IssuedTokens(token, math.floor(until) - math.floor(now), refresh, person, session.id)

    # Rules

    async def _admit(self, issuer_name: str, claims: Mapping[str, Any], now: float) -> Person:
        """Return the person that the rules admit. If there is none, its sessions and own keys end."""
        person = self._rules.find(issuer_name, claims)
        if isinstance(person, NotAdmitted):
            name = self._rules.name_in(issuer_name, claims)
            if name is not None and await self._store.person(name) is not None:
                await self._store.end_access(name, now)
            raise person
        return person

    def _person_of(self, issuer_session: IssuerSession) -> Person:
        person = self._rules.find(issuer_session.issuer, issuer_session.claims)
        if isinstance(person, NotAdmitted):
            raise GrantRefused("invalid_grant", person.info.message)
        return person
