"""The endpoints that entries and providers configure: their addresses and behaviour."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import attrs

from configfile.document import Path
from configfile.keys import Given, Kind, setting
from gateway.config.findings import Findings
from gateway.config.kinds import BodyShape, EndpointPath, EndpointWord
from providers.catalog.provider import Provider
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.endpoints.endpoint import ENDPOINTS, STANDARD_PLACES, EndpointName, Place


@attrs.frozen(repr=False)
class EndpointPlace:
    """The address and shape of an endpoint."""

    path: EndpointPath | None = setting(
        "As above; `{model}` is the model's id.",
        None,
        shown="the provider's",
    )
    shape: BodyShape | None = setting(
        "The form of the bodies: `openai`, `cohere`, `jina`, `tei`, …", None, shown="the provider's"
    )


def _pick_endpoint_type(value: Any) -> Any:
    if isinstance(value, bool):
        return None
    return EndpointPlace if isinstance(value, dict) else EndpointPath


def _read_endpoint(value: Any) -> EndpointPlace | None:
    if isinstance(value, bool):
        return EndpointPlace() if value else None
    return value if isinstance(value, EndpointPlace) else EndpointPlace(value)


_OwnPlace: TypeAlias = Annotated[
    EndpointPlace | None, Kind("", _read_endpoint, pick=_pick_endpoint_type, parts=(bool, EndpointPath, EndpointPlace))
]
OwnEndpoints: TypeAlias = Mapping[EndpointWord, _OwnPlace]
"""Endpoints by name; ``None`` for an absent one."""


def _require_purpose(given: dict[str, Any]) -> dict[str, Any]:
    """Require the input type if one is configured."""
    return {**given, "takes_purpose": "required"} if "purpose" in given else given


EmbeddingChanges: TypeAlias = Annotated[
    Mapping[str, Any],
    Kind("mapping", _require_purpose, pick=lambda _: Given(EmbeddingTraits), parts=(EmbeddingTraits,)),
]
"""Changes to a row's ``EmbeddingTraits``."""


@attrs.frozen(repr=False)
class ImageSettings:
    """The form of an entry's picture responses, and of the files in its requests."""

    inline: bool = setting(
        "Replace the URLs by contents.",
        False,
    )


def build_endpoints(
    given: Mapping[str, EndpointPlace | None],
    row: Provider,
    base_url: str | None,
    path: Path,
    findings: Findings,
) -> Mapping[EndpointName, Place | None]:
    """Return the endpoints ``given`` for ``row`` below ``base_url``; ``None`` for absent ones."""
    base = base_url or row.base_url
    found: dict[EndpointName, Place | None] = {}
    for name in (name for name in ENDPOINTS if name in given):
        own = given[name]
        usual = row.endpoints.get(name) or STANDARD_PLACES.get(name)
        if own is None:
            found[name] = None
        elif usual is None and own.path is None:
            mistake = f"{name} has no standard path"
            findings.wrong((*path, "endpoints", name), mistake, f"set the path: `{{{name}: /…}}`")
        else:
            found[name] = _merge_endpoint(own, usual or Place(""), base)
    return found


def _merge_endpoint(own: EndpointPlace, usual: Place, base: str | None) -> Place:
    """Return an entry's ``own`` endpoint, with defaults from the ``usual`` one."""
    place = usual if own.shape is None else attrs.evolve(usual, shape=own.shape)
    return place if own.path is None else attrs.evolve(place, path=_append_path(base, own.path), prefix=None)


def _append_path(base: str | None, path: str) -> str:
    """Return the whole URL of ``path``, appended directly to the base URL."""
    if base is None or "://" in path:
        return path
    parts, (end, _, query) = urlsplit(base), path.partition("?")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + end, query or parts.query, ""))
