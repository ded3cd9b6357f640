"""The tables of ``docs/providers.md``, from the rows of the catalogue.

``python -m tests.pages.providers`` writes them; ``tests/docs/test_providers.py`` keeps them true.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from providers.auth.signer import HeaderKey
from providers.catalog.provider import STANDARD_PATHS, Provider, url_for
from providers.catalog.providers import ALIASES, CATALOG
from streams.events import Api
from tests.pages.tables import table, with_headed_tables
from tests.support.repository import ROOT

PAGE = ROOT / "docs/providers.md"
CLIENTS: Sequence[Api] = ("chat", "messages", "responses")
HEAD = ("provider", "address", "key", "APIs", "models", "")
FACTS = ("provider", "API", "URL", "credential")
USUAL_PATHS: Mapping[Api, str] = {"chat": "chat/completions", "messages": "messages", "responses": "responses"}
USUAL_KEYS: Mapping[Api, str] = {"messages": "`x-api-key`"}
BEARER = "Bearer"

_NAMED = {"gpt-[!o]*": "`gpt-*` (not `gpt-oss-*`)"}
_REST = "gpt-o[!s]*"
"""Together these two patterns are every GPT but one."""


def providers() -> str:
    return table(HEAD, (_cells(row) for row in CATALOG.values()))


def facts() -> str:
    """Return the URLs and credentials of the providers that differ from the usual ones."""
    same: dict[tuple[str, ...], list[str]] = {}
    for row in CATALOG.values():
        for name, *cells in _facts(row):
            same.setdefault(tuple(cells), []).append(name)
    return table(FACTS, ((", ".join(dict.fromkeys(names)), *cells) for cells, names in same.items()))


def _cells(row: Provider) -> tuple[str, ...]:
    names = [row.id, *(alias for alias, id in ALIASES.items() if id == row.id)]
    return (
        f"{row.display_name}: {', '.join(f'`{name}`' for name in names)}",
        f"`{row.base_url}{row.prefix}`"
        if row.base_url
        else f"yours, such as `{row.address}`"
        if row.address
        else "yours",
        f"`{row.key_env}`" if row.key_env else "" if row.key_required else "none needed",
        "; or ".join(dict.fromkeys(", ".join(map(str.capitalize, apis)) for apis in _apis_by_model(row))),
        ", ".join(_NAMED.get(family, f"`{family}`") for family in row.families if family != _REST),
        row.about,
    )


def _apis_by_model(row: Provider) -> list[list[Api]]:
    """Return the APIs in which the gateway calls a provider, by model if they differ. The first one of a model is that
    of clients whose API is not among them."""
    found: list[list[Api]] = []
    for speaks in _speaks_by_model(row):
        pairs = [(api, speaks[api]) for api in CLIENTS if api in speaks]
        translated = dict.fromkeys(upstream for api, upstream in pairs if upstream != api)
        assert len(translated) <= 1, row.id
        found.append([*translated, *(api for api, upstream in pairs if upstream == api and api not in translated)])
    return [apis for apis in found if apis]


def _speaks_by_model(row: Provider) -> list[dict[Api, Api]]:
    return [dict(speaks) for speaks in (row.speaks, *(changes.get("speaks", {}) for _, changes in row.by_model))]


def _facts(row: Provider) -> Iterable[tuple[str, ...]]:
    ends = () if row.base_url or row.by_model else tuple(row.by_path)
    names = [("", row), *((end, row.at_base_url(f"https://h{end}")) for end in ends)]
    spoken = {api for _, one in names for speaks in _speaks_by_model(one) for api in speaks.values()}
    for api in (api for api in STANDARD_PATHS if api in spoken or api in row.sources):
        end, at = next((end, one) for end, one in reversed(names) if api in one.paths)
        url, credential = _address(at, api, end), _sign_in(at, api)
        shown = f"{row.base_url}{row.prefix}" if row.base_url else row.address
        usual = f"{shown}/{USUAL_PATHS.get(api)}"
        if url != usual or credential != USUAL_KEYS.get(api, BEARER):
            yield row.display_name, api.capitalize(), "usual" if url == usual else f"`{url}`", credential


def _address(row: Provider, api: Api, end: str) -> str:
    host = re.sub("^(https?://[^/]*).*", r"\1", row.address or "https://YOURS") + end
    own = row.address if "/client/" in row.address else host
    return url_for(None if row.base_url else own, row, api, "MODEL").replace("https://YOURS", "…")


def _sign_in(row: Provider, api: Api) -> str:
    signer = row.auth[api]
    key = "a key"
    if isinstance(signer, HeaderKey):
        key = BEARER if signer.name == "authorization" else f"`{signer.name}`"
    others = {"aws": "AWS (SigV4)", "google": "Google", "azure": "Entra"}
    return " or ".join((key, *(others[name] for name in row.sign_in if name in others)))


def page(text: str) -> str:
    """Return ``text`` with the present tables. Raises ``LookupError`` if one is missing."""
    return with_headed_tables(text, providers(), facts())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
