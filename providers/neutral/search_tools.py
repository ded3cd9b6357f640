"""The web search that a request offers, in the words of each API.

Sources: Anthropic's ``web_search_20250305``, OpenAI's ``web_search``, Google's ``googleSearch`` and ``google_search``,
Amazon's ``nova_grounding``, OpenRouter's ``openrouter:web_search``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from providers.neutral.fields import Drops, join_path
from providers.neutral.quirks import Quirks
from providers.neutral.request import NativeTool, Request
from providers.neutral.values import as_object, as_string
from streams.events import Api

NAME: Final = "web_search"
"""The name of a search tool in every API that names it."""

_KINDS: Final[Mapping[Api, tuple[str, ...]]] = {
    "chat": ("openrouter:web_search",), "messages": ("web_search_2",), "responses": (NAME,),
    "gemini": ("googleSearch", "google_search"), "interactions": ("google_search",),
}  # fmt: skip
"""How the types of search tools begin. Most end with a date."""

_PATHS: Final[Mapping[str, Mapping[str, str]]] = {
    "messages": {
        "max_uses": "max_uses", "allowed": "allowed_domains", "blocked": "blocked_domains", "place": "user_location",
    },
    "responses": {
        "allowed": "filters.allowed_domains", "blocked": "filters.blocked_domains", "place": "user_location",
        "size": "search_context_size",
    },
    "openrouter": {
        "max_uses": "parameters.max_uses",
        "allowed": "parameters.allowed_domains", "blocked": "parameters.excluded_domains",
        "place": "parameters.user_location", "size": "parameters.search_context_size",
    },
    "options": {"place": "user_location", "size": "search_context_size"},
}  # fmt: skip
"""The settings of a search by the form of its tool, with their paths."""

_FORMS: Final[Mapping[Api, str]] = {"messages": "messages", "responses": "responses", "chat": "openrouter"}

_EXCLUSIVE: Final = ("messages", "openrouter")
"""The forms that reject both lists of domains in one tool (https://platform.claude.com/docs/en/agents-and-tools/
tool-use/web-search-tool, https://openrouter.ai/docs/guides/features/server-tools/web-search)."""

_IDENTIFYING: Final = ("type", "name")
_PLACE: Final = ("city", "region", "country", "timezone")
"""The members of a user's location, which all APIs have."""


@attrs.frozen
class Search:
    """The search that a request offers: its place ``at``, and its ``settings`` with their paths.

    ``others`` are the places of settings that only its own API has. ``is_offline``: it must not reach live pages, as
    Codex can require, and other providers' searches do."""

    at: str
    settings: Mapping[str, tuple[Any, str]]
    others: tuple[str, ...] = ()
    is_offline: bool = False

    def domains(self, which: str) -> tuple[str, ...]:
        """Return the ``allowed`` or the ``blocked`` domains."""
        value, _ = self.settings.get(which, (None, ""))
        return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()

    @property
    def max_uses(self) -> int | None:
        """The most searches of an answer."""
        value, _ = self.settings.get("max_uses", (None, ""))
        return value if isinstance(value, int) and value >= 0 else None


def is_search(tool: object) -> bool:
    """Return whether ``tool`` is a web search that a provider runs."""
    if not isinstance(tool, NativeTool):
        return False
    if tool.api == "converse":
        return as_object(as_object(tool.item).get("systemTool")).get("name") == "nova_grounding"
    return tool.kind.startswith(_KINDS.get(tool.api, ()))


def becomes_another(tool: NativeTool) -> bool:
    """Return whether ``tool`` is a web search that another provider's can replace."""
    return is_search(tool) and not read_search(tool).is_offline


def settings_of(tool: NativeTool) -> tuple[str, ...]:
    """Return the paths of the settings of a search, which Google's has not."""
    found = ((name, value) for name, value in _settings(tool).items() if name not in _IDENTIFYING)
    return tuple(join_path(tool.at, name) for name, value in found if value is not None)


def is_own_search(item: Mapping[str, Any]) -> bool:
    """Return whether ``item`` is the web search of Messages."""
    return as_string(item.get("type")).startswith(_KINDS["messages"])


def without_search_options(request: Request) -> Request:
    """Return ``request`` without Chat's ``web_search_options``, which have become a tool."""
    rest = {name: value for name, value in request.parameters.items() if name != "web_search_options"}
    return attrs.evolve(request, parameters=rest)


def find_search(request: Request) -> Search | None:
    """Return the first web search that ``request`` offers, ``None`` without one."""
    if (options := request.parameters.get("web_search_options")) is not None:
        return _read_search("options", as_object(options.value), options.at)
    for tool in (*request.tools, *request.declared):
        if isinstance(tool, NativeTool) and is_search(tool):
            return read_search(tool)
    return None


def read_search(tool: NativeTool) -> Search:
    """Return the search that ``tool`` offers."""
    return _read_search(_FORMS.get(tool.api, ""), _settings(tool), tool.at)


def _settings(tool: NativeTool) -> Mapping[str, Any]:
    """Return the object with the settings. Google's and Amazon's is a member with the tool's name."""
    item = as_object(tool.item)
    return as_object(item.get(tool.kind, item))


def _read_search(form: str, item: Mapping[str, Any], at: str) -> Search:
    settings: dict[str, tuple[Any, str]] = {}
    known: dict[str, set[str]] = {}
    unread: list[str] = []
    for name, path in _PATHS.get(form, {}).items():
        outer, _, inner = path.rpartition(".")
        found = as_object(item.get(outer)) if outer else item
        known.setdefault(outer, set()).add(inner)
        if (value := found.get(inner)) not in (None, []):
            settings[name] = (_flat_place(value) if name == "place" else value, join_path(at, path))
            if name == "place":
                unread += [f"{path}.{one}" for one in _unread_of_place(as_object(value))]
    read = (*_IDENTIFYING, *known.get("", ()), *known)
    unread += [name for name, value in item.items() if value is not None and name not in read]
    for outer in filter(None, known):
        unread += [f"{outer}.{name}" for name in as_object(item.get(outer)) if name not in known[outer]]
    places = tuple(join_path(at, name) for name in unread)
    return Search(at, settings, places, item.get("external_web_access") is False)


def _unread_of_place(place: Mapping[str, Any]) -> list[str]:
    """Return the paths of the members of a user's location that other APIs do not have."""
    inner = place.get("approximate")
    if not isinstance(inner, dict):
        return [name for name in place if name not in ("type", *_PLACE)]
    others = [name for name in place if name not in ("type", "approximate")]
    return [*others, *(f"approximate.{name}" for name in inner if name not in _PLACE)]


def _flat_place(value: Any) -> Any:
    """Return a user's location with Chat's inner object in place of the outer one."""
    place = as_object(value)
    inner = place.get("approximate")
    found = inner if isinstance(inner, dict) else place
    return {"type": "approximate", **{name: found[name] for name in _PLACE if found.get(name) is not None}}


def write_search(request: Request, quirks: Quirks, api: Api, drops: Drops) -> tuple[str, Mapping[str, Any]] | None:
    """Return the name of the form of a search at a provider with ``api``, and the tool or members in that form.

    ``None`` if the provider has no search, or the client's API is the provider's. Adds the lost settings to ``drops``.
    """
    form = search_form(quirks, api)
    if form is None or request.api == api or (search := find_search(request)) is None or search.is_offline:
        return None
    return form, write_form(form, search, drops)


def write_form(form: str, search: Search, drops: Drops) -> dict[str, Any]:
    """Return ``search`` as a tool, or as members of a Chat request, in ``form``. Adds lost settings to ``drops``."""
    settings, item = dict(search.settings), dict(_HEADS.get(form, {}))
    if "allowed" in settings and "blocked" in settings and form in _EXCLUSIVE:
        drops.add(settings.pop("blocked")[1])
    if form == "always":
        domains = [*search.domains("allowed"), *(f"-{one}" for one in search.domains("blocked"))]
        for name in ("allowed", "blocked"):
            settings.pop(name, None)
        if domains:
            item["search_domain_filter"] = domains
        return {**item, **_options(settings, drops, search.others)}
    if form == "options":
        return _options(settings, drops, search.others)
    for name, (value, at) in settings.items():
        if (path := _PATHS[form].get(name)) is None:
            drops.add(at)
            continue
        outer, _, inner = path.rpartition(".")
        (item.setdefault(outer, {}) if outer else item)[inner] = value
    drops.add(*search.others)
    return item


_HEADS: Final[Mapping[str, Mapping[str, Any]]] = {
    "messages": {"type": "web_search_20250305", "name": NAME}, "responses": {"type": NAME},
    "openrouter": {"type": "openrouter:web_search"},
}  # fmt: skip


def _options(settings: Mapping[str, tuple[Any, str]], drops: Drops, others: Iterable[str]) -> dict[str, Any]:
    """Return Chat's ``web_search_options``."""
    options: dict[str, Any] = {}
    for name, (value, at) in settings.items():
        if name == "size":
            options["search_context_size"] = value
        elif name == "place" and isinstance(value, dict):
            rest = {key: inner for key, inner in value.items() if key != "type"}
            options["user_location"] = {"type": "approximate", "approximate": rest}
        else:
            drops.add(at)
    drops.add(*others)
    return {"web_search_options": options}


def search_form(quirks: Quirks, api: Api, *, has_functions: bool = False) -> str | None:
    """Return the form of a provider's own search in ``api``, ``None`` without one. Some have none if a request also
    ``has_functions``."""
    if has_functions and api in ("gemini", "interactions") and not quirks.mixed_tools:
        return None
    match quirks.web_search:
        case "tool" if api != "chat":
            return api
        case "openrouter":
            return "openrouter" if api == "chat" else api
        case "options" | "always" if api == "chat":
            return quirks.web_search
        case "always":
            return api
        case _:
            return None
