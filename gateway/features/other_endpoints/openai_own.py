"""Endpoints that only OpenAI has: Codex's search, and checks of a file's origin."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import attrs

from gateway.features.other_endpoints.plain_json import UsageMemberReader, read_plain_json
from gateway.relay.endpoint_plans import entry_target
from gateway.relay.relaying import InboundRequest, RelayedRequest
from gateway.relay.uploads import read_upload
from gateway.routing.target import Target
from streams.errors import GatewayError, invalid

_UNSUPPORTED: Final = "unsupported_endpoint"
_SHAPES: Final = frozenset(("openai",))


async def read_search(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a search. Raises ``GatewayError`` (404) if the model's entry has no search, as servers without it do."""
    try:
        return await read_plain_json(inbound, names)
    except GatewayError as error:
        if error.info.code != _UNSUPPORTED:
            raise
        raise GatewayError.of(attrs.evolve(error.info, kind="not_found", status=404, reason=None)) from None


async def read_check(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a form with a file whose origin the provider checks. It has no model."""
    upload = await read_upload(inbound)
    incoming, target = inbound.unread_request(upload.model, False, upload.fields), _only_target(inbound)
    record = inbound.context.record
    record.target, record.model, record.provider_api = target.name, target.model, target.api
    planned = inbound.plan_upload(incoming, target, await upload.unchanged_body(), upload.kind)
    return RelayedRequest(planned, inbound.unchanged_filters(partial(UsageMemberReader, is_free=True)))


def _only_target(inbound: InboundRequest) -> Target:
    """Return the endpoint of the first entry that the client may use. Raises ``GatewayError`` (400)."""
    service, client, endpoint = inbound.context.service, inbound.context.client_request.client, inbound.endpoint.name
    for entry in service.router.entries_with(endpoint):
        target = entry_target(entry, endpoint, _SHAPES)
        if target is not None and service.authenticator.reaches(client, entry):
            service.authenticator.check_credential(entry, inbound.context.client_request.credential)
            return target
    raise invalid(f"no configured provider supports {endpoint}: add an entry for openai", code=_UNSUPPORTED)
