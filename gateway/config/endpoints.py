"""What entries and providers of the configuration say of endpoints: which there are, and where."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import attrs

from configfile.document import Path
from gateway.config.findings import Findings
from gateway.config.kinds import EndpointPath, EndpointWord
from gateway.config.schema import RawEmbeddings, RawEndpoint, given
from providers.catalog.provider import Provider
from providers.endpoints.endpoint import ENDPOINTS, STANDARD_PLACES, EndpointName, Place


def build_endpoints(
    given: Mapping[EndpointWord, bool | EndpointPath | RawEndpoint],
    row: Provider,
    base_url: str | None,
    path: Path,
    findings: Findings,
) -> Mapping[EndpointName, Place | None]:
    """The endpoints that are ``given`` of ``row``, asked at ``base_url``; ``None`` for those that it has not."""
    base = base_url or row.base_url
    found: dict[EndpointName, Place | None] = {}
    for name in (name for name in ENDPOINTS if name in given):
        said = given[EndpointWord(name)]
        usual = row.endpoints.get(name) or STANDARD_PLACES.get(name)
        if said is False:
            found[name] = None
        elif usual is None and (said is True or (isinstance(said, RawEndpoint) and said.path is None)):
            mistake = f"{name} has no path that is the same everywhere"
            findings.wrong((*path, "endpoints", name), mistake, f"say where it is: `{{{name}: /…}}`")
        else:
            found[name] = _place(RawEndpoint() if said is True else said, usual or Place(""), base)
    return found


def embedding_traits(raw: RawEmbeddings | None) -> Mapping[str, Any]:
    """The changes to a row's ``EmbeddingTraits`` that are ``raw``. Whoever names an input type wants it to be said."""
    if raw is None:
        return {}
    said = given(raw)
    found = {_TRAITS.get(name, name): value for name, value in said.items()}
    return {**found, "takes_purpose": "required"} if "input_type" in said else found


_TRAITS: Final = {"split": "splits", "input_type": "purpose"}


def _place(said: EndpointPath | RawEndpoint, usual: Place, base: str | None) -> Place:
    """The place that is ``said``, in the form of the ``usual`` one where nothing else is."""
    given = said if isinstance(said, RawEndpoint) else RawEndpoint(said)
    place = usual if given.shape is None else attrs.evolve(usual, shape=given.shape)
    return place if given.path is None else attrs.evolve(place, path=_behind(base, given.path), prefix=None)


def _behind(base: str | None, path: str) -> str:
    """The whole address of ``path``: right behind the base URL as it is written."""
    if base is None or "://" in path:
        return path
    parts, (end, _, query) = urlsplit(base), path.partition("?")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + end, query or parts.query, ""))
