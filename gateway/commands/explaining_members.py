"""The request members of a name, as ``trigate explain`` shows them."""

from collections.abc import Iterator

from gateway.config.loading import Config
from gateway.config.names import remove_marks
from gateway.config.request_members import RequestMembers
from gateway.config.spelling import spelled_value
from gateway.routing.plan import Plan
from streams.events import Api


def member_texts(config: Config, plan: Plan, key: str | None) -> Iterator[str]:
    """Yield the members that ``config`` sets for requests of the client ``key`` with ``plan``, from the outside in."""
    for holder, members in _member_levels(config, plan, key):
        if members is not None:
            yield f"{holder}: {spelled_value('', members).removeprefix('{').removesuffix('}')}"


def plan_with_lanes(config: Config, plan: Plan, api: Api, key: str | None) -> Plan:
    """Return ``plan`` with the lanes that requests of the client ``key`` use."""
    if all(members is None for _, members in _member_levels(config, plan, key)):
        return plan
    from gateway.request_members.edits import ConfiguredMembers  # imported only where it is needed

    return ConfiguredMembers(config).edits_of(key, plan, api).with_lanes(plan)


def _member_levels(config: Config, plan: Plan, key: str | None) -> Iterator[tuple[str, RequestMembers | None]]:
    client = next((one for one in config.client_keys if one.name == key), None)
    if client is not None:
        yield f"key {client.name}", client.request
        if client.group is not None:
            yield f"group {client.group.name}", client.group.request
    for name in dict.fromkeys(one.target.requested_name for one in plan.candidates):
        if (route := config.routes.get(name) or config.routes.get(remove_marks(name))) is not None:
            yield f"alias {route.name}", route.request
    for entry in dict.fromkeys(one.target.entry.name for one in plan.candidates):
        found = next(one for one in config.entries if one.name == entry)
        yield f"entry {entry}", found.request
