"""Providers of the configuration's own (``providers``): rows that are added to the catalogue, or take the place of one
of its, or change it."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from configfile.document import Path
from configfile.wording import describe, nearest, one_of
from gateway.config.findings import Findings
from gateway.config.schema import RawConfig, RawEntry, RawProvider
from providers.auth.keys import BEARER_TOKEN, HeaderKey
from providers.auth.signer import Signer
from providers.catalog import providers as catalog
from providers.catalog.provider import STANDARD_PATHS, Provider
from streams.events import Api

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@attrs.frozen
class OwnProvider:
    """A ``row``, and what its entries have where they do not say it themselves."""

    row: Provider
    given: RawProvider

    def of_entry(self, raw: RawEntry) -> RawEntry:
        """``raw`` with what the provider says for all of its entries."""
        bare = raw.sign_in is None and raw.access_key is None and not raw.passthrough_auth
        sign_in = self.given.sign_in if bare else raw.sign_in
        return attrs.evolve(
            raw,
            headers={**self.given.headers, **raw.headers},
            endpoints={**self.given.endpoints, **raw.endpoints},
            sign_in=sign_in,
        )


def id_of(name: str) -> str:
    """The id of the provider that is called ``name``, also by an alias."""
    row = catalog.find(name)
    return name if row is None else row.id


def build_providers(raw: RawConfig, findings: Findings) -> Mapping[str, OwnProvider]:
    """The configuration's own providers by their ids."""
    found: dict[str, OwnProvider] = {}
    for name, given in raw.providers.items():
        path = ("providers", name)
        if not _NAME.fullmatch(name):
            findings.wrong(path, describe(name), "a provider's name has letters, digits, `.`, `_` and `-`")
        elif id_of(name) in found:
            findings.wrong(path, f"{id_of(name)} is described already", "keep one of the two")
        elif (row := _row(name, given, path, findings)) is not None:
            found[id_of(name)] = OwnProvider(row, given)
    return found


def _row(name: str, given: RawProvider, path: Path, findings: Findings) -> Provider | None:
    known, interface = catalog.find(name), None
    if given.provider_interface is not None:
        interface = catalog.find(given.provider_interface)
        if interface is None:
            word = given.provider_interface
            near = nearest(word, (*catalog.CATALOG, *catalog.ALIASES))
            findings.wrong(
                (*path, "provider_interface"), f"unknown interface {describe(word)}", one_of(catalog.CATALOG), near
            )
            return None
    row = catalog.generic(id_of(name), interface) if known is None or interface is not None else known
    row = _placed(row, given)
    changes: dict[str, Any] = {
        name: value for name in ("display_name", "families", "models") if (value := getattr(given, name)) is not None
    }
    if given.speaks is not None:
        _check_spoken(given, row, path, findings)
        changes |= {"speaks": MappingProxyType(dict(given.speaks)), "by_model": (), "note": ""}
    if given.auth is not None:
        changes["auth"] = MappingProxyType({**row.auth, **_signers(given.auth)})
    if given.quirks is not None:
        changes |= {name: attrs.evolve(getattr(row, name), **given.quirks) for name in ("quirks", "known")}
    return attrs.evolve(row, **changes)


def _placed(row: Provider, given: RawProvider) -> Provider:
    """``row`` at the address that is given, and with the paths that are."""
    if given.base_url is not None:
        speaks: dict[Api, Api] = {**row.speaks, **dict((given.speaks or {}).items())}
        base_url = given.base_url if given.paths else row.completed(given.base_url, speaks.values())
        parts = urlsplit(base_url)
        path = parts.path.rstrip("/")
        row = row.at(base_url)
        there = {api: place for api, place in row.places.items() if "://" not in place and not path}
        origin = urlunsplit((parts.scheme, parts.netloc, "", parts.query, ""))
        row = attrs.evolve(row, base_url=origin, prefix=path or row.prefix, places=there, by_path={}, hosts={})
    places, paths = dict(row.places), dict(row.paths)
    for api, whole in given.paths.items():
        end = STANDARD_PATHS[api]
        places[api] = whole.removesuffix(end) if whole.endswith(end) else ""
        paths[api] = end if whole.endswith(end) else whole
    return attrs.evolve(row, places=places, paths=paths) if given.paths else row


def _signers(given: str | Mapping[Any, str]) -> dict[Api, Signer]:
    by_api: Mapping[Api, str] = dict.fromkeys(STANDARD_PATHS, given) if isinstance(given, str) else given
    return {api: BEARER_TOKEN if word == "bearer" else HeaderKey(word) for api, word in by_api.items()}


def _check_spoken(given: RawProvider, row: Provider, path: Path, findings: Findings) -> None:
    for api in dict.fromkeys((given.speaks or {}).values()):
        if api not in row.paths:
            found = f"{row.display_name} has no path for {api}"
            findings.wrong((*path, "speaks"), found, f"say where it is: `paths: {{{api}: /…}}`")


def check_used(own: Mapping[str, OwnProvider], used: frozenset[str], findings: Findings) -> None:
    """Tell of providers that no entry is for."""
    for id in own:
        if id not in used:
            findings.warn(f"providers.{id}: no entry is for it: add one such as `- model: {id}/*`")
