"""Requests to the HTTP API that a page sends for its caller. They are handled in this process, without a connection."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

import attrs
import msgspec

from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.admin.interface import ROUTES, AdminAnswer, AdminRoute, perform
from gateway.features.people.api.part import PART
from gateway.http.headers import Headers
from gateway.serving.incoming_request import CountArrived, IncomingRequest

if TYPE_CHECKING:
    from gateway.http.request_scope import RequestScope


class ApiRequest:
    """An ``IncomingRequest`` with other ``headers``, for example to the API for the sender of a page's request."""

    def __init__(
        self, incoming: IncomingRequest, headers: Headers, verb: str, path: str, query: str = "", body: Any = None
    ) -> None:
        self.scope: RequestScope = incoming.scope
        self.headers: tuple[tuple[str, str], ...] = tuple(headers)
        self.query = query
        changed = {"method": verb, "path": unquote(path), "raw_path": path.encode()}
        self.asgi = {**incoming.asgi, **changed}
        self._body = b"" if body is None else msgspec.json.encode(body)

    async def read(self, count_arrived: CountArrived) -> bytes:
        count_arrived(len(self._body))
        return self._body

    def take_arrived(self, max_bytes: int) -> bytes:
        return self._body if len(self._body) <= max_bytes else b""


class ReadRefused(Exception):
    """The API's refusal to let a page read something. ``answer`` is its response."""

    def __init__(self, answer: AdminAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@attrs.frozen(eq=False, repr=False)
class PageCall:
    """A request of a page: its ``caller`` with the header ``credentials``, its ``query``, and the fields of a rejected
    ``form``."""

    config: Config
    service: Service
    incoming: IncomingRequest
    caller: Caller
    credentials: Headers
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether the gateway has no clients with keys: the caller is anyone on this machine."""
        return not self.config.pages_ask_for_key

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> AdminAnswer:
        """Return the API's response to GET on ``path``. Raises ``ReadRefused`` unless its status is 200."""
        answer = await self.send("GET", path, query=query)
        if answer.status != 200:
            raise ReadRefused(answer)
        return answer

    async def send(
        self, verb: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, headers: Headers = ()
    ) -> AdminAnswer:
        """Return the API's response to a request on ``path``, whose names are encoded."""
        request = ApiRequest(self.incoming, (*self.credentials, *headers), verb, path, urlencode(query or {}), body)
        return await perform(self.config, self.service, request, self.caller)

    def query_of(self, *names: str) -> dict[str, str]:
        """Return the parameters ``names`` of the page that have a value."""
        return {name: self.query[name] for name in names if self.query.get(name)}

    def has_failed(self, action: str) -> bool:
        """Return whether the API rejected this form."""
        return self.form.get("action") == action

    def field_value(self, action: str, name: str, default: str = "") -> str:
        """Return the value of a field for a form: the one that a person typed, if the API rejected it."""
        return self.form.get(name, default) if self.has_failed(action) else default

    def may(self, verb: str, path: str) -> bool:
        """Return whether the API's table permits a request, so that the page shows its form. The API decides."""
        return self.permits(route_of(verb, path))

    def permits(self, route: AdminRoute) -> bool:
        is_person = self.config.is_rule_name(self.caller.name or "")
        return self.caller.role in route.roles and (is_person or not route.of_person)


def route_of(verb: str, path: str) -> AdminRoute:
    return next(route for route in (*ROUTES, *PART.routes) if (route.verb, route.path) == (verb, path))


def with_name(path: str, name: str) -> str:
    """Return the path of a route with the encoded ``name`` in place of its variable."""
    before, _, rest = path.partition("{")
    return before + quote(name, safe="") + rest.partition("}")[2]
