"""Completions without roles (``/v1/completions``): they pass as they are."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from gateway.relay.relayed import RelayedRequest, RelayRoute
from gateway.relay.relaying import Relaying, with_model


async def read(relaying: Relaying, names: Mapping[str, str]) -> RelayedRequest:
    incoming = await relaying.json()
    plan = relaying.plan(incoming.model)
    return RelayedRequest(relaying.planned(incoming, plan, partial(with_model, incoming), asks=None), relaying.passed())


COMPLETIONS: Final = (RelayRoute("completions", "POST", "/v1/completions", read),)
