"""The row of routing by clients, and the keys ``client_routing`` and ``blocked_end_users``."""

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from configfile.keys import part_of, setting
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from gateway.config_files.building import Building

ClientRouting: TypeAlias = Literal["openrouter", "vercel", "litellm"]
"""A router whose routing members clients may send."""


@attrs.frozen
class ClientRoutingKeys:
    """The keys of the root."""

    client_routing: tuple[ClientRouting, ...] = setting(
        "The forms in which clients may [choose targets](routing.md#routing-fields-of-other-gateways) in the body: "
        "`openrouter`, `vercel`, `litellm`.",
        (),
    )
    blocked_end_users: tuple[str, ...] = setting(
        "The end users whose requests get 403, from `x-litellm-end-user-id`, or `user` or `metadata.user_id` in the "
        "body. In a form, only a `user` ahead of the file counts; forms that pass through may stay unread. Needs "
        "`client_routing: [litellm]`.",
        (),
    )


def keys_of(config: Config) -> ClientRoutingKeys:
    """Return the keys of ``config`` for routing by clients."""
    return part_of(config, ClientRoutingKeys)


def note_unread(config: Config, building: "Building") -> Config:
    """Report blocked end users that nothing reads."""
    keys = keys_of(config)
    if keys.blocked_end_users and "litellm" not in keys.client_routing:
        advice = "nothing reads end users: add `client_routing: [litellm]`"
        building.findings.no_effect(("blocked_end_users",), advice)
    return config


FEATURE: Final = Feature(
    "client_routing",
    "gateway.features.client_routing.opening:open_client_routing",
    lambda config: bool(keys_of(config).client_routing),
    keys=(Keys(Config, ClientRoutingKeys),),
    build="gateway.features.client_routing.feature:note_unread",
)
