"""The way to each model, as ``trigate explain`` says it, for all APIs of clients at once."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.config.loading import Config
from gateway.routing.router import Explanation, Router
from gateway.routing.walls import Wall
from streams.errors import GatewayError
from streams.events import APIS

ANY: Final = "MODEL"
"""What stands for the name that a client would ask of a wildcard."""


def names(config: Config, router: Router) -> Mapping[str, str]:
    """The models as they are shown, each with a name to ask for: those that are listed, and the wildcards."""
    wildcards = {entry.name: entry.name.replace("*", ANY) for entry in config.entries if entry.wildcard}
    return {**{model.id: model.id for model in router.models()}, **wildcards}


def reached(router: Router, name: str, asked: str, wall: Wall, *, urls: bool) -> dict[str, Any]:
    """For the page of models: the name, its first target inside of the ``wall``, why that, and the ways of requests.
    Clients of several APIs whose requests go the same way are told together; of a URL everything that may be secret is
    masked, and without ``urls`` there is none: where an operator's servers are is not for every client to know."""
    found: list[tuple[str, Explanation]] = []
    for api in APIS:
        try:
            found.append((api, router.explain(asked, api, wall)))
        except GatewayError as error:
            return {"name": name, "target": "", "why": error.failed.message, "ways": [_no_way()]}
    ways: dict[tuple[str, str, str], list[str]] = {}
    for client, one in found:
        ways.setdefault((one.lane, one.target.api, one.url if urls else ""), []).append(client)
    _, first = found[0]
    shown = [{"clients": clients, "lane": lane, "api": to, "url": url} for (lane, to, url), clients in ways.items()]
    return {"name": name, "target": first.target.name, "why": first.why, "ways": shown}


def _no_way() -> dict[str, Any]:
    return {"clients": [], "lane": "", "api": "", "url": ""}
