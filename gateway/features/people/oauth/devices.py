"""The device flow (RFC 8628): a program gets a code, and a person approves it in a browser.

The page never approves by a link alone. A person confirms the code on a form, signs in, and approves on a second form
that shows the program and its address; both forms come from the gateway's own page."""

import re
import secrets
import time
from typing import Final
from urllib.parse import urlencode

from gateway.features.people.html import Html, html_page
from gateway.features.people.oauth.browser import BrowserSignIn, browser_of
from gateway.features.people.oauth.browser_sessions import shown_name
from gateway.features.people.oauth.context import SignInContext, program_of
from gateway.features.people.oauth.cookies import read_sign_in_cookies
from gateway.features.people.oauth.errors import json_response
from gateway.features.people.oauth.forms import parse_query, read_form
from gateway.features.people.oauth.pages import PAGES
from gateway.features.people.oauth.paths import DEVICE
from gateway.features.people.own_pages import is_from_other_site
from gateway.features.people.records import DeviceGrant, digest_of
from gateway.features.people.sessions import OpenSession
from gateway.http.headers import Headers
from gateway.http.response import Response
from gateway.serving.incoming_request import PiecesRequest
from gateway.stores.errors import Unavailable

LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""20 consonants: no words, and no letters that look like digits. Eight of them are 25.6 thousand million codes."""

_LENGTH: Final = 8
_SEPARATORS: Final = re.compile(r"[\s._-]+")


def new_user_code() -> str:
    """Return a code for people, such as ``WDJB-MJHT``."""
    return _spell("".join(secrets.choice(LETTERS) for _ in range(_LENGTH)))


def read_user_code(text: str) -> str | None:
    """Return the code that a person typed, in any case and with any separators; ``None`` if it cannot be one."""
    letters = _SEPARATORS.sub("", text[:50]).upper()
    return _spell(letters) if len(letters) == _LENGTH and set(letters) <= set(LETTERS) else None


def _spell(letters: str) -> str:
    return f"{letters[:4]}-{letters[4:]}"


LIFETIME: Final = 600
"""Seconds in which a code must be approved and redeemed."""
INTERVAL: Final = 5
"""Seconds between two polls of a program."""

_TRIES: Final = 5
_WRONG: Final = "This code is wrong or has expired. Compare it with the one that your program shows."
_DECIDED: Final = "This code was used already. Start the sign-in in your program again."


class DeviceSignIn:
    """The device flow for one configuration. ``browser`` signs people in."""

    def __init__(self, context: SignInContext, browser: BrowserSignIn) -> None:
        self._context = context
        self._browser = browser

    async def authorize(self, incoming: PiecesRequest) -> Response:
        """Return a new code for a program. Anyone may request one; it grants nothing until a person approves it."""
        await self._context.limits.grants.take(self._context.counters, incoming.scope.address)
        await read_form(incoming)  # `client_id` and `scope` are permitted, and change nothing
        now = time.time()
        device_code, user_code = await self._store_grant(incoming, now)
        page = self._context.external.url + DEVICE
        answer = {
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?{urlencode({'user_code': user_code})}",
            "expires_in": LIFETIME,
            "interval": INTERVAL,
        }
        return json_response(answer)

    async def _store_grant(self, incoming: PiecesRequest, now: float) -> tuple[str, str]:
        """Store a grant with codes that no other grant has, and return both."""
        program, address = program_of(incoming.headers), incoming.scope.address or ""
        for _ in range(_TRIES):
            device_code, user_code = secrets.token_urlsafe(32), new_user_code()
            grant = DeviceGrant(
                digest_of(device_code), digest_of(user_code), program, address, began=now, until=now + LIFETIME
            )
            if await self._context.store.add_grant(grant):
                return device_code, user_code
        raise Unavailable("no free user code was found")

    # The page

    async def show(self, incoming: PiecesRequest) -> Response:
        """Show the form for a code. After the sign-in that began there, show the question for approval.

        The code of a link on another site's page is shown, but not looked up before the person continues: such a page
        could enter wrong codes, which count."""
        query = parse_query(incoming.query)
        text = query.get("user_code", "")
        if not text:
            return self._page("Sign in a program", PAGES.code_form())
        is_confirmed = self._has_confirmed(incoming.headers, text, query.get("confirmed", ""))
        if not is_confirmed and is_from_other_site(incoming.headers):
            return self._page("Sign in a program", PAGES.code_form(text[:20]))
        found = await self._find(incoming, text)
        if found is None:
            return self._wrong_code(text)
        user_code, grant = found
        if is_confirmed:
            session = await self._browser.session(incoming.headers)
            if session is not None:
                return self._page("Approve the sign-in?", PAGES.approval(user_code, grant, shown_name(session)))
        return self._page("Sign in a program", PAGES.code_form(user_code, grant=grant))

    def _has_confirmed(self, headers: Headers, text: str, proof: str) -> bool:
        """Return whether ``proof`` shows that this browser confirmed the code in ``text`` on the gateway's page."""
        user_code = read_user_code(text)
        browsers = read_sign_in_cookies(headers, self._context.external.path)
        return user_code is not None and self._context.states.has_confirmed(browsers, user_code, proof)

    async def decide(self, incoming: PiecesRequest) -> Response:
        """Handle both forms: the code, and the decision of the person who is signed in."""
        form = await read_form(incoming)
        text = form.get("user_code", "")
        found = await self._find(incoming, text)
        if found is None:
            return self._wrong_code(text)
        user_code, grant = found
        session = await self._browser.session(incoming.headers)
        if session is None:
            return await self._sign_in(incoming.headers, user_code)
        if form.get("decision") not in ("approve", "deny"):
            return self._page("Approve the sign-in?", PAGES.approval(user_code, grant, shown_name(session)))
        return await self._decide(incoming, user_code, session, approved=form["decision"] == "approve")

    async def _sign_in(self, headers: Headers, user_code: str) -> Response:
        """Send the browser to an issuer, to return to the question for approval."""
        browser = browser_of(headers, self._context.external.path)
        proof = self._context.states.confirmation(browser, user_code)
        path = f"{DEVICE}?{urlencode({'user_code': user_code, 'confirmed': proof})}"
        return await self._browser.begin(browser, path)

    async def _decide(
        self, incoming: PiecesRequest, user_code: str, session: OpenSession, *, approved: bool
    ) -> Response:
        """Store the decision of a person."""
        chosen = session.session if approved else None
        if not await self._context.store.decide_grant(digest_of(user_code), chosen, time.time()):
            return self._page("Sign in a program", PAGES.code_form(problem=_DECIDED), 400)
        event = "device_approved" if approved else "device_denied"
        self._context.log_event(event, incoming, client=session.person.name)
        if approved:
            return self._page("Approved", PAGES.approved())
        return self._page("Denied", PAGES.denied())

    async def _find(self, incoming: PiecesRequest, text: str) -> tuple[str, DeviceGrant] | None:
        """Return the pending grant of the code in ``text``, and the code. Count a wrong one.

        Raises ``GatewayError`` (429)."""
        context = self._context
        async with context.limits.wrong_codes.attempt(context.counters, incoming.scope.address) as attempt:
            user_code = read_user_code(text)
            grant = None if user_code is None else await context.store.find_grant(digest_of(user_code))
            if user_code is None or grant is None or grant.status != "pending" or grant.until <= time.time():
                attempt.counts = True
                context.log_refusal("code_refused", incoming)
                return None
            return user_code, grant

    def _wrong_code(self, text: str) -> Response:
        return self._page("Sign in a program", PAGES.code_form(text[:20], _WRONG), 400)

    def _page(self, title: str, content: Html, status: int = 200) -> Response:
        return html_page(title, content, self._context.external, status)
