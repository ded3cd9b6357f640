"""Identifies people by their tokens, for one configuration: a token's claims, then the rule that they match."""

import base64
import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from gateway.access.refused_keys import KeyRefused
from gateway.config.clients import ClientKey
from gateway.config.issuers import AdmitRule, TrustedIssuer
from gateway.config.settings import Config
from gateway.http.headers import Headers
from gateway.people.directory import SENDER, KnownPerson, PeopleDirectory, PersonTable
from gateway.people.issuers import IssuerDirectory
from gateway.people.rules import RuleBook
from gateway.people.token_format import TokenRefused, is_signed_token
from gateway.people.tokens import CannotJudge, Claims
from gateway.people.values import Person
from streams.errors import GatewayError

V = TypeVar("V")

MOST_REMEMBERED: Final = 50_000
"""Tokens whose person is remembered."""

OWN_KEY: Final = "sk-trigate-"
"""The start of keys that the gateway made. No other server may see them."""

_HEADERS: Final = (("x-should-retry", "false"), ("www-authenticate", 'Bearer error="invalid_token"'))
BEARER: Final = "authorization"
"""The header of an issuer whose tokens are sent like keys."""

_SEVERAL: Final = "the request has several different tokens in one header: send only one"
_BLOCKED: Final = "the access of this person is blocked: ask the gateway's operator"


class FollowedRights(Protocol):
    """The blocks of people, as last read."""

    def is_blocked(self, name: str) -> bool: ...


class PeopleGate:
    """The people of one configuration. ``directory`` and ``issuers`` outlive it. ``now`` returns Unix time."""

    def __init__(
        self,
        config: Config,
        issuers: IssuerDirectory,
        directory: PeopleDirectory,
        rights: FollowedRights | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rules = RuleBook(config.issuers)
        self._issuers = issuers
        self.directory = directory
        self._rights = rights
        self._now = now
        self._headers = {one.header: one.name for one in config.issuers if one.header != BEARER}
        self._urls = frozenset(filter(None, (*(one.issuer for one in config.issuers), config.public_url)))
        self._introspects = any(one.introspection is not None for one in config.issuers)
        self._strangers = {one.name: AdmitRule({}, client=_stranger_of(one)) for one in config.issuers}
        self._people: dict[bytes, KnownPerson] = {}  # by the digest of their token; the last was used last

    # Identification

    async def prepare(self, headers: Headers, keys: Collection[str], address: str | None, *, introspects: bool) -> None:
        """Wait, for two seconds at most, until ``identify`` can judge the token in a request from ``address``. Never
        raises.

        Only with ``introspects`` may an issuer get a key that is no token, to judge it."""
        token, _ = self._token_in(headers, keys)
        if token is None:
            return
        if is_signed_token(token) or (introspects and self._introspects and not token.startswith(OWN_KEY)):
            await self._issuers.prepare(token, self._now(), address)

    def identify(self, headers: Headers, keys: Collection[str]) -> str | None:
        """Return the client's name of the person whose token is in a request with ``headers`` and ``keys``.

        Return ``None`` if no credential is a token. The person's rights are those of this token until the end of the
        request. Raises ``GatewayError`` (401, 403, 503)."""
        known = self._identify(headers, keys)
        if known is None:
            return None
        SENDER.set(known)
        return known.name

    def _identify(self, headers: Headers, keys: Collection[str]) -> KnownPerson | None:
        token, header = self._token_in(headers, keys)
        claims = None if token is None else self._check(token)
        if claims is None:
            return None
        self._check_place(claims, header)
        known = self._person_of(claims)
        if self._rights is not None and self._rights.is_blocked(known.name):
            raise KeyRefused(_BLOCKED, "blocked", known.name, headers=_HEADERS)
        return known

    def _token_in(self, headers: Headers, keys: Collection[str]) -> tuple[str | None, str]:
        """Return the credential that may be a token, and the header that had it.

        A token among the keys has precedence over one that a proxy adds in a header of its own: SDKs always send some
        key, so other keys do not count."""
        found = {(value.strip(), name) for name, value in headers if name in self._headers} if self._headers else None
        if found and not any(map(is_signed_token, keys)):
            if len(found) > 1:
                raise KeyRefused(_SEVERAL, "several", headers=_HEADERS)
            return found.pop()
        return (next(iter(keys)), BEARER) if len(keys) == 1 else (None, BEARER)

    def _check(self, token: str) -> Claims | None:
        try:
            return self._issuers.check(token, self._now())
        except TokenRefused as error:
            raise KeyRefused(error.message, error.reason, headers=_HEADERS) from None
        except CannotJudge as error:
            raise GatewayError("overloaded", error.message, headers=(("retry-after", "5"),)) from None

    def _check_place(self, claims: Claims, header: str) -> None:
        """Raise ``KeyRefused`` for a token outside the header that the file sets for its issuer."""
        expected = next((name for name, issuer in self._headers.items() if issuer == claims.issuer), BEARER)
        if expected != header:
            message = f"the gateway accepts tokens of the issuer {claims.issuer} only in the header {expected}"
            raise KeyRefused(message, "wrong place", headers=_HEADERS)

    def _person_of(self, claims: Claims) -> KnownPerson:
        known = self._people.pop(claims.digest, None)
        if known is None:
            known = self.directory.note(*self.rules.admit(claims.issuer, claims.values))
        self._people[claims.digest] = known
        if len(self._people) > MOST_REMEMBERED:
            del self._people[next(iter(self._people))]
        return known

    def seconds_left(self, headers: Headers, keys: Collection[str]) -> float:
        """Return the seconds until the valid token in a request expires, infinity without one."""
        try:
            token, _ = self._token_in(headers, keys)
            claims = None if token is None else self._check(token)
        except GatewayError:
            return 0.0
        return math.inf if claims is None else claims.expiry - self._now()

    def owns(self, credential: str) -> bool:
        """Return whether ``credential`` is for this gateway, valid or not, so that no provider may see it."""
        if is_signed_token(credential):
            return _issuer_in(credential) in self._urls
        if credential.startswith(OWN_KEY):
            return True
        try:
            return self._issuers.check(credential, self._now()) is not None
        except (TokenRefused, CannotJudge):
            return False

    # Tables

    def table(
        self, values: Mapping[str, V], make: Callable[[ClientKey], V | None], *, is_own: bool = False
    ) -> PersonTable[V]:
        """Return ``values`` by client name with those of people, which ``make`` returns; see ``PersonTable``."""
        return PersonTable(values, self.find, make, is_own=is_own)

    def find(self, name: str) -> KnownPerson | None:
        """Return the person with the name ``name`` under this configuration, ``None`` for other names.

        A person whom this process does not know has no rights."""
        if not self.rules.is_person_name(name):
            return None
        known = self.directory.find(name)
        if known is not None and (rule := self.rules.present_rule(known.person, known.rule)) is not None:
            return known if rule is known.rule else self.directory.note(known.person, rule)
        issuer = name.partition(":")[0]
        return KnownPerson(Person(name, None, issuer, -1), self._strangers[issuer])

    def label_of(self, name: str) -> str | None:
        """Return the name under which metrics count a person: its group's, else its issuer's."""
        known = self.find(name)
        return None if known is None else known.person.group or known.person.issuer


def _stranger_of(issuer: TrustedIssuer) -> ClientKey:
    """Return the client of a person that this process does not know: it may use nothing."""
    return ClientKey(f"{issuer.name}:*", models=(), only=(), source="rule")


def _issuer_in(token: str) -> str | None:
    """Return the ``iss`` of a token, which may be invalid."""
    payload = token.split(".")[1]
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return None
    found = claims.get("iss") if isinstance(claims, dict) else None
    return found if isinstance(found, str) else None
