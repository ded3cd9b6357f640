"""Identifies people by their tokens, for one configuration: a token's claims, then the rule that they match."""

import base64
import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

import msgspec

from configfile.wording import time_text
from gateway.access.refused_keys import KeyRefused
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.config.unlisted import Caller, SentRights, UnlistedClients
from gateway.features.admin.interface import PREFIX
from gateway.features.people.directory import SENDER, KnownPerson, PeopleDirectory, PersonTable, Sender, sign_in_time
from gateway.features.people.followed import FollowedPeople
from gateway.features.people.issuers import IssuerDirectory
from gateway.features.people.records import Credential, Person
from gateway.features.people.rules import RuleBook, issue_time
from gateway.features.people.seen import AGAIN_SECONDS
from gateway.features.people.session_tokens import SessionTokens
from gateway.features.people.settings import AdmitRule, TrustedIssuer, issuers_of
from gateway.features.people.token_format import TokenRefused, is_signed_token
from gateway.features.people.tokens import CannotJudge, Claims, digest_of
from gateway.http.headers import Headers
from gateway.seams.identify import ClientSource
from gateway.stores.record_tables import CLOCK_SKEW
from streams.errors import GatewayError

V = TypeVar("V")

MOST_REMEMBERED: Final = 50_000
"""Credentials whose person is remembered."""

OWN_KEY: Final = PREFIX
"""The start of keys that the gateway made. No other server may see them."""

_HEADERS: Final = (("x-should-retry", "false"), ("www-authenticate", 'Bearer error="invalid_token"'))
BEARER: Final = "authorization"
"""The header of an issuer whose tokens are sent like keys."""

_SEVERAL: Final = "the request has several different tokens in one header: send only one"
_UNREAD: Final = "the gateway cannot read at the moment which people are blocked: try again in a few seconds"
_KEY_ENDED: Final = "this key expired on {}: make a new one"
_SIGN_IN: Final = "this key waits for a new sign-in since {}: sign in on the gateway's page or by `trigate login`"
_SESSION_ENDED: Final = "the session has ended: sign in again"
_BLOCKED: Final = "the access of this person is blocked: ask the gateway's operator"


class PeopleGate:
    """The people of one configuration. ``directory`` and ``issuers`` outlive it.

    ``rights`` returns the rows that are followed in the store, ``None`` without one."""

    def __init__(
        self,
        config: Config,
        issuers: IssuerDirectory,
        directory: PeopleDirectory,
        rights: Callable[[], FollowedPeople | None] = lambda: None,
    ) -> None:
        self.rules = RuleBook(issuers_of(config))
        self.directory = directory
        self.issuers = issuers
        self._rights = rights
        self._header_of = {one.name: one.header for one in issuers_of(config)}
        self._headers = frozenset(self._header_of.values()) - {BEARER}
        self._urls = frozenset(filter(None, (*(one.issuer for one in issuers_of(config)), config.public_url)))
        self._strangers = {one.name: AdmitRule({}, client=_stranger_of(one)) for one in issuers_of(config)}
        self._sessions = _session_tokens(config)
        self._known: dict[bytes, Sender] = {}  # by the digest of their credential; the last was used last
        self._latest = 0.0  # time of a request with a session's token

    # Identification

    async def prepare(self, headers: Headers, keys: Collection[str]) -> None:
        """Wait, for two seconds at most, until ``identify`` can judge the token in a request. Never raises."""
        try:
            token, _ = self._token_in(headers, keys)
        except GatewayError:
            return
        if token is not None and not self._is_made_here(token):
            await self.issuers.prepare(token, time.time())

    def identify(self, headers: Headers, keys: Collection[str]) -> str | None:
        """Return the client's name of the person whose token is in a request with ``headers`` and ``keys``.

        Return ``None`` if no credential is a token. The person's rights are those of this token until the end of the
        request. Raises ``GatewayError`` (401, 403, 503)."""
        sender = self.sender(headers, keys)
        if sender is None:
            return None
        SENDER.set(sender)
        return sender.known.name

    def sender(self, headers: Headers, keys: Collection[str]) -> Sender | None:
        """Return the person whose credential is in a request, ``None`` if no credential is a person's.

        Raises as ``identify`` does."""
        token, header = self._token_in(headers, keys)
        sender = None if token is None else self._identify_credential(token, header)
        if sender is None:
            return None
        rights = self._rights()
        if rights is not None and not rights.is_read:
            raise GatewayError("overloaded", _UNREAD, headers=(("retry-after", "1"),))
        if rights is not None and rights.is_blocked(sender.known.name):
            raise KeyRefused(_BLOCKED, "blocked", sender.known.name, headers=_HEADERS)
        return sender

    def _token_in(self, headers: Headers, keys: Collection[str]) -> tuple[str | None, str]:
        """Return the credential that may be a token, and the header that had it.

        A token among the keys has precedence over one that a proxy adds in a header of its own: SDKs always send some
        key, so other keys do not count."""
        found = {(_bare_token(value), name) for name, value in headers if name in self._headers}
        if found and not any(is_signed_token(key) or key.startswith(OWN_KEY) for key in keys):
            if len(found) > 1:
                raise KeyRefused(_SEVERAL, "several", headers=_HEADERS)
            return found.pop()
        return (next(iter(keys)), BEARER) if len(keys) == 1 else (None, BEARER)

    def issuer_token(self, issuer: str, client: str | None, headers: Headers, keys: Collection[str]) -> str | None:
        """Return the token of ``issuer`` with which the current request of ``client`` was admitted, ``None`` if it has
        another credential."""
        sender = SENDER.get()
        if sender is None or sender.credential != "issuer token" or sender.known.name != client:
            return None
        if sender.known.person.issuer != issuer:
            return None
        return self._token_in(headers, keys)[0]

    def _is_made_here(self, token: str) -> bool:
        """Return whether ``token`` is an own key or a session token, which no issuer knows."""
        return token.startswith(OWN_KEY) or (self._sessions is not None and self._sessions.is_ours(token))

    def _identify_credential(self, token: str, header: str) -> Sender | None:
        """Return the person with the credential ``token``, which was in ``header``. Raises as ``identify`` does."""
        try:
            if token.startswith(OWN_KEY):
                return self._judge_own_key(token)
            if self._sessions is not None and self._sessions.is_ours(token):
                return self._judge_session(token, self._sessions)
            claims = self.issuers.check(token, time.time())
        except TokenRefused as error:
            raise KeyRefused(error.message, error.reason, headers=_HEADERS) from None
        except CannotJudge as error:
            raise GatewayError("overloaded", error.message, headers=(("retry-after", "5"),)) from None
        if claims is None:
            return None
        self._check_header(claims, header)
        sender = self._recall(claims.digest)
        if sender is not None:
            return sender
        values = claims.values
        issued = issue_time(values, time.time())
        return self._remember(claims.digest, claims.issuer, values, issued, claims.expiry, "issuer token")

    def _judge_own_key(self, token: str) -> Sender | None:
        rights, digest = self._rights(), digest_of(token)
        if rights is not None and not rights.is_read:
            raise GatewayError("overloaded", _UNREAD, headers=(("retry-after", "1"),))
        found = None if rights is None else rights.own_key(digest)
        if found is None:
            return None
        if time.time() >= found.until:
            text = _KEY_ENDED.format(time_text(found.until))
            raise KeyRefused(text, "expired", found.person, headers=_HEADERS)
        sender = self._recall(digest)
        if sender is None or sender.source is not found:
            self.check_same_person(found.issuer, found.claims, found.person)
            sender = self._remember(digest, found.issuer, found.claims, 0.0, found.until, "own key", found.name, found)
        if time.time() >= (due := sign_in_time(sender)):
            raise KeyRefused(_SIGN_IN.format(time_text(due)), "sign_in_due", found.person, headers=_HEADERS)
        if self.directory.seen is not None and rights is not None and not rights.is_blocked(found.person):
            self.directory.seen.note_key_use(digest)
        return sender

    def _judge_session(self, token: str, sessions: SessionTokens) -> Sender:
        digest, now = digest_of(token), time.time()
        if now < self._latest - CLOCK_SKEW:  # tokens that were made by a clock that was too fast
            self._known.clear()
        self._latest = now
        sender = self._recall(digest)
        if sender is None or now >= sender.expiry:
            found = sessions.read(token, now)
            self.check_same_person(found.issuer, found.claims, found.person)
            sender = self._remember(
                digest, found.issuer, found.claims, found.confirmed, found.expiry, "session", found.session
            )
        rights = self._rights()
        if rights is not None and sender.credential_id is not None and rights.is_ended(sender.credential_id):
            raise KeyRefused(_SESSION_ENDED, "session_ended", sender.known.name, headers=_HEADERS)
        return sender

    def _check_header(self, claims: Claims, header: str) -> None:
        """Raise ``KeyRefused`` for a token outside the header that the file sets for its issuer."""
        expected = self._header_of.get(claims.issuer, BEARER)
        if expected != header:
            message = f"the gateway accepts tokens of the issuer {claims.issuer} only in the header {expected}"
            raise KeyRefused(message, "wrong place", headers=_HEADERS)

    def check_same_person(self, issuer: str, claims: Mapping[str, Any], name: str) -> None:
        """Raise ``KeyRefused`` if the claims of a session or key now give another name than ``name``, because the file
        selects another claim for names."""
        if self.rules.name_in(issuer, claims) not in (name, None):
            raise KeyRefused(_SESSION_ENDED, "session_ended", headers=_HEADERS)

    def _recall(self, digest: bytes) -> Sender | None:
        """Return the sender with this credential, if it was used before under this configuration."""
        sender = self._known.pop(digest, None)
        if sender is not None:
            self._known[digest] = sender
        return sender

    def _remember(
        self,
        digest: bytes,
        issuer: str,
        claims: Mapping[str, Any],
        issued: float,
        expiry: float,
        credential: Credential,
        credential_id: str | None = None,
        source: object = None,
    ) -> Sender:
        known = self.directory.note(*self.rules.admit(issuer, claims))
        if self.directory.seen is not None:
            needed, own_keys = self.rules.needed_claims(issuer, claims), known.rule.own_keys
            confirm_again = AGAIN_SECONDS if own_keys is None else own_keys.renew / 2
            self.directory.seen.note(known.person, needed, issued, confirm_again)
        sender = self._known[digest] = Sender(known, expiry, credential, credential_id, source)
        if len(self._known) > MOST_REMEMBERED:
            del self._known[next(iter(self._known))]
        return sender

    def seconds_left(self, headers: Headers, keys: Collection[str]) -> float:
        """Return the seconds until the valid token in a request expires, infinity without one."""
        try:
            sender = self.sender(headers, keys)
        except GatewayError:
            return 0.0
        return math.inf if sender is None else max(0.0, sender.expiry - time.time())

    def sent_rights(self, name: str) -> SentRights | None:
        """Return the rights of the person ``name`` in the current request, ``None`` unless it sent the request."""
        sender = SENDER.get()
        if sender is None or sender.known.name != name:
            return None
        role = "user" if sender.credential == "own key" else sender.known.template.role
        caller = Caller(name, role, sender.known.person.group, sender.credential, sender.credential_id)
        return SentRights(caller, sender.expiry)

    def admit_by_name(self, name: str) -> bool | None:
        """Let a person send the current request without a token, because a URL of the gateway permits it.

        Return whether it may: not if it is blocked. Return ``None`` for names that no person can have. If another
        process made the URL, this one may not know the person, and the URL is the only right that it needs."""
        if not self.rules.is_person_name(name):
            return None
        rights = self._rights()
        if rights is not None and rights.is_blocked(name):
            return False
        known = self.directory.find(name)
        rule = None if known is None else self.rules.present_rule(known.person, known.rule)
        if known is None or rule is None:
            client = ClientKey(f"{name.partition(':')[0]}:*", source="rule")
            person, rule = Person(name, None, name.partition(":")[0], -1), AdmitRule({}, client=client)
        else:
            person = known.person
        SENDER.set(Sender(KnownPerson(person, rule), math.inf, "issuer token"))
        return True

    def owns(self, credential: str) -> bool:
        """Return whether ``credential`` is for this gateway, valid or not, so that no provider may see it."""
        if self._is_made_here(credential):
            return True
        return is_signed_token(credential) and _issuer_in(credential) in self._urls

    # Tables

    def table(
        self, values: Mapping[str, V], make: Callable[[ClientKey], V | None], *, is_own: bool = False
    ) -> PersonTable[V]:
        """Return a ``PersonTable``: ``values`` by client name, to which it adds the values that ``make`` returns."""
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


def open_gate(config: Config, source: ClientSource, before: UnlistedClients | None) -> PeopleGate:
    """Return the people of ``config``, who keep their state of ``before``."""

    def rows() -> FollowedPeople | None:
        return source.rows if isinstance(source.rows, FollowedPeople) else None

    if isinstance(before, PeopleGate):
        return PeopleGate(config, before.issuers, before.directory, rows)
    return PeopleGate(config, IssuerDirectory(config), PeopleDirectory(), rows)


def _session_tokens(config: Config) -> SessionTokens | None:
    """Return the session tokens of ``config``, ``None`` if it cannot sign any."""
    if config.public_url is None or not config.signing_key:
        return None
    return SessionTokens(config.signing_key, config.public_url)


def _bare_token(value: str) -> str:
    """Return the token in the value of a header, which may have the word ``Bearer`` before it."""
    return (value[7:] if value[:7].lower() == "bearer " else value).strip()


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
