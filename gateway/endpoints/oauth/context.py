"""The parts that all handlers of sign-in share, for one configuration."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from gateway.access.same_origin import origin_of_url
from gateway.config.settings import Config
from gateway.endpoints.html import html_page
from gateway.endpoints.oauth import pages
from gateway.endpoints.oauth.errors import PageError
from gateway.endpoints.oauth.sign_in_states import SignInStates
from gateway.exchange.service import Service
from gateway.http.addresses import AddressCounts, counted_name
from gateway.http.headers import Headers
from gateway.http.response import Response
from gateway.people.issuers import IssuerDirectory
from gateway.people.records import readable_text
from gateway.people.sessions import Sessions
from gateway.people.store import PeopleStore
from gateway.serving.fast_route import PiecesRequest
from gateway.stores.store import Unavailable
from streams.errors import GatewayError

WINDOW: Final = 600.0
"""Seconds in which the events of an address are counted."""

MOST_GRANTS: Final = 30
"""Device codes that an address may request in that time."""
MOST_WRONG_CODES: Final = 10
"""Wrong user codes that an address may enter in that time."""
MOST_FAILURES: Final = 30
"""Failed sign-ins of an address in that time."""
MOST_RUNNING: Final = 32
"""Requests of an address that the gateway handles at the same time."""
MOST_FINISHING: Final = 16
"""Sign-ins of an address that the gateway completes at the same time."""

_LONGEST_PROGRAM: Final = 100
_BUSY: Final = "too many simultaneous sign-ins from this address: try again in a few seconds"
_NO_STORE: Final = "this server has no store of people: use `trigate serve`"


class AddressLimit:
    """A limit on events by address, with the message for an address that exceeds it."""

    def __init__(self, most: int, message: str) -> None:
        self._counts = AddressCounts(most, WINDOW)
        self._message = message

    def check(self, address: str | None) -> None:
        """Raise ``GatewayError`` (429) if ``address`` has used all of its events."""
        if wait := self._counts.seconds_to_wait(address):
            raise self._error(wait)

    def count(self, address: str | None) -> None:
        """Count an event of ``address``."""
        self._counts.count(address)

    def take(self, address: str | None) -> None:
        """Count an event of ``address``. Raises ``GatewayError`` (429) for one too many."""
        if wait := self._counts.count(address):
            raise self._error(wait)

    def _error(self, wait: int) -> GatewayError:
        return GatewayError("rate_limited", self._message, headers=(("retry-after", str(wait)),))


def program_of(headers: Headers) -> str:
    """Return the name that a program gives itself, for readers: anyone can send any name."""
    return readable_text(next((value for name, value in headers if name == "user-agent"), ""))[:_LONGEST_PROGRAM]


class AddressSlots:
    """A limit on simultaneous requests by address, because they use the storage or contact an issuer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: Counter[str] = Counter()

    @contextmanager
    def hold(self, address: str | None) -> Iterator[None]:
        """Hold a slot of ``address`` during the block. Raises ``GatewayError`` (429) if none is free."""
        name = counted_name(address or "")
        if self._running[name] >= self._most:
            raise GatewayError("rate_limited", _BUSY, headers=(("retry-after", "5"),))
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]


class SignInLimits:
    """The limits by address of a process, across configurations."""

    def __init__(self) -> None:
        self.grants = AddressLimit(MOST_GRANTS, "too many sign-ins from this address: wait ten minutes")
        self.wrong_codes = AddressLimit(MOST_WRONG_CODES, "too many wrong codes from this address: wait ten minutes")
        self.failures = AddressLimit(MOST_FAILURES, "too many failed sign-ins from this address: wait ten minutes")
        self.running = AddressSlots(MOST_RUNNING)
        self.finishing = AddressSlots(MOST_FINISHING)


_LIMITS: Final[WeakKeyDictionary[IssuerDirectory, SignInLimits]] = WeakKeyDictionary()
"""The limits of each process's issuers, which outlive a configuration: a changed key must not reset them."""


class SignInContext:
    """The parts of ``service`` and ``config`` that handlers of sign-in need."""

    def __init__(self, config: Config, service: Service) -> None:
        assert config.public_url is not None, "sign-in needs it"
        assert service.issuers is not None, "the configuration has issuers"
        self.config = config
        self.issuers = service.issuers
        self.public_url = config.public_url.rstrip("/")
        self.origin = origin_of_url(self.public_url)
        self.place = urlsplit(self.public_url).netloc
        self._store, self._sessions = service.people_store, service.sessions
        self._stored_keys = service.stored_keys
        self.refused = service.admission.refused
        self.login_issuers = tuple(issuer for issuer in config.issuers if issuer.login is not None)
        self.can_issue_tokens = bool(config.signing_key) and service.people_store is not None
        self.has_ui_key = config.ui_key is not None
        self.states = SignInStates(config.signing_key)
        self.audit = service.ledger.audit
        self.limits = _LIMITS.setdefault(service.issuers, SignInLimits())

    @property
    def store(self) -> PeopleStore:
        """The store of people. Raises ``Unavailable`` under a server that has none."""
        if self._store is None:
            raise Unavailable(_NO_STORE)
        return self._store

    @property
    def sessions(self) -> Sessions:
        """The sessions of people. Raises ``Unavailable`` as ``store`` does."""
        if self._sessions is None:
            raise Unavailable(_NO_STORE)
        return self._sessions

    async def end_session(self, person: str, session: str) -> None:
        """End a session of a person: immediately in this process, and soon in all others."""
        await self.sessions.end(person, session)
        if self._stored_keys is not None:
            await self._stored_keys.apply_changes()

    def error_page(self, error: PageError) -> Response:
        """Return the page that explains ``error``, with links to try again or to use the operator's key."""
        retry = None if error.retry is None else pages.login_link(error.retry)
        content = pages.failure(error.message, retry, issuer_logout=error.issuer_logout, with_key=self.has_ui_key)
        return html_page(error.title, content, self.place, error.status)

    def log_event(self, event: str, incoming: PiecesRequest, **fields: Any) -> None:
        """Log the act of a person for the audit, with the sender's address and path."""
        self.audit.log_event(event, address=incoming.scope.address, path=incoming.asgi["path"], **fields)

    def log_refusal(self, event: str, incoming: PiecesRequest, **fields: Any) -> None:
        """Log an event that anyone can cause, a limited number of times in a minute."""
        self.audit.log_limited(event, incoming.scope.address, path=incoming.asgi["path"], **fields)
