"""Opens the request members of a configuration."""

from gateway.config.settings import Config
from gateway.features.request_members.edits import ConfiguredMembers
from gateway.seams.hooks import Hooks
from gateway.seams.running import Addition, Ports, Running


def open_request_members(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the members that ``config`` sets, as edits of requests."""
    return Addition(Hooks(begin_edits=(ConfiguredMembers(config).edits_of,)))
