"""Request members: the key ``request`` of entries, aliases, groups and keys, applied to requests."""

from typing import TYPE_CHECKING

from gateway.config.settings import Config
from gateway.seams.feature import Feature

if TYPE_CHECKING:
    from gateway.seams.edit_sent import BeginEdits


def is_wanted(config: Config) -> bool:
    """Return whether ``config`` sets members of requests."""
    of_names = (*(entry.request for entry in config.entries), *(route.request for route in config.routes.values()))
    of_clients = (*(group.request for group in config.client_groups), *(key.request for key in config.client_keys))
    return any((*of_names, *of_clients))


def edits_of(config: Config) -> "BeginEdits":
    """Return the edits of requests that ``config`` sets."""
    from gateway.features.request_members.edits import ConfiguredMembers  # imported only where it is needed

    return ConfiguredMembers(config).edits_of


FEATURE = Feature(
    "request_members",
    "It edits what the client sent, and other features edit the result for each attempt.",
    "gateway.features.request_members.opening:open_request_members",
    is_wanted,
)
