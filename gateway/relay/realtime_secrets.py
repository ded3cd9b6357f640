"""Credentials of a provider for realtime sessions from browsers (``POST /v1/realtime/client_secrets``).

Whoever has one talks to the provider unseen for as long as it lives, and what that costs nobody here hears of: a client
needs ``realtime: {client_secrets: true}``, and what a session may cost is looked for in its budget.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

import attrs

from gateway.realtime.events import SESSION
from gateway.realtime.models import SessionModels
from gateway.realtime.objects import Tree, Unfolded
from gateway.realtime.shapes import OF_OPENAI
from gateway.relay.relayed import RelayedRequest, RelayRoute
from gateway.relay.relaying import Relaying
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.omissions import Omissions
from gateway.routing.once import ONCE
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from providers.neutral.codec import Outgoing
from streams.errors import GatewayError, invalid

PATH: Final = "/v1/realtime/client_secrets"
_TREE: Final[Tree] = {"session": SESSION}
_MODEL: Final = "session.model"

NOT_GRANTED: Final = (
    "the key {!r} may not have credentials of the provider: `realtime: {{client_secrets: true}}` on it in the "
    "configuration lets it"
)
NO_KEY: Final = (
    "credentials of the provider are given to clients with a key alone: see client_keys in the configuration"
)


async def read_client_secret(relaying: Relaying, names: Mapping[str, str]) -> RelayedRequest:
    """A request for a credential, with the model of its session in the provider's words."""
    context = relaying.context
    client = context.asked.client
    if not context.service.authenticator.realtime_grant(client).client_secrets:
        raise GatewayError("permission", NO_KEY if client is None else NOT_GRANTED.format(client))
    incoming = await relaying.json()
    session = Unfolded(dict(incoming.members), _TREE)
    if not (model := session.texts.get(_MODEL)):
        raise invalid("session.model is required: it says whose credential this is to be", _MODEL)
    context.record.asked = model
    target = relaying.plan(model, OF_OPENAI).first
    models = SessionModels(context, target, OF_OPENAI)
    for at, name in session.texts.items():
        if at != _MODEL:
            models.further(at, name)
    planned = relaying.planned(incoming, Plan.to(target, ONCE), partial(_prepared, session, incoming), None)
    return RelayedRequest(attrs.evolve(planned, suffix="/client_secrets"), relaying.passed())


def _prepared(session: Unfolded, incoming: Incoming, target: Target, left: Omissions) -> Prepared:
    session.put(_MODEL, target.model)
    return Prepared(Outgoing(session.folded()), left=left)


CLIENT_SECRETS: Final = (RelayRoute("realtime", "POST", PATH, read_client_secret),)
