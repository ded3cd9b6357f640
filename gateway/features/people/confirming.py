"""Confirmation of people at their issuers: whether a person still has access, and with which claims.

An issuer's refresh token may work only once, so one process at a time uses it, and each result is stored."""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import trio

from gateway.features.people.issuer_http import (
    REFRESH_SECONDS,
    IssuerClient,
    IssuerRefused,
    IssuerTokens,
    IssuerUnavailable,
)
from gateway.features.people.issuers import IssuerDirectory
from gateway.features.people.records import IssuerSession, Person
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.session_tokens import RefreshSeals
from gateway.features.people.store import PeopleStore
from gateway.features.people.token_format import TokenRefused
from gateway.features.people.tokens import CannotJudge
from gateway.stores.errors import Unavailable
from streams.errors import GatewayError

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

log = logging.getLogger("trigate.people")

WAIT: Final = 4.0
"""Seconds to wait for another process that contacts the issuer."""
STORE_AGAIN: Final = 1.0
"""Seconds between two attempts to store a refresh token."""
_POLL: Final = 0.1
_MOST_UNSAVED: Final = 1000

_SIGN_IN: Final = "sign in again"
_DOWN: Final = "the issuer {} is unavailable, so the session cannot be refreshed: try again in a few seconds"


_Answer: TypeAlias = IssuerTokens | Exception


class ConfirmationRefused(Exception):
    """An error: the person has lost its access, so its sessions have ended. The message is for the person."""


@attrs.frozen(repr=False)
class Confirmed:
    """A person whom its issuer has confirmed. ``is_new`` means that this process has the result, and must store it."""

    person: Person
    issuer_session: IssuerSession
    is_new: bool


class IssuerConfirmation:
    """The confirmation of people at ``issuers``. ``now`` returns Unix time.

    ``unsaved`` are refresh tokens that could not be stored, by those before them, across configurations."""

    def __init__(
        self,
        store: PeopleStore,
        issuers: IssuerDirectory,
        seals: RefreshSeals,
        unsaved: dict[bytes, bytes],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._issuers = issuers
        self._seals = seals
        self._now = now
        self.unsaved: Final = unsaved

    def seal(self, refresh_token: str, id: str) -> bytes:
        """Encrypt the issuer's refresh token of the sign-in ``id``."""
        return self._seals.seal(refresh_token, id)

    async def confirm(self, before: IssuerSession, rules: RuleBook) -> Confirmed:
        """Return the person of the sign-in ``before`` as the issuer knows it now.

        If another process contacts the issuer at the same time, wait for its result. Raises ``ConfirmationRefused``,
        ``GatewayError`` (503) if the issuer is unavailable, and ``Unavailable`` if the store is."""
        until = trio.current_time() + WAIT
        while True:
            found, may_contact = await self._store.claim_issuer_session(before, self._now())
            if found is None:
                raise ConfirmationRefused(f"the session has ended: {_SIGN_IN}")
            if may_contact:
                with trio.CancelScope(shield=True):  # a used refresh token must not get lost
                    confirmed = await self._contact(found, rules)
                if trio.current_effective_deadline() == -math.inf:  # the client has left, and repeats this later
                    await self._keep_refresh(found, confirmed.issuer_session)
                    await trio.lowlevel.checkpoint()
                return confirmed
            if found.checked != before.checked:
                return await self._admit(found, found.claims, rules, is_new=False)
            if trio.current_time() >= until:
                raise _issuer_down(before.issuer)
            await trio.sleep(_POLL)

    async def save(self, before: IssuerSession, after: IssuerSession, write: Callable[[], Awaitable[bool]]) -> bool:
        """Store a result by ``write()``, and return its result.

        If the store is unavailable, keep the refresh token, and store it once the store is available again: other
        processes have only the used one."""
        try:
            with trio.CancelScope(shield=True):
                is_saved = await write()
        except Unavailable:
            if before.refresh is not None and after.refresh not in (None, before.refresh):
                self._keep(before.refresh, after.refresh)
                self._issuers.start_if_running(partial(self._store_later, before.id, before.refresh))
            raise
        if before.refresh is not None:
            self.unsaved.pop(before.refresh, None)
        return is_saved

    async def _store_later(self, id: str, used: bytes) -> None:
        """Store the refresh token that follows ``used``, unless a later refresh does. Raises nothing."""
        while used in self.unsaved:
            await trio.sleep(STORE_AGAIN)
            with suppress(Unavailable):
                await self._store.replace_refresh(id, used, self.unsaved.get(used, used))
                self.unsaved.pop(used, None)

    async def _contact(self, before: IssuerSession, rules: RuleBook) -> Confirmed:
        """Refresh the tokens at the issuer. If that fails, release the claim; otherwise storing the result does so."""
        client = self._issuers.clients.get(before.issuer)
        sealed = None if before.refresh is None else self.unsaved.get(before.refresh, before.refresh)
        token = None if sealed is None else self._seals.open(sealed, before.id)
        if client is None or client.issuer.login is None or token is None:
            await self._store.release_issuer_session(before.id)
            raise ConfirmationRefused(f"the issuer {before.issuer} cannot refresh this session: {_SIGN_IN}")
        tokens = await self._request_tokens(client, token, before)
        if tokens is None:
            raise self._unavailable(before.issuer, f"no response within {REFRESH_SECONDS:g} s")
        if isinstance(tokens, IssuerRefused):
            await self._store.end_sign_in(before.id, self._now())
            raise ConfirmationRefused(f"the issuer {before.issuer} has ended the access: {_SIGN_IN}")
        if isinstance(tokens, Exception):
            await self._store.release_issuer_session(before.id)
            raise self._unavailable(before.issuer, tokens)
        refresh = self.seal(tokens.refresh_token or token, before.id)  # the same token with the present key
        after = attrs.evolve(before, refresh=refresh, checked=self._now())
        claims = await _result_or_error(
            self._claims_of(tokens, client, before), IssuerUnavailable, CannotJudge, TokenRefused
        )
        if isinstance(claims, Exception):
            await self._keep_refresh(before, after)
            raise self._unavailable(before.issuer, claims)
        return await self._admit(after, claims, rules, is_new=True)

    async def _request_tokens(self, client: IssuerClient, token: str, before: IssuerSession) -> _Answer | None:
        """Return the issuer's tokens, or its error; ``None`` if there is none after ``REFRESH_SECONDS``.

        A later one is stored for the next refresh: the issuer may accept ``token`` only once."""
        answers: list[_Answer | None] = []
        has_answer = trio.Event()

        async def refresh() -> None:
            try:
                with trio.CancelScope(shield=True):  # a process that ends waits for it
                    answer = await _result_or_error(client.refresh(token), IssuerRefused, IssuerUnavailable)
                    if answers:
                        await self._keep_late(answer, before)
                answers.append(answer)
            except Exception:  # the boundary: an error here would end the process
                log.exception("the response of the issuer %s to a refresh is lost", before.issuer)
            has_answer.set()

        await self._issuers.start(refresh)
        with trio.move_on_after(REFRESH_SECONDS):
            await has_answer.wait()
        answers.append(None)  # only the first one counts
        return answers[0]

    async def _keep_late(self, answer: _Answer, before: IssuerSession) -> None:
        """Store the refresh token of an answer for which no request waits, and release the claim."""
        if isinstance(answer, Exception) or answer.refresh_token is None:
            await self._store.release_issuer_session(before.id)
        else:
            await self._keep_refresh(before, attrs.evolve(before, refresh=self.seal(answer.refresh_token, before.id)))

    async def _keep_refresh(self, before: IssuerSession, after: IssuerSession) -> None:
        """Store only the issuer's refresh token in ``after``, for the next refresh."""
        await self.save(before, after, lambda: self._store.keep_refresh(after))

    async def _claims_of(self, tokens: IssuerTokens, client: IssuerClient, before: IssuerSession) -> Mapping[str, Any]:
        """Return the person's present claims, from the ID token and, if claims are missing there, from userinfo.

        An issuer that sends neither has only confirmed the person, so the earlier claims stay."""
        claims = await self._issuers.claims_of(client, tokens, before.claims.keys(), self._now())
        if claims and "sub" in before.claims and claims.get("sub") != before.claims["sub"]:
            raise IssuerUnavailable("its tokens are about another person (`sub`)")
        return claims or before.claims

    async def _admit(
        self, session: IssuerSession, claims: Mapping[str, Any], rules: RuleBook, *, is_new: bool
    ) -> Confirmed:
        """Apply the rules to the person's present claims. Without a rule, all its sessions and own keys end."""
        person = rules.find(session.issuer, claims)
        if isinstance(person, NotAdmitted):
            await self._store.end_access(session.person, self._now())
            raise ConfirmationRefused(person.info.message)
        if person.name != session.person:
            await self._store.end_sign_in(session.id, self._now())
            raise ConfirmationRefused(f"the session belongs to another person: {_SIGN_IN}")
        needed = rules.needed_claims(session.issuer, claims)
        return Confirmed(person, attrs.evolve(session, claims=needed), is_new)

    def _keep(self, before: bytes, after: bytes) -> None:
        self.unsaved[before] = after
        if len(self.unsaved) > _MOST_UNSAVED:
            del self.unsaved[next(iter(self.unsaved))]

    def _unavailable(self, issuer_name: str, error: object) -> GatewayError:
        log.warning("the issuer %s could not refresh a session: %s", issuer_name, error)
        return _issuer_down(issuer_name)


def _issuer_down(issuer_name: str) -> GatewayError:
    """Return the error (503) for a session that its issuer cannot confirm now."""
    return GatewayError("overloaded", _DOWN.format(issuer_name), headers=(("retry-after", "5"),))


async def _result_or_error(call: Awaitable[T], *errors: type[E]) -> T | E:
    """Return the result of ``call``, or the error among ``errors`` that it raised."""
    try:
        return await call
    except errors as error:
        return error
