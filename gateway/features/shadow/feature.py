"""The row of shadow traffic, and the key ``shadow`` of a name in ``model_aliases``."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from configfile.expanded import Unresolved
from configfile.keys import part_of, setting
from configfile.kinds import Share
from gateway.config.aliases import Route
from gateway.config.amounts import Budget
from gateway.config.parts import Instead, ItemPart
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys
from streams.errors import GatewayError

if TYPE_CHECKING:
    from configfile.document import Path
    from gateway.config_files.building import Building


@attrs.frozen(repr=False)
class Shadow:
    """The second target of a name, which gets a ``share`` of its requests."""

    target: str = setting("The model that gets the sample: a `name`, a `provider/model id` or a bare model id.")
    budgets: tuple[Budget, ...] = setting(
        "The most that the sample may cost. Without money left, nothing is sent.", shape={"minItems": 1}
    )
    share: Share = setting("The share of the requests.", 0.05)


@attrs.frozen
class ShadowKeys(ItemPart):
    """The keys of an alias."""

    shadow: Shadow | None = setting("Send a sample to [another target](shadow.md), too.", None, shown="never")


def shadows_of(config: Config) -> Mapping[str, Shadow]:
    """Return the shadows of ``config`` by the names of their routes."""
    found = ((name, part_of(route, ShadowKeys).shadow) for name, route in config.routes.items())
    return {name: shadow for name, shadow in found if shadow is not None}


def client_of(name: str) -> str:
    """Return the client that pays for the sample of the route ``name``, for the log, budgets and metrics."""
    return f"shadow of {name}"


def build_shadows(config: Config, building: "Building") -> Config:
    """Report shadows whose target cannot get a sample, or whose costs would be another client's."""
    findings, clients = building.findings, {client.name for client in config.client_keys}
    for name, shadow in shadows_of(config).items():
        path: Path = ("model_aliases", name, "shadow")
        if not shadow.budgets:
            findings.wrong((*path, "budgets"), "the list is empty", "write an amount such as 5 usd/day")
        if client_of(name) in clients:
            findings.wrong(path, f"a client has the name {client_of(name)}", "rename that client")
        found = None
        with contextlib.suppress(GatewayError):  # two entries have it
            found = building.names.entries.names.direct(shadow.target)
        if isinstance(shadow.target, Unresolved):
            continue
        if found is None:
            findings.wrong(
                (*path, "target"), f"no single entry has the model {shadow.target}", "write `provider/model`"
            )
        elif found.entry.passthrough_auth:
            findings.wrong((*path, "target"), "its entry uses the clients' keys", "use an entry with its own key")
    return config


ADVICE: Final = (
    Instead(
        "it belongs to an alias: `model_aliases: {NAME: {target: A, shadow: {target: B, budgets: [5 usd/day]}}}`",
        "shadow mirror",
        (Config,),
    ),
)

FEATURE: Final = Feature(
    "shadow",
    "gateway.features.shadow.opening:open_shadows",
    lambda config: bool(shadows_of(config)),
    keys=(Keys(Route, ShadowKeys),),
    build="gateway.features.shadow.feature:build_shadows",
    advice="gateway.features.shadow.feature:ADVICE",
)
