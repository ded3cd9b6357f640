"""The plans of requests that are no conversations: the targets that have an endpoint."""

import contextlib

import attrs

from gateway.config.model_entry import ModelEntry
from gateway.config.names import Found, May
from gateway.routing.plan import Plan, select_by_kind
from gateway.routing.router import SHORT, Router, candidate_of, recipient_of
from gateway.routing.target import Target
from providers.catalog.provider import ORDER, endpoint_url
from providers.endpoints.endpoint import ENDPOINTS, EndpointName, Place
from streams.errors import GatewayError, invalid
from streams.events import Api
from streams.timeouts import Timeouts

_OFFERED = 20
"""Names of entries with the endpoint in an error."""


def endpoint_plan(
    router: Router, model: str | None, endpoint: EndpointName, shapes: frozenset[str], may: May | None = None
) -> Plan:
    """Return the plan for a client that requests ``model`` at ``endpoint``.

    It uses the byte lane if the endpoint has one of ``shapes``. It skips targets of a route without the endpoint.
    Raises ``GatewayError``: 400 for a missing or ambiguous model or one whose provider has no such endpoint, 404
    for an unknown one."""
    if model is None or len(model) <= SHORT:
        with contextlib.suppress(GatewayError):  # as in ``Router.plan``
            return router.remembered(_make_plan, model, endpoint, shapes)
    return _make_plan(router, model, endpoint, shapes, may)


def entry_target(entry: ModelEntry, endpoint: EndpointName, shapes: frozenset[str]) -> Target | None:
    """Return ``endpoint`` at ``entry`` for a request without a model, or ``None`` if it has none of ``shapes``."""
    place = entry.place_of(endpoint, entry.model)
    if place is None or place.shape not in shapes:
        return None
    return _endpoint_target(Found(entry, entry.model, ""), entry.name, endpoint, place, shapes)


def passthrough_target(entry: ModelEntry, api: Api, model: str, url: str) -> Target:
    """Return the target of a request that passes through to ``entry`` at ``url``.

    ``api`` is the client's API according to the path. The client's credential is forwarded if the provider speaks that
    API."""
    spoken = tuple(entry.provider.speaks.values())
    asked_in = api if api in spoken else next((one for one in ORDER if one in spoken), api)
    return Target(entry, model, asked_in, "byte", url, entry.name, recipient_of(entry, model))


def _make_plan(
    router: Router, model: str | None, endpoint: EndpointName, shapes: frozenset[str], may: May | None = None
) -> Plan:
    if not model:
        raise invalid(f"model is required: the configuration has no default model for {endpoint}", "model")
    meaning = router.meaning(model, may)
    candidates = []
    for found, (group, one) in zip(meaning.found, meaning.places, strict=True):
        if (place := found.entry.place_of(endpoint, found.model)) is not None:
            target = attrs.evolve(_endpoint_target(found, model, endpoint, place, shapes), alias=meaning.alias)
            candidates.append(candidate_of(target, group, one))
    if not candidates:
        raise _no_endpoint_error(router, model, endpoint, may)
    return router.plan_with(select_by_kind(tuple(candidates), frozenset()), meaning.route)


def _no_endpoint_error(router: Router, model: str, endpoint: EndpointName, may: May | None) -> GatewayError:
    """Return the error for a model whose provider has no ``endpoint``. It names entries that have it."""
    having = [
        entry.name for entry in router.config.entries
        if (may is None or may(entry.name)) and entry.place_of(endpoint, entry.model) is not None
    ]  # fmt: skip
    offered = having[:_OFFERED]
    verb = "supports" if len(offered) == 1 else "support"
    others = f"{', '.join(offered)} {verb} it" if offered else "no configured provider supports it"
    return invalid(
        f"the provider of the model {model[:SHORT]!r} does not support {endpoint}; {others}",
        "model",
        code="unsupported_endpoint",
    )


def _endpoint_target(
    found: Found, requested_name: str, endpoint: EndpointName, place: Place, shapes: frozenset[str]
) -> Target:
    entry = found.entry
    row = ENDPOINTS[endpoint]
    if row.first_byte is not None and entry.timeouts.first_byte == Timeouts().first_byte:
        entry = attrs.evolve(entry, timeouts=attrs.evolve(entry.timeouts, first_byte=row.first_byte))
    return Target(
        entry=entry,
        model=found.model,
        api=place.api,
        lane="byte" if place.shape in shapes else "hub",
        url=endpoint_url(entry.base_url, entry.row(found.model), place, found.model),
        requested_name=requested_name,
        recipient=recipient_of(entry, found.model),
        endpoint_place=place,
    )
