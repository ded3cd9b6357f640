"""The row of realtime sessions, and the keys ``realtime``: limits of an entry, and connections of a client that bypass
the gateway."""

import math
from typing import Final

import attrs

from configfile.keys import part_of, setting
from configfile.kinds import Wait
from gateway.config.clients import ClientKey
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import ItemPart
from gateway.seams.feature import Feature, Keys


@attrs.frozen(repr=False)
class RealtimeLimits:
    """The longest silence (``None``: as for any websocket) and duration of a realtime session in seconds."""

    idle: Wait | None = setting(
        "A [session](realtime.md) ends after this long without messages.", None, shown="`websocket_idle`"
    )
    max_session: Wait = setting("The longest duration of a session.", math.inf, shown="the provider's limit")


@attrs.frozen
class RealtimeKeys(ItemPart):
    """The keys of an entry."""

    realtime: RealtimeLimits = setting(
        "Limits on [realtime sessions](realtime.md).",
        RealtimeLimits(),
        shown="the provider's",
    )


@attrs.frozen
class RealtimeGrant:
    """A client's permissions for realtime sessions that bypass the gateway."""

    client_secrets: bool = setting(
        "Allow `POST /v1/realtime/client_secrets`: a provider's credential for sessions that "
        "[bypass the gateway](realtime.md#connections-that-bypass-the-gateway).",
        False,
    )
    calls: bool = setting(
        "Allow `POST /v1/realtime/calls`: WebRTC calls whose audio bypasses the gateway, and actions on them.",
        False,
    )


@attrs.frozen
class RealtimeRights(ItemPart):
    """The keys of a client."""

    realtime: RealtimeGrant = setting(
        "The realtime connections that it may open directly to a provider.",
        RealtimeGrant(),
        shown="none",
    )


def grant_of(client: ClientKey | None) -> RealtimeGrant:
    """Return the permissions of ``client`` for sessions that bypass the gateway."""
    return RealtimeGrant() if client is None else part_of(client, RealtimeRights).realtime


FEATURE: Final = Feature(
    "realtime",
    "gateway.features.realtime.routes:open_realtime",
    keys=(Keys(ModelEntry, RealtimeKeys), Keys(ClientKey, RealtimeRights)),
)
