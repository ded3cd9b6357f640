"""Request members in ``trigate explain``."""

from collections.abc import Iterator

from gateway.config.settings import Config
from gateway.config_reports.spelling import spelled_value
from gateway.features.request_members.edits import ConfiguredMembers
from gateway.features.request_members.settings import RequestMembers, request_of
from gateway.routing.plan import Plan
from gateway.seams.feature import Explained, ExplainedRequest


def explain_members(config: Config, request: ExplainedRequest) -> Explained:
    """Return the members that ``config`` sets for ``request``, from the outside in."""
    levels = [(holder, found) for holder, found in _levels(config, request.plan, request.client) if found is not None]
    texts = [f"{holder}: {spelled_value('', found).removeprefix('{').removesuffix('}')}" for holder, found in levels]
    edits = ConfiguredMembers(config).edits_of(request.client, request.plan, request.api)
    return Explained("members", texts, plan=edits.with_lanes(request.plan) if levels else None)


def _levels(config: Config, plan: Plan, key: str | None) -> Iterator[tuple[str, RequestMembers | None]]:
    client = next((one for one in config.client_keys if one.name == key), None)
    if client is not None:
        yield f"key {client.name}", request_of(client)
        if client.group is not None:
            yield f"group {client.group.name}", request_of(client.group)
    for name in dict.fromkeys(one.target.alias for one in plan.candidates):
        if (route := config.routes.get(name or "")) is not None:
            yield f"alias {route.name}", request_of(route)
    for entry in dict.fromkeys(one.target.entry.name for one in plan.candidates):
        found = next(one for one in config.entries if one.name == entry)
        yield f"entry {entry}", request_of(found)
