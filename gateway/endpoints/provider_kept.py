"""Objects that a provider stores: requests about them pass to that provider unchanged.

Without client keys, every provider that stores responses is queried in turn, because ids do not contain the provider.
With client keys, only ids recorded at their creation are queried: a provider knows one account, not its clients."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from urllib.parse import quote

import attrs

from gateway.conversations.deadline import store_deadline
from gateway.conversations.provider_turn import find_storing_entry
from gateway.endpoints.answers import Call
from gateway.endpoints.plain_answers import PRIVATE
from gateway.exchange.exchange import Exchange
from gateway.exchange.planned import Form, PlannedRequest, as_prepared
from gateway.exchange.service import Service
from gateway.http.response import JSON_HEADERS, Response
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.plan import Plan, is_inside
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.neutral.codec import Outgoing
from streams.errors import GatewayError
from streams.events import Api


class ProviderLookup:
    """The lookup of a turn of ``api`` at the configured providers that store its turns: a ``QueryProviders``."""

    def __init__(self, service: Service, api: Api) -> None:
        self._service = service
        self._api = api
        self._by_entry = {target.entry.name: target for target in service.router.storing_targets(api)}
        self._storing_targets = tuple(_one_per_account(self._by_entry.values()))

    async def __call__(self, call: Call, id: str) -> Response | None:
        """Send the request to the providers that may store ``id``, and return the first success.

        Without a success, return the first failure other than 404: an unavailable provider is not an unknown id.
        Return ``None`` if every provider responds with 404.

        Raises ``GatewayError`` only for invalid requests."""
        storing_targets = await self._permitted_targets(call, id)
        if not storing_targets:
            return None
        for checks in self._service.hooks.request_checks if call.method != "DELETE" else ():
            await checks.admit_kept(self._service, call.client_request, self._api)
        body, client_request = await call.read_body(), call.client_request
        refusal: Callable[[], Response] | None = None
        for target in storing_targets:
            self._service.authenticator.check_credential(target.entry, client_request.credential)
            call.record.target = target.entry.provider.id
            call.record.bill.billed = False
            exchange = Exchange(self._service, self._api, client_request, call.scope, call.record)
            try:
                planned = _forwarded_request(call, self._api, target, body)
                return await self._send(call, exchange, planned, id)
            except GatewayError as error:
                if error.info.status != 404 and refusal is None:
                    refusal = partial(exchange.refuse, error.info)
        return None if refusal is None else refusal()

    async def _send(self, call: Call, exchange: Exchange, planned: PlannedRequest, id: str) -> Response:
        send, api = partial(_send, exchange), self._api
        for kept in self._service.hooks.kept:
            planned = attrs.evolve(planned, replace_ids=kept.all_ids(call.owner, call.client))
            if kept.bills_runs and CODECS[api].wire.running:
                return await kept.send_about_run(self._service, api, (call.owner, id), planned, send)
        return await send(planned)

    async def _permitted_targets(self, call: Call, id: str) -> tuple[Target, ...]:
        wall = self._service.authenticator.wall(call.client_request.client)
        return tuple(target for target in await self._storing_targets_of(call, id) if is_inside(target, wall))

    async def _storing_targets_of(self, call: Call, id: str) -> tuple[Target, ...]:
        # A client's own key is for one provider; with several, it is unknown which.
        alone = len(self._storing_targets) == 1
        if not call.owner:
            return tuple(one for one in self._storing_targets if alone or not one.entry.passthrough_auth)
        if alone and call.client_request.client is None and self._storing_targets[0].entry.passthrough_auth:
            return self._storing_targets
        if self._service.turns.store is None:  # the owner is unknown
            return ()
        with store_deadline("look up its owner"):
            entry = await find_storing_entry(self._service.turns.store, call.owner, id)
        return () if entry not in self._by_entry else (self._by_entry[entry],)


def _forwarded_request(call: Call, api: Api, target: Target, body: bytes) -> PlannedRequest:
    """Return the request for ``target``, with its body unchanged and without retries."""
    incoming = Incoming(api, body, {}, target.model, call.argument("stream") == "true")
    plan = Plan.once(attrs.evolve(target, url=_address(call, api, target)))
    prepare = as_prepared(Prepared(Outgoing(body)))
    method = "GET" if call.method == "HEAD" else call.method  # the response is read, and one to HEAD has no body
    return PlannedRequest(incoming, plan, prepare, method=method, form=Form.REJECTED)


async def _send(exchange: Exchange, planned: PlannedRequest) -> Response:
    """Send the ``planned`` request, and return the provider's response. Raises ``GatewayError``."""
    walk = await exchange.start_walk(planned)
    if planned.incoming.stream:
        return await exchange.answer_to(walk)
    answer = await exchange.read_unchanged(walk)
    exchange.record.bill.is_complete = True
    headers = (*JSON_HEADERS, *PRIVATE, *answer.client_headers)
    return exchange.respond(await answer.public_body(), answer.response.status, headers)


def _one_per_account(storing_targets: Iterable[Target]) -> Iterator[Target]:
    seen = set()
    for target in storing_targets:
        account = (target.url, target.entry.key, target.entry.sign_in)
        if account not in seen:
            seen.add(account)
            yield target


def _address(call: Call, api: Api, target: Target) -> str:
    """Return the URL of the request at ``target``'s provider: the same path below the provider's prefix."""
    wire = CODECS[api].wire
    base, mark, query = target.url.partition("?")
    steps = call.path.split("/")[2:]  # after the version
    if any(step in ("", ".", "..") for step in steps):
        raise GatewayError("not_found", f"there is no {call.path}")
    path = "/".join(quote(step, safe="") for step in steps)
    return f"{base.removesuffix(wire.path)}/{path}{mark}{query}"
