"""The list of the models that clients can name."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import attrs

from gateway.config.names import listed_names
from gateway.routing.router import Router

NOTHING_LISTED: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@attrs.frozen(repr=False)
class Model:
    """One model in the response of ``GET /v1/models``."""

    id: str
    owned_by: str


def list_models(router: Router, listed: Mapping[str, tuple[str, ...]] = NOTHING_LISTED) -> tuple[Model, ...]:
    """Return the models that clients can name, in the configuration's order.

    Entries come first, then aliases and routes. A wildcard represents the models that its provider has ``listed``,
    otherwise for those of the catalogue."""
    owners: dict[str, str] = {}
    for entry in router.config.entries:
        for name in listed_names(entry, listed.get(entry.name, ())):
            if not router.names.is_refused(name):
                owners.setdefault(name, entry.provider.display_name)
    for alias in (*router.config.aliases, *router.config.routes):
        first = router.names.find(alias).entry
        names = _wildcard_names(router, alias, listed) if router.names.is_wildcard_alias(alias) else (alias,)
        owners.update(dict.fromkeys(names, first.provider.display_name))
    return tuple(Model(name, owner) for name, owner in owners.items())


def _wildcard_names(router: Router, alias: str, listed: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield the names that the wildcard ``alias`` has for known models of its first target with a ``*``."""
    route = router.config.routes[alias]
    template = next((one.target for _, one in route.places if "*" in one.target), None)
    found = None if template is None else router.names.target(route, template)
    if template is None or found is None:
        return
    for model in listed.get(found.entry.name, ()) or found.entry.provider.models:
        name = route.name_for(template, f"{found.entry.prefixes[0]}/{model}")
        if name is not None and not router.names.is_refused(name) and router.names.route_of(name) is route:
            yield name
