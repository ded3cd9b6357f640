"""Converts the ``config.json`` of claude-code-router (https://github.com/musistudio/claude-code-router).

Its router chooses by the kind of a request: ``longContext``, then ``background``, ``webSearch`` and ``think``, else
``default`` (``packages/core/src/utils/router.ts``). These are targets of one wildcard alias here."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from configfile import document
from configfile.document import ConfigError
from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.imported_values import (
    ENVIRONMENT,
    escape_dollars,
    is_switched_off,
    items_of,
    list_of,
    mapping_of,
    positive,
    section_of,
    timeouts_of,
)
from gateway.commands.imports.litellm_tables import COMPATIBLE
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result
from providers.catalog.providers import CATALOG

ALIAS: Final = "claude-*"
_THRESHOLD: Final = 60000
_PORT: Final = 3456
_KINDS: Final = {"background": "background", "webSearch": "web_search", "think": "thinking"}
"""The kinds of requests with a model of their own, in the order of precedence after ``longContext``."""

_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
_OUTSIDE_JSON: Final = re.compile(rb'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/|\t', re.DOTALL)

_NEEDLESS: Final = frozenset((
    "LOG", "LOG_LEVEL", "NON_INTERACTIVE_MODE", "CLAUDE_PATH", "StatusLine", "API_TIMEOUT_MS", "APIKEY", "HOST", "PORT",
    "Providers", "Router", "fallback",
))  # fmt: skip
"""The settings that are converted elsewhere, or need no counterpart."""

_LOST: Final[Mapping[str, tuple[Group, str]]] = {
    "PROXY_URL": (Group.NAMES, "set the variable HTTPS_PROXY for trigate serve"),
    "CUSTOM_ROUTER_PATH": (Group.NAMES, "a program cannot choose targets: write aliases with `when`"),
    "REWRITE_SYSTEM_PROMPT": (Group.NAMES, "set `request: {system: …}` in the alias"),
    "transformers": (Group.NAMES, "JavaScript cannot run here"),
    "forceUseImageAgent": (Group.NAMES, "no model describes images for another"),
}

_USUAL: Final = frozenset((
    "anthropic", "openai", "deepseek", "gemini", "openrouter", "groq", "cerebras", "vercel", "reasoning", "sampling",
    "cleancache", "maxtoken", "streamoptions", "customparams",
))  # fmt: skip
"""The transformers that the import converts, or that repeat the own work of the gateway."""


def read_json5(data: bytes) -> bytes:
    """Return the JSON ``data`` without comments and tabs, which YAML does not have."""
    if not data.lstrip().startswith((b"{", b"//", b"/*")):
        return data
    return _OUTSIDE_JSON.sub(lambda found: found[1] or b" " * (found[0] == b"\t"), data)


def convert_claude_code_router(content: Mapping[str, Any]) -> Result:
    """Convert ``content``. Raises ``ConfigError`` if it has no model."""
    result = Result(port=int(positive(content.get("PORT")) or _PORT), exact=False, no_keys_warning="")
    result.comments["listeners"] = f"{result.port} is the old port. HOST was {content.get('HOST') or '127.0.0.1'}"
    for provider in items_of(content.get("Providers")):
        _add_provider(provider, result)
    if not result.entries:
        raise ConfigError((document.Mistake("", "Providers", "no model can be converted", "list models"),))
    _add_router(content, result)
    if key := content.get("APIKEY"):
        owner = SecretOwner("claude_code_router", result.secrets)
        result.client_keys.append({"name": "claude-code-router", "key": owner.read_client_key(_with_variable(key))})
        result.remarks += (note.replace("the key", "the APIKEY") for note in owner.notes)
    if timeouts := timeouts_of((positive(content.get("API_TIMEOUT_MS")) or 0) / 1000):
        result.settings["timeouts"] = timeouts
    used = " ".join(map(str, items_of(content.get("Providers"))))
    for name, value in content.items():
        if name not in _NEEDLESS and not is_switched_off(value) and f"${name}" not in used.replace("{", ""):
            result.lose(str(name), _LOST.get(str(name), (Group.UNKNOWN, "")))
    result.remarks.append("claude-code-router sent every other name to its default model; here such names get 404")
    return result


# Models


def _add_provider(provider: Mapping[str, Any], result: Result) -> None:
    """Add an entry for each model of a provider, and an alias with the name that clients used."""
    name, url = str(provider.get("name") or ""), str(provider.get("api_base_url") or "")
    models = [one for one in list_of(provider.get("models")) if isinstance(one, str) and one]
    result.models += len(models)
    transformers = mapping_of(provider.get("transformer"))
    is_anthropic = url.rstrip("/").endswith("/messages") or "anthropic" in dict(_transformers(transformers))
    owner = SecretOwner(name, result.secrets)
    key = owner.read_key(_with_variable(provider.get("api_key")), None)
    known = next((row for row in CATALOG.values() if row.base_url and _host(row.base_url) == _host(url)), None)
    for number, model in enumerate(models):
        if not (name and _host(url)):
            result.lose_model(f"{name},{model}", f"{name},{model}", "name or api_base_url is missing")
            continue
        entry: dict[str, Any] = {"model": f"{known.id if known else COMPATIBLE}/{escape_dollars(model)}"}
        own = f"{name}/{escape_dollars(model)}"
        entry |= {} if own == entry["model"] else {"name": own}
        if known is None:
            entry["base_url"] = re.sub(r"/(chat/completions|messages)/?$", "", escape_dollars(url))
            entry |= {"speaks": ["messages"]} if is_anthropic else {}
        entry |= {} if key is None else {"access_key": key}
        for part in (transformers, mapping_of(transformers.get(model))):
            _convert_transformers(dict(_transformers(part)), own, entry, result)
        result.entries.append((owner.notes if number == 0 else [], entry))
        result.aliases[f"{name},{escape_dollars(model)}"] = {"target": own}


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _with_variable(value: Any) -> Any:
    """Return a secret; a variable is written as the other importers do."""
    found = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return value if found is None else f"{ENVIRONMENT}{found[1]}"


def _transformers(part: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name of each transformer in lower case, and its options."""
    for one in list_of(part.get("use")):
        named = list_of(one) or [one]
        yield str(named[0]).lower(), mapping_of(named[1]) if len(named) > 1 else {}


def _convert_transformers(
    found: Mapping[str, Mapping[str, Any]], name: str, entry: dict[str, Any], result: Result
) -> None:
    for transformer, options in found.items():
        if transformer == "maxtoken" and positive(options.get("max_tokens")):
            entry["request"] = {"max": {"max_tokens": int(options["max_tokens"])}}
        elif transformer == "openrouter" and options.get("provider"):
            result.lose(f"provider of {name}", (Group.NAMES, "choose OpenRouter's providers in its own settings"))
        elif transformer in ("tooluse", "enhancetool"):
            result.lose(f"{transformer} of {name}", (Group.TRIFLES, ""))
        elif transformer not in _USUAL:
            result.lose(f"the transformer {transformer} of {name}", (Group.NAMES, "JavaScript cannot run here"))


# Routes


def _add_router(content: Mapping[str, Any], result: Result) -> None:
    """Add the alias for Claude's names."""
    router, fallback = section_of(content, "Router"), section_of(content, "fallback")
    default = _target(router.get("default"), "Router.default", result)
    long = f"tokens > {int(positive(router.get('longContextThreshold')) or _THRESHOLD)}"
    special: dict[str, list[str]] = {}
    for setting, kind in {"longContext": long, **_KINDS}.items():
        target = _target(router.get(setting), f"Router.{setting}", result)
        if target is not None and target != default:
            special.setdefault(target, []).append(kind)
    if router.get("image"):
        result.lose("Router.image", _LOST["forceUseImageAgent"])
    if default is None:
        result.lose("Router.default", (Group.NAMES, f"write `model_aliases: {{'{ALIAS}': {{target: …}}}}`"))
        return
    next_ones = [_target(one, "fallback.default", result) for one in list_of(fallback.get("default"))]
    for setting in fallback.keys() - {"default"}:
        result.lose(
            f"fallback.{setting}", (Group.PROTECTION, "all kinds of requests fall back to the default's targets")
        )
    rest = [one for one in dict.fromkeys(next_ones) if one not in (None, default, *special)]
    targets = [{"target": target, "when": kinds} for target, kinds in special.items()]
    result.aliases[ALIAS] = {"targets": [*targets, default, *rest]} if targets or rest else {"target": default}


def _target(value: Any, where: str, result: Result) -> str | None:
    """Return the entry of ``provider,model``, ``None`` without one."""
    alias = result.aliases.get(escape_dollars(str(value or "")))
    if alias is None and value:
        result.lose(f"{where} ({value})", (Group.NAMES, "Providers has no such model"))
    return None if alias is None else str(alias["target"])
