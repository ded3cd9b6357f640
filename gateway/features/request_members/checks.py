"""The requests that the members of ``request`` do not reach. Imported only for a configuration that sets some."""

from collections.abc import Iterator
from typing import Final

from configfile.keys import value_of
from gateway.config.aliases import Route
from gateway.config.building import Building
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Absent
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from gateway.features.request_members.settings import request_of
from providers.endpoints.model_types import model_type


def note_unreached(config: Config, building: Building) -> Config:
    """Note the entries whose realtime sessions and pass-through keep the client's own members."""
    clients = (*map(request_of, config.client_keys), *map(request_of, config.client_groups))
    by_client = any(one is not None for one in clients)
    named = set(_targets_with_members(config))
    with_members = [one for one in config.entries if by_client or request_of(one) is not None]
    in_routes = [one for one in config.entries if any(_is_target(one, name) for name in named)]
    realtime = [one.name for one in config.entries if (one in with_members or one in in_routes) and _is_realtime(one)]
    passed = [one.name for one in with_members if value_of(one, "passthrough")]
    for names, kind in ((realtime, "realtime sessions"), (passed, "pass-through")):
        if names:
            building.findings.note(f"request: its members have no effect on {kind} ({', '.join(names)})")
    return config


def _targets_with_members(config: Config) -> Iterator[str]:
    for route in config.routes.values():
        if request_of(route) is not None:
            yield from (one.target for _, one in route.places)
            if route.target is not None:
                yield route.target


def _is_target(entry: ModelEntry, name: str) -> bool:
    return name == entry.name or matches_one(name, (entry.model, f"{entry.provider.id}/{entry.model}"))


def _is_realtime(entry: ModelEntry) -> bool:
    if entry.place_of("realtime", entry.model) is None:
        return False
    return "*" in entry.model or model_type(entry.model) == "realtime"


ADVICE: Final = (
    Absent(
        "Prompt templates",
        "`request: {system: {before: TEXT}}` adds constant instructions; there are no variables",
        "prompt_template prompt_templates prompts transforms",
        (Config, ModelEntry, Route),
    ),
)
