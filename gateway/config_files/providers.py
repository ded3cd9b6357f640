"""The rows of configured providers (``providers``)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from configfile.document import Path
from configfile.wording import describe, nearest, one_of
from gateway.config.findings import Findings
from gateway.config.own_providers import ProviderSettings
from providers.auth.signer import BEARER_TOKEN, HeaderKey, Signer
from providers.catalog import providers as catalog
from providers.catalog.provider import STANDARD_PATHS, Provider
from streams.events import Api

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@attrs.frozen(repr=False)
class OwnProvider:
    """A ``row``, and defaults for its entries."""

    row: Provider
    settings: ProviderSettings


def id_of(name: str) -> str:
    """Return the id of the provider ``name``, which may be an alias."""
    row = catalog.find(name)
    return name if row is None else row.id


def build_providers(providers: Mapping[str, ProviderSettings], findings: Findings) -> Mapping[str, OwnProvider]:
    """Return the configured providers by id."""
    found: dict[str, OwnProvider] = {}
    for name, settings in providers.items():
        path = ("providers", name)
        if not _NAME.fullmatch(name):
            findings.wrong(path, describe(name), "use only letters, digits, `.`, `_` and `-` in a provider's name")
        elif id_of(name) in found:
            findings.wrong(path, f"{id_of(name)} is defined twice", "remove one of them")
        elif (row := _provider_row(name, settings, path, findings)) is not None:
            found[id_of(name)] = OwnProvider(row, settings)
    return found


def _provider_row(name: str, settings: ProviderSettings, path: Path, findings: Findings) -> Provider | None:
    known, interface = catalog.find(name), None
    if settings.provider_interface is not None:
        interface = catalog.find(settings.provider_interface)
        if interface is None:
            word = settings.provider_interface
            near = nearest(word, (*catalog.CATALOG, *catalog.ALIASES))
            findings.wrong(
                (*path, "provider_interface"), f"unknown interface {describe(word)}", one_of(catalog.CATALOG), near
            )
            return None
    if known is None or interface is not None:
        known = catalog.generic(id_of(name), interface, settings.base_url)
    row = _with_address(known, settings)
    changes: dict[str, Any] = {
        name: value for name in ("display_name", "families", "models") if (value := getattr(settings, name)) is not None
    }
    if settings.speaks:
        _check_apis(settings, row, path, findings)
        changes |= {"speaks": MappingProxyType(dict(settings.speaks)), "by_model": (), "note": ""}
    if settings.auth is not None:
        changes["auth"] = MappingProxyType({**row.auth, **_signer_by_api(settings.auth)})
    if settings.quirks:
        changes |= {name: attrs.evolve(getattr(row, name), **settings.quirks) for name in ("quirks", "known")}
    return attrs.evolve(row, **changes)


def _with_address(row: Provider, settings: ProviderSettings) -> Provider:
    """Return ``row`` with the given address and paths."""
    if settings.base_url is not None:
        speaks: dict[Api, Api] = {**row.speaks, **settings.speaks}
        base_url = settings.base_url if settings.paths else row.complete_base_url(settings.base_url, speaks.values())
        parts = urlsplit(base_url)
        path = parts.path.rstrip("/")
        row = row.at_base_url(base_url)
        there = {api: place for api, place in row.places.items() if "://" not in place and not path}
        origin = urlunsplit((parts.scheme, parts.netloc, "", parts.query, ""))
        row = attrs.evolve(row, base_url=origin, prefix=path or row.prefix, places=there, by_path={}, hosts={})
    places, paths = dict(row.places), dict(row.paths)
    for api, whole in settings.paths.items():
        end = STANDARD_PATHS[api]
        places[api] = whole.removesuffix(end) if whole.endswith(end) else ""
        paths[api] = end if whole.endswith(end) else whole
    return attrs.evolve(row, places=places, paths=paths) if settings.paths else row


def _signer_by_api(given: str | Mapping[Any, str]) -> dict[Api, Signer]:
    by_api: Mapping[Api, str] = dict.fromkeys(STANDARD_PATHS, given) if isinstance(given, str) else given
    return {api: BEARER_TOKEN if word == "bearer" else HeaderKey(word) for api, word in by_api.items()}


def _check_apis(settings: ProviderSettings, row: Provider, path: Path, findings: Findings) -> None:
    for api in dict.fromkeys(settings.speaks.values()):
        if api not in row.paths:
            found = f"{row.display_name} has no path for {api}"
            findings.wrong((*path, "speaks"), found, f"set the path: `paths: {{{api}: /…}}`")
