"""Opens the request members of a configuration."""

import attrs

from gateway.config.settings import Config
from gateway.features.request_members.edits import ConfiguredMembers
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running


@attrs.frozen(eq=False, repr=False)
class OpenRequestMembers(Running):
    """The request members of one configuration."""

    hooks: Hooks


def open_request_members(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the members that ``config`` sets, as edits of requests."""
    return OpenRequestMembers(Hooks(begin_edits=(ConfiguredMembers(config).edits_of,)))
