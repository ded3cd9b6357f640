"""Providers in the configuration (``providers``), which add, replace or change rows of the catalogue."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import attrs

from configfile.document import Path
from configfile.keys import Given, Kind, setting
from configfile.kinds import Secret, Url
from configfile.wording import describe, nearest, one_of
from gateway.config.endpoints import OwnEndpoints
from gateway.config.findings import Findings
from gateway.config.kinds import ApiPaths, KeyHeader, Speaking
from gateway.config.sign_ins import SigningIn
from providers.auth.signer import BEARER_TOKEN, HeaderKey, Signer
from providers.catalog import providers as catalog
from providers.catalog.provider import STANDARD_PATHS, Provider
from providers.neutral.quirks import Quirks
from streams.events import Api

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

QuirkChanges: TypeAlias = Annotated[Mapping[str, Any], Kind("mapping", pick=lambda _: Given(Quirks), parts=(Quirks,))]
"""Changes to a row's ``Quirks``."""

SetHeaders: TypeAlias = Annotated[
    tuple[tuple[str, str], ...],
    Kind(
        "mapping of texts or files",
        lambda value: tuple(value.items()),
        pick=lambda _: dict[str, Secret],
        parts=(dict[str, Secret],),
        takes_text=True,
    ),
]
"""Headers with their values."""


@attrs.frozen(repr=False)
class ProviderSettings:
    """A row of the catalogue, whole or in part."""

    base_url: Url | None = setting(
        "As on an entry. A path applies to all APIs; otherwise each API has its usual one or that in `paths`.",
        None,
        shown="the known provider's; otherwise each entry sets it",
    )
    provider_interface: str | None = setting(
        "The known provider that it behaves like in everything.",
        None,
        shown="`openai`'s Chat",
    )
    speaks: Speaking = setting(
        "As on an entry.",
        factory=dict,
        shown="the known provider's, else `[chat]`",
    )
    paths: ApiPaths = setting(
        "Whole paths on its host by API: `{messages: /anthropic/v1/messages}`. `{model}` is the model's id.",
        factory=dict,
    )
    auth: KeyHeader | None = setting(
        "The header for its key, or a mapping by API: `{messages: x-api-key}`.",
        None,
        shown="the API's usual header",
    )
    written_sign_in: SigningIn | None = setting(
        "As on an entry, for entries without `sign_in` and key.", None, name="sign_in"
    )
    headers: SetHeaders = setting("Headers for all of its entries. An entry's own headers take precedence.", ())
    quirks: QuirkChanges = setting("Differences from its APIs.", factory=dict, shown="the known provider's")
    own_endpoints: OwnEndpoints = setting(
        "As on an entry.",
        factory=dict,
        shown="the known provider's, else OpenAI's",
        name="endpoints",
    )
    families: tuple[str, ...] | None = setting("Shell patterns of bare model ids that go to `NAME/*`.", None)
    models: tuple[str, ...] | None = setting(
        "Model ids that `GET /v1/models` lists for `NAME/*`, most capable first.", None
    )
    display_name: str | None = setting("Its name for people.", None, shown="its name")


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


def check_used(own: Mapping[str, OwnProvider], used: frozenset[str], findings: Findings) -> None:
    """Report providers without an entry."""
    for id in own:
        if id not in used:
            findings.warn(f"providers.{id}: no entry uses it: add one, such as `- model: {id}/*`")
