"""A request of a page, from its caller to the page, the redirect after a form, or the error."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from configfile.keys import value_of
from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.admin.interface import AdminAnswer, identify_caller
from gateway.features.page_paths import ACCOUNT, LIVE, WITH_KEY
from gateway.features.people.console.api_calls import ApiRequest, PageCall, ReadRefused, with_name
from gateway.features.people.console.form_values import request_body
from gateway.features.people.console.parts import PARTS, problem_of
from gateway.features.people.console.paths import KEYS, STYLE, USAGE
from gateway.features.people.console.table import PAGES, ConsolePage, FormAction, action_of
from gateway.features.people.html import PRIVATE_PAGE, Html, PageServer, html_page, redirect, style_response
from gateway.features.people.interface import signed_in_callers
from gateway.features.people.oauth.forms import Form, parse_query, read_form
from gateway.features.people.own_pages import check_own_page
from gateway.http.headers import Headers
from gateway.http.pages import as_bearer
from gateway.http.response import Response
from gateway.serving.incoming_request import PiecesRequest
from gateway.viewing.callers import OPERATOR
from gateway.viewing.visitors import page_refusal
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo

if TYPE_CHECKING:
    from gateway.features.people.oauth.browser import SignedInCallers

_CHALLENGE: Final = ("www-authenticate", 'Basic realm="trigate", charset="UTF-8"')
_ENDED: Final = "your session has ended: sign in again, then repeat the change"
_NOT_HERE: Final = (
    "this change must come from the gateway's own page, opened with https or on this machine: open the page again, or "
    "use the HTTP API"
)
_console_page: Final = partial(html_page, style=STYLE, own_forms=True)


class ConsoleServer(PageServer):
    """The pages for one configuration."""

    def __init__(self, config: Config, service: Service) -> None:
        self._config = config
        self._service = service
        self._signed_in = signed_in_callers(config, service)

    async def respond(self, incoming: PiecesRequest) -> Response:
        method, path = incoming.asgi["method"], incoming.asgi["path"]
        page = next((one for one in PAGES if one.path == path), None)
        allowed = ("GET", "HEAD") if page is None else ("GET", "HEAD", "POST")
        if method not in allowed:
            listed = ", ".join(allowed)
            raise GatewayError("invalid_request", f"use {listed}", status=405, headers=(("allow", listed),))
        if page is None:
            return style_response("gateway.features.people.console")
        if method == "POST":
            self._check_origin(incoming)
        call = await self._call(incoming)
        if isinstance(call, Response):
            return call
        return await self._show(call, page) if method != "POST" else await self._change(call, page, incoming)

    def _check_origin(self, incoming: PiecesRequest) -> None:
        """Raise ``GatewayError`` (403) unless the gateway's own page sent the form.

        Browsers add cookies and remembered passwords to forms of other sites too."""
        if self._config.public_url is None:
            check_own_page(incoming, "", self._service.ledger.audit, _NOT_HERE)
        else:
            check_own_page(incoming, self._config.external.origin, self._service.ledger.audit)

    # The caller

    async def _call(self, incoming: PiecesRequest) -> PageCall | Response:
        """Return the call of the request's sender, or the response that lets the sender sign in."""
        query, path = parse_query(incoming.query), incoming.asgi["path"]
        headers = tuple(as_bearer(name, value) for name, value in incoming.headers)
        request = ApiRequest(incoming, headers, incoming.asgi["method"], path)
        if not self._config.pages_ask_for_key:  # the guard of pages admits only this machine
            caller = OPERATOR
        elif self._signed_in is None or self._signed_in.sends_key(headers):
            caller = await self._identify(request)
        elif (found := await self._signed_in.caller(request)) is not None:
            caller = found
        elif incoming.query == WITH_KEY:
            caller = await self._identify(request)
        else:
            return await self._send_to_sign_in(self._signed_in, incoming)
        credentials = tuple(header for header in headers if header[0] == "authorization")
        return PageCall(self._config, self._service, incoming, caller, credentials, path, query)

    async def _identify(self, request: ApiRequest) -> Caller:
        """Return the holder of a key. Raises ``GatewayError`` (401 with a request for the key)."""
        try:
            return await identify_caller(self._config, self._service, request)
        except GatewayError as error:
            info = error.info
            if info.status != 401:
                raise
            headers = tuple(header for header in info.headers if header[0].lower() != "www-authenticate")
            raise GatewayError("authentication", page_refusal(error), headers=(*headers, _CHALLENGE)) from None

    async def _send_to_sign_in(self, signed_in: "SignedInCallers", incoming: PiecesRequest) -> Response:
        """Return the redirect to the sign-in, which returns to the page.

        A form gets a page with a link: its fields would be lost, and ``form-action`` permits no redirect to an issuer.
        """
        path = f"{incoming.asgi['path']}?{incoming.query}".removesuffix("?")
        is_form = bool(incoming.query) and dict(incoming.headers).get("sec-fetch-site") == "same-origin"
        if is_form or incoming.asgi["method"] == "POST":
            content = PARTS.failure(_ENDED, path, "Sign in", is_button=True)
            return _console_page("Session ended", content, self._config.external, 401)
        return await signed_in.send_to_sign_in(incoming.headers, path)

    # Pages

    async def _show(self, call: PageCall, page: ConsolePage, failed: AdminAnswer | None = None) -> Response:
        """Return a page. After a ``failed`` form it has the error and the typed values."""
        sections = page.sections_for(call)[: 1 if "name" in call.query else None]  # the page of one object
        # Without a section, the API explains the refusal in the first one.
        shown = [section.show for section in sections or page.sections[:1]]
        contents, status, headers = [], 200, _retry_after(failed)
        if failed is not None:
            status = failed.status
        for number, show in enumerate(shown):
            try:
                content = await show(call)
            except ReadRefused as refused:
                if number == 0 and failed is None:
                    status, headers = refused.answer.status, _retry_after(refused.answer)
                content = problem_of(refused.answer)
            if isinstance(content, AdminAnswer):
                return Response(content.status, (*content.headers, *PRIVATE_PAGE), (content.text or "").encode())
            contents.append(content)
        message = problem_of(failed) if failed is not None else _done_message(call, page)
        return self._page(call, page.title, Html("\n").join((message, *contents)), status, headers)

    def _page(self, call: PageCall, title: str, content: Html, status: int = 200, headers: Headers = ()) -> Response:
        return _console_page(title, content, self._config.external, status, headers, nav=_nav(call))

    def refuse(self, incoming: PiecesRequest, error: ErrorInfo) -> Response:
        """Return the page of an error without a known caller."""
        first, name = (LIVE, "Live view") if value_of(self._config, "ui") else (ACCOUNT, "Account")
        content = PARTS.failure(error.message, first, name)
        return _console_page("That did not work", content, self._config.external, error.status, error.headers)

    # Forms

    async def _change(self, call: PageCall, page: ConsolePage, incoming: PiecesRequest) -> Response:
        """Send the API's request of a form, and return the redirect to its page, or the page with a new key."""
        form = await read_form(incoming)
        action = action_of(page.path, form.get("action", ""))
        if action is None:
            raise invalid("the page has no such form: open it again")
        name = form.get("name", "").strip()
        query = {"name": name} if action.is_of_one and name else {}
        failing = PageCall(
            self._config, self._service, incoming, call.caller, call.credentials, page.path, query, form
        )  # fmt: skip
        answer = await _send(call, action, name, form)
        if answer.status >= 400:
            return await self._show(failing, page, answer)
        if isinstance(answer.value, Mapping) and "key" in answer.value:
            done, key = action.done.replace("{}", name), str(answer.value["key"])
            return self._page(call, "New key", PARTS.new_key(done, key, KEYS))
        stays = {"name": name} if action.is_of_one and action.verb == "PUT" else {}
        told = {"done": action.name, "of": name} if "{}" in action.done else {"done": action.name}
        return redirect(f"{page.path}?{urlencode({**stays, **told})}")


async def _send(call: PageCall, action: FormAction, name: str, form: Form) -> AdminAnswer:
    """Return the API's response to the request of a form. Raises ``GatewayError`` (400) without a name."""
    if not name:
        raise invalid("enter a name", "name")
    path, headers = with_name(action.target, name), _conditions(action, form)
    settings: Mapping[str, Any] = {}
    if action.name == "change_key" and call.may(action.verb, action.target):
        present = await call.send("GET", path)
        if present.status != 200:
            return present
        settings = present.value.get("settings", {})
    body = request_body(form, action.fields, settings) if action.fields else None
    return await call.send(action.verb, path, body, headers=headers)


def _conditions(action: FormAction, form: Form) -> Headers:
    if action.condition == "new":
        return (("if-none-match", "*"),)
    if action.condition == "version":
        return (("if-match", form.get("version", "")),)
    return ()


def _retry_after(answer: AdminAnswer | None) -> Headers:
    """Return the ``retry-after`` header of the API's response, if it has one."""
    return () if answer is None else tuple(header for header in answer.headers if header[0] == "retry-after")


def _done_message(call: PageCall, page: ConsolePage) -> Html:
    """Return the sentence about the form that led to this page. A link on another site's page shows none."""
    site = next((value for name, value in call.incoming.headers if name == "sec-fetch-site"), "same-origin")
    action = action_of(page.path, call.query.get("done", ""))
    if action is None or site != "same-origin":
        return Html("")
    return PARTS.notice(action.done.replace("{}", call.query.get("of", "")[:200]))


def _nav(call: PageCall) -> Html:
    """Return the links to the pages that have something for the caller."""
    pages = [page for page in PAGES if page.sections_for(call) and (page.path == USAGE or not call.is_local)]
    links = [(LIVE, "Live view", False)] if value_of(call.config, "ui") else []
    links += [(page.path, page.title, page.path == call.path) for page in pages]
    if call.caller.credential == "session":
        links.append(("/oauth/logout", "Sign out", False))
    who = ("you", "on this machine") if call.is_local else (call.caller.name or "operator", call.caller.role)
    return PARTS.navigation(links, *who)
