"""The caller that a browser's cookie identifies, on every path where cookies count."""

from typing import Final

from gateway.access.authentication import OWN_HEADER
from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.people.directory import SENDER, Sender
from gateway.features.people.oauth.cookies import SESSION, read_cookie
from gateway.features.people.opening import people_of
from gateway.features.people.own_pages import check_own_page
from gateway.features.people.sessions import OpenSession
from gateway.features.people.settings import issuers_of
from gateway.http.headers import PLAIN_KEYS, Headers
from gateway.serving.incoming_request import IncomingRequest

_CHANGES_NOTHING: Final = frozenset(("GET", "HEAD"))

COOKIE_PATHS: Final = ("/ui", "/me", "/admin", "/device", "/oauth")
"""The paths on which a cookie counts, with everything below them. All others are for programs, which send a key."""


async def cookie_caller(config: Config, service: Service, incoming: IncomingRequest) -> Caller | None:
    """Return the person whose browser sent the request, with the rights that the rules give it now.

    Return ``None`` without a cookie, if its session has ended, for requests with a key or token, and outside
    ``COOKIE_PATHS``. A request that changes something must come from the gateway's own page. Raises ``GatewayError``
    (403, ``page_refused``) and ``Unavailable``."""
    path: str = incoming.asgi["path"]
    if not any(path == one or path.startswith(f"{one}/") for one in COOKIE_PATHS):
        return None
    cookie = read_cookie(incoming.headers, SESSION, config.external.path)
    people = people_of(service.opened.features)
    sessions = None if people is None else people.sessions
    if cookie is None or sessions is None or config.public_url is None or has_key(config, incoming.headers):
        return None
    if incoming.asgi["method"] not in _CHANGES_NOTHING:
        check_own_page(incoming, config.external.origin, service.ledger.audit)
    found = await sessions.browser_session(cookie)
    if found is None:
        return None
    _note_sender(config, service, found)
    person = found.person
    return Caller(person.name, person.role, person.group, "session", found.session.id)


def _note_sender(config: Config, service: Service, session: OpenSession) -> None:
    """Make the person of a session the sender of the current request, with the rights of its rule.

    This process may not know the person: another one signed it in."""
    person = session.person
    rules = next((issuer.admit for issuer in issuers_of(config) if issuer.name == person.issuer), ())
    if (people := people_of(service.opened.features)) is not None and person.rule < len(rules):
        known = people.gate.directory.note(person, rules[person.rule])
        SENDER.set(Sender(known, session.session.until, "session", session.session.id))


def has_key(config: Config, headers: Headers) -> bool:
    """Return whether a request has a key or a token."""
    names = {"authorization", OWN_HEADER, *PLAIN_KEYS, *(issuer.header for issuer in issuers_of(config))}
    return any(name in names for name, _ in headers)


def shown_name(session: OpenSession) -> str:
    """Return the person's name for a page that only the person sees."""
    return session.person.label or session.person.name
