"""A request of the HTTP API: its caller, its route, its handler, and its line in the audit."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from configfile.wording import nearest
from gateway.allowances.call_rates import count_call
from gateway.config.settings import Config
from gateway.endpoints.plain_answers import PRIVATE
from gateway.exchange.service import Service
from gateway.features.admin.callers import identify_caller
from gateway.features.admin.calls import AdminAnswer, AdminCall, additions_in, in_thread
from gateway.features.admin.errors import conflict, error_value, not_found, not_permitted
from gateway.features.admin.table import ROLES, ROUTES, AdminRoute, matches_of, verbs_of
from gateway.http.headers import Headers
from gateway.http.offload import CLIENT
from gateway.http.paths import shorten_path
from gateway.http.response import JSON_HEADERS, Response
from gateway.named_imports import import_named
from gateway.serving.incoming_request import IncomingRequest
from gateway.stores.errors import Changed, InDoubt, StoreFull, Unavailable
from gateway.viewing.callers import counted_name
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo

if TYPE_CHECKING:
    from gateway.config.unlisted import Caller

log = logging.getLogger("trigate.admin")

_WAIT: Final = (("retry-after", "1"),)
_NO_PERSON: Final = (
    "only people have keys and sessions of their own: the keys of a client are in the file or the storage"
)
_ROLE_NEEDED: Final = (
    "this needs the role {}, and yours is {}: set `role` of the client key or of the issuer's rule in the "
    "configuration file"
)
_OPEN: Final = "this gateway has no client_keys, so it has no callers with rights: add client keys with a `role`"
_OTHER_SITE: Final = "web pages of other sites may not use this path, whatever `cors` permits: send it from a program"
_IN_DOUBT: Final = "it is unknown whether the change was made: {}; read the object before you repeat the request"
_MISTAKE: Final = "the gateway failed because of a bug; its log has the details"


async def answer(config: Config, service: Service, incoming: IncomingRequest) -> Response:
    """Answer a request. Never raises, except for cancellation."""
    return await _response(await perform(config, service, incoming), incoming)


async def perform(
    config: Config, service: Service, incoming: IncomingRequest, caller: "Caller | None" = None
) -> AdminAnswer:
    """Return the result of a request, with its line in the audit. Never raises, except for cancellation.

    A page passes the ``caller`` that it has identified; all other checks are the same."""
    request = _Request(config, service, incoming, caller)
    try:
        result = await request.handle()
    except GatewayError as error:
        result = _error_answer(error.info, incoming)
    except Changed:
        result = _error_answer(
            conflict("another caller changed it at the same time: repeat the request").info, incoming
        )
    except StoreFull as error:
        result = _error_answer(conflict(str(error), "too_many").info, incoming)
    except Unavailable as error:
        info = ErrorInfo("overloaded", f"nothing has changed: {error}", headers=_WAIT)
        if isinstance(error, InDoubt):
            info = ErrorInfo("overloaded", _IN_DOUBT.format(error), code="in_doubt", headers=_WAIT)
        result = _error_answer(info, incoming)
    except Exception:  # the boundary: a bug must not end the connection
        log.exception("request %s: unexpected error", incoming.scope.id)
        result = _error_answer(ErrorInfo("internal", _MISTAKE), incoming)
    request.log_audit(result.status)
    return result


class _Request:
    """The steps of one request."""

    def __init__(
        self, config: Config, service: Service, incoming: IncomingRequest, caller: "Caller | None" = None
    ) -> None:
        self._config = config
        self._service = service
        self._incoming = incoming
        self._caller: Caller | None = caller
        self._method: str = incoming.asgi["method"]
        self._steps = path_steps(incoming.asgi)
        routes = [route for part in additions_in(service) for route in part.routes]
        self._matches = matches_of(self._steps, (*ROUTES, *routes))

    async def handle(self) -> AdminAnswer:
        """Return the response. Raises ``GatewayError``, ``Changed`` and ``Unavailable``."""
        self._check_page()
        caller = self._caller or await identify_caller(self._config, self._service, self._incoming)
        self._caller = caller
        CLIENT.set(caller.name or caller.credential)
        counters, name = self._service.allowances.counters, counted_name(caller)
        verb = "GET" if self._method == "HEAD" else self._method
        match = next((one for one in self._matches if one.route.verb == verb), None)
        changes = match is not None and match.route.changes
        await count_call(counters, name, "changes" if changes else "reads")
        if match is None:
            raise self._no_route()
        route = match.route
        if caller.name is None and caller.credential != "operator" and route.path != "/me":
            raise GatewayError("authentication", _OPEN)
        if caller.role not in route.roles:
            needed = " or ".join(role for role in ROLES if role in route.roles)
            raise not_permitted(_ROLE_NEEDED.format(needed, caller.role), "role_needed")
        if route.of_person and not self._config.is_rule_name(caller.name or ""):
            raise not_permitted(_NO_PERSON, "no_person")
        call = AdminCall(
            self._config, self._service, caller, route, match.names,
            read_query(self._incoming.query, route.parameters), self._incoming,
        )  # fmt: skip
        result: AdminAnswer = await _handler(route)(call)
        return result

    def _check_page(self) -> None:
        """Raise ``GatewayError`` (403) for a request of another site's page: ``cors`` opens none of these paths."""
        headers, scope = dict(self._incoming.headers), self._incoming.scope
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            path, audit = self._incoming.asgi["path"], self._service.ledger.audit
            audit.log_limited("page_refused", scope.address, path=path, origin=headers.get("origin"))
            raise not_permitted(_OTHER_SITE, "page_refused")

    def _no_route(self) -> GatewayError:
        """Return the error (404, 405) for a path or method that is not in the table."""
        path = self._incoming.asgi["path"]
        if not self._matches:
            return not_found(advice_for(path) or f"there is no {self._method} {shorten_path(path)}", "unknown_path")
        allowed = ", ".join(verbs_of(self._matches))
        message = f"{self._method} is not allowed on {shorten_path(path)}; use {allowed}"
        return GatewayError("invalid_request", message, status=405, headers=(("allow", allowed),))

    def log_audit(self, status: int) -> None:
        """Write the request's line to the audit, if its caller is known and the path is audited."""
        if self._caller is None or (self._steps[:1] == ("me",) and self._method in ("GET", "HEAD")):
            return
        caller, scope = self._caller, self._incoming.scope
        audit = self._service.ledger.audit
        fields = {
            "client": caller.name, "role": caller.role, "by": caller.credential, "credential": caller.credential_id,
            "method": self._method, "path": self._incoming.asgi["path"], "status": status, "request": scope.id,
        }  # fmt: skip
        if status == 429:
            audit.log_limited("admin_request", scope.address, **fields)
        else:
            audit.log_event("admin_request", address=scope.address, **fields)


def _handler(route: AdminRoute) -> Any:
    """Return the function that handles a route; its module is imported."""
    module, _, function = route.handler.partition(".")
    return import_named(f"{route.package}.{module}:{function}")


def path_steps(asgi: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the decoded parts of a request's path between slashes; an encoded slash is part of a name.

    A path that is not UTF-8, or has a NUL, has no parts, so it is unknown."""
    raw: bytes = asgi.get("raw_path") or b""
    text = raw.partition(b"?")[0].decode("latin-1")
    if "\0" in asgi["path"]:  # no name has one, and PostgreSQL accepts none in texts
        return ()
    if not text.startswith("/"):  # in absolute form
        return tuple(filter(None, asgi["path"].split("/")))
    try:
        return tuple(unquote(step, errors="strict") for step in text.split("/") if step)
    except UnicodeDecodeError:
        return ()


def read_query(query: str, known: Sequence[str]) -> dict[str, str]:
    """Return the parameters of a query. Raises ``GatewayError`` (400) for unknown and repeated ones."""
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise invalid("the query cannot be read", code="invalid_query") from None
    for name, value in pairs:
        if name not in known:
            near = nearest(name[:100], known)
            advice = f"did you mean {near}?" if near else f"the parameters are {', '.join(known) or 'none'}"
            raise invalid(f"unknown parameter {name[:100]}; {advice}", name[:100], code="unknown_parameter")
        if name in found:
            raise invalid(f"the parameter {name} occurs twice: send it once", name)
        if "\0" in value:
            raise invalid(f"the parameter {name} has a NUL character, which no value has: remove it", name)
        found[name] = value
    return found


def _error_answer(info: ErrorInfo, incoming: IncomingRequest) -> AdminAnswer:
    wait = _WAIT if info.status == 503 and "retry-after" not in dict(info.headers) else ()
    return AdminAnswer(error_value(info, incoming.scope.id), info.status, (*info.headers, *wait))


async def _response(result: AdminAnswer, incoming: IncomingRequest) -> Response:
    tag = (("etag", result.tag),) if result.tag else ()
    headers: Headers = (*result.headers, *tag, *_OWN, ("x-request-id", incoming.scope.id))
    if result.status == 204:
        return Response(204, headers)
    if result.text is not None:
        return Response(result.status, headers, result.text.encode())
    rows = result.value.get("data") if isinstance(result.value, dict) else None
    encode = partial(msgspec.json.encode, result.value)
    body = await in_thread(encode) if isinstance(rows, list) and len(rows) > _MANY else encode()
    return Response(result.status, (*JSON_HEADERS, *headers), body)


_MANY: Final = 50
"""Rows that are encoded in the event loop; more are encoded in a thread."""

_OWN: Final[Headers] = (*PRIVATE, ("cross-origin-resource-policy", "same-origin"))


_ADVICE: Final[Mapping[str, str]] = {
    "/team": "groups are `client_groups` in the configuration's file; GET /admin/v1/groups lists them",
    "/user": "people come from `issuers` in the configuration's file; GET /admin/v1/people lists them",
    "/budget": "budgets are `budgets` of a client key or group in the configuration's file; PUT /admin/v1/keys/NAME "
    "sets those of a stored key, and PUT /admin/v1/raises/HOLDER raises one until a time",
    "/model": "models are `model_providers` in the configuration's file; GET /v1/models lists them",
    "/spend": "use GET /admin/v1/usage, or trigate costs",
    "/key": "keys are at /admin/v1/keys; of LiteLLM's paths, /key/generate, /key/info, /key/list, /key/update and "
    "/key/delete exist",
}


def advice_for(path: str) -> str | None:
    """Return the advice for a LiteLLM path, ``None`` for others."""
    prefix = f"/{path.strip('/').partition('/')[0]}"
    return None if prefix not in _ADVICE else f"trigate has no {path[:100]}: {_ADVICE[prefix]}"
