"""Adds the calls about people to the HTTP API."""

from gateway.config.settings import Config
from gateway.features.admin.parts.interface import ApiPart
from gateway.seams.running import Ports, Running

_PACKAGE = "gateway.features.people.api"


def open_calls(config: Config, ports: Ports, before: Running | None) -> ApiPart:
    """Open the calls, which exist without issuers, too: the storage may have people of earlier ones."""
    return ApiPart(f"{_PACKAGE}.part", (f"{_PACKAGE}.own_keys", f"{_PACKAGE}.people"))
