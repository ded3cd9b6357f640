"""The parts that all handlers of sign-in share, for one configuration."""

from typing import Any, Final
from weakref import WeakKeyDictionary

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.admin.interface import admin_of
from gateway.features.people.html import html_page
from gateway.features.people.issuers import IssuerDirectory
from gateway.features.people.oauth.address_limits import SignInLimits
from gateway.features.people.oauth.errors import PageError
from gateway.features.people.oauth.pages import PAGES, login_link
from gateway.features.people.oauth.sign_in_states import SignInStates
from gateway.features.people.opening import people_of
from gateway.features.people.records import readable_text
from gateway.features.people.sessions import Sessions
from gateway.features.people.settings import issuers_of
from gateway.features.people.store import PeopleStore
from gateway.http.headers import Headers
from gateway.http.response import Response
from gateway.serving.incoming_request import PiecesRequest
from gateway.stores.errors import Unavailable

_LONGEST_PROGRAM: Final = 100
_NO_STORE: Final = "this server has no store of people: use `trigate serve`"


def program_of(headers: Headers) -> str:
    """Return the name that a program gives itself, for readers: anyone can send any name."""
    return readable_text(next((value for name, value in headers if name == "user-agent"), ""))[:_LONGEST_PROGRAM]


_LIMITS: Final[WeakKeyDictionary[IssuerDirectory, SignInLimits]] = WeakKeyDictionary()
"""The limits of each process's issuers, which outlive a configuration: a changed key must not reset them."""


class SignInContext:
    """The parts of ``service`` and ``config`` that handlers of sign-in need."""

    def __init__(self, config: Config, service: Service) -> None:
        assert config.public_url is not None, "sign-in needs it"
        people, admin = people_of(service.opened.features), admin_of(service.opened.features)
        assert people is not None and admin is not None, "the configuration has issuers"  # noqa: PT018
        self.config = config
        self.issuers = people.issuers
        self.external = config.external
        self._store, self._sessions = people.store, people.sessions
        self._stored_keys = admin.keys
        self.refused = service.admission.refused
        self.login_issuers = tuple(issuer for issuer in issuers_of(config) if issuer.login is not None)
        self.has_ui_key = config.ui_key is not None
        self.states = SignInStates(config.signing_key)
        self.audit = service.ledger.audit
        self.counters = service.allowances.counters
        self.limits = _LIMITS.setdefault(people.issuers, SignInLimits())

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
            await self._stored_keys.apply_other_changes()

    def error_page(self, error: PageError) -> Response:
        """Return the page that explains ``error``, with links to try again or to use the operator's key."""
        retry = None if error.retry is None else login_link(error.retry)
        content = PAGES.failure(error.message, retry, issuer_logout=error.issuer_logout, offers_key=self.has_ui_key)
        return html_page(error.title, content, self.external, error.status)

    def log_event(self, event: str, incoming: PiecesRequest, **fields: Any) -> None:
        """Log the act of a person for the audit, with the sender's address and path."""
        self.audit.log_event(event, address=incoming.scope.address, path=incoming.asgi["path"], **fields)

    def log_refusal(self, event: str, incoming: PiecesRequest, **fields: Any) -> None:
        """Log an event that anyone can cause, a limited number of times in a minute."""
        self.audit.log_limited(event, incoming.scope.address, path=incoming.asgi["path"], **fields)
