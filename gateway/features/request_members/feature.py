"""Request members: the key ``request`` of entries, aliases, groups and keys, applied to requests."""

from gateway.config.aliases import Route
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.features.request_members.settings import RequestKeys, request_of
from gateway.seams.feature import Feature, Keys


def is_wanted(config: Config) -> bool:
    """Return whether ``config`` sets members of requests."""
    return any(map(request_of, (*config.entries, *config.routes.values(), *config.client_groups, *config.client_keys)))


FEATURE = Feature(
    "request_members",
    "gateway.features.request_members.opening:open_request_members",
    is_wanted,
    keys=tuple(Keys(place, RequestKeys) for place in (ModelEntry, Route, ClientGroup, ClientKey)),
    advice="gateway.features.request_members.checks:ADVICE",
    explain="gateway.features.request_members.explaining:explain_members",
)
