"""Converts LiteLLM's response cache (https://docs.litellm.ai/docs/proxy/caching)."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.imported_values import positive, section_of, text_of
from gateway.commands.imports.result import Result

SETTINGS: Final = frozenset(("litellm_settings.cache", "litellm_settings.cache_params"))
"""The settings that this module reads."""

_LIFETIMES: Final[Mapping[str, tuple[str, float]]] = {
    "local": ("default_in_memory_ttl", 600), "redis": ("default_in_redis_ttl", 60),
}  # fmt: skip
"""The setting for the lifetime of answers in each store, besides ``ttl``, and LiteLLM's default in seconds."""

_READ: Final = frozenset(
    ("type", "ttl", "host", "port", "password", "url", "namespace", "ssl", "supported_call_types", "mode", "db",
     "default_in_memory_ttl", "default_in_redis_ttl", "max_connections")
)  # fmt: skip
_MAX_TTL: Final = 86400
"""The default of ``cache.max_ttl`` in seconds."""


def add_cache(settings: Mapping[str, Any], result: Result) -> bool:
    """Add the cache in ``litellm_settings`` for all client keys, and return whether it could be converted.

    All clients share its answers, as in LiteLLM. Caches by similarity, and those that clients request, are not
    converted; neither is one without client keys."""
    params = section_of(settings, "cache_params")
    store = str(params.get("type") or "redis")
    calls = params.get("supported_call_types")
    is_for_answers = not calls or (isinstance(calls, list) and {"acompletion", "completion"} & {*map(str, calls)})
    is_usual = store in _LIFETIMES and params.get("mode") in (None, "default_on") and set(params) <= _READ
    if settings.get("cache") is not True or not (is_usual and is_for_answers and result.client_keys):
        return False
    member, usual = _LIFETIMES[store]
    ttl = positive(params.get("ttl")) or positive(params.get(member)) or usual
    cache = {"type": "redis", "url": _address(params, result)} if store == "redis" else {}
    if ttl > _MAX_TTL:
        cache["max_ttl"] = f"{ttl:g}s"
    if cache:
        result.settings["cache"] = cache
    for client in result.client_keys:
        client["cache"] = {"ttl": f"{ttl:g}s", "scope": "all"}
    result.remarks.append("the cache starts empty; it also serves other endpoints than those of supported_call_types")
    return True


def _address(params: Mapping[str, Any], result: Result) -> str:
    """Return the URL of the Redis server; LiteLLM reads missing parts from the environment."""
    owner = SecretOwner("litellm cache", result.secrets, result.remarks)
    if params.get("url"):
        return owner.read_secret("url", params["url"]) or "$REDIS_URL"
    password = owner.read_secret("password", params.get("password"))
    host, port = (text_of(params.get(name)) or default for name, default in (("host", "$REDIS_HOST"), ("port", "6379")))
    name = f":{_variable_in_text(password)}@" if password else ""
    return f"redis{'s' if params.get('ssl') is True else ''}://{name}{_variable_in_text(host)}:{_variable_in_text(port)}/{_database(params)}"


def _variable_in_text(text: str) -> str:
    """Return ``$NAME`` as ``${NAME}``, which may be a part of a longer text."""
    is_variable = text.startswith("$") and not text.startswith("$$")
    return f"${{{text[1:]}}}" if is_variable else text


def _database(params: Mapping[str, Any]) -> str:
    number = positive(params.get("db"))
    return "" if number is None else f"{number:g}"
