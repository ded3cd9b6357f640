"""The command ``import``: a LiteLLM proxy's configuration (https://docs.litellm.ai/docs/proxy/configs) as one of ours.

What has a counterpart here is carried over, everything else is named in a comment where it stood. Keys that are written
out in the file are not copied: the result names a variable to put each of them into.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click
import yaml

from gateway.config import document
from gateway.config.loading import ConfigError, from_mapping
from providers import catalog

VERSION = "v0.4.0"
PORT = 4000  # LiteLLM's

_ENVIRONMENT = "os.environ/"
_SPOKEN = ("chat", "completion", "responses")


@attrs.frozen
class Origin:
    """What one of LiteLLM's providers is here. ``key_env`` is where LiteLLM looks for a key if the file gives none,
    ``base_url`` where it asks."""

    provider: str
    key_env: str | None = None
    base_url: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


ORIGINS: Mapping[str, Origin] = {
    "openai": Origin("openai", "OPENAI_API_KEY"),
    # It translates Chat clients to Messages, as `speaks: [messages]` does.
    "anthropic": Origin("anthropic", "ANTHROPIC_API_KEY", extra={"speaks": ["messages"]}),
    "azure": Origin("azure_openai", "AZURE_API_KEY"),
    "gemini": Origin("gemini", "GEMINI_API_KEY"),
    "groq": Origin("groq", "GROQ_API_KEY"),
    "mistral": Origin("mistral", "MISTRAL_API_KEY"),
    "deepseek": Origin("deepseek", "DEEPSEEK_API_KEY"),
    "xai": Origin("xai", "XAI_API_KEY"),
    "together_ai": Origin("together_ai", "TOGETHERAI_API_KEY"),
    "moonshot": Origin("moonshotai", "MOONSHOT_API_KEY"),
    "openrouter": Origin("openrouter", "OPENROUTER_API_KEY"),
    "perplexity": Origin("perplexity", "PERPLEXITYAI_API_KEY"),
    "dashscope": Origin("qwen", "DASHSCOPE_API_KEY"),
    "vercel_ai_gateway": Origin("vercel", "VERCEL_AI_GATEWAY_API_KEY"),
    "ollama": Origin("ollama", base_url="http://localhost:11434"),
    "ollama_chat": Origin("ollama", base_url="http://localhost:11434"),
    "hosted_vllm": Origin("vllm", "HOSTED_VLLM_API_KEY"),
    "lm_studio": Origin("lm_studio"),
    "llamafile": Origin("llamafile"),
    "custom_openai": Origin("compatible"),
    "openai_like": Origin("compatible"),
    "litellm_proxy": Origin("litellm_proxy", "LITELLM_PROXY_API_KEY"),
}
"""By the prefix of ``litellm_params.model``."""

COMPATIBLE = "compatible"
"""What ``openai/`` with somebody else's address becomes: OpenAI's own takes more than most servers know."""

CARRIED = frozenset({"model", "api_base", "base_url", "api_key", "api_version", "extra_headers", "organization"})
NO_MATTER = frozenset({"drop_params", "additional_drop_params", "set_verbose", "json_logs"})
"""Settings that ask for what happens here anyway, or for nothing that a client could see."""

REASONS: Mapping[str, str] = {
    "fallbacks": "fallbacks are not here yet: a request goes to one provider",
    "default_fallbacks": "fallbacks are not here yet: a request goes to one provider",
    "context_window_fallbacks": "fallbacks are not here yet: a request goes to one provider",
    "content_policy_fallbacks": "fallbacks are not here yet: a request goes to one provider",
    "num_retries": "failed requests are not repeated yet",
    "max_retries": "failed requests are not repeated yet",
    "retry_policy": "failed requests are not repeated yet",
    "routing_strategy": "routing between providers is not here yet",
    "rpm": "there are no rate limits yet",
    "tpm": "there are no rate limits yet",
    "timeout": "a limit on silence fits streams better: timeouts has first_byte, idle and total",
    "stream_timeout": "a limit on silence fits streams better: timeouts has first_byte, idle and total",
    "request_timeout": "a limit on silence fits streams better: timeouts has first_byte, idle and total",
    "database_url": "keys made with /key/generate are in that database: list who may come in under client_keys",
    "cache": "answers are not cached",
    "cache_params": "answers are not cached",
    "include": "read on its own: import each of these files",
    "environment_variables": "set them where trigate is started",
    "litellm_credential_name": "write the key and the address into the model's entry",
    "guardrails": "guardrails are not here",
}
_NOT_CARRIED = "has no counterpart here"


@attrs.define
class Result:
    """The sections of the new file, and how much of the old one they hold."""

    entries: list[tuple[list[str], dict[str, Any]]] = attrs.field(factory=list)
    aliases: dict[str, Any] = attrs.field(factory=dict)
    client_keys: list[dict[str, Any]] = attrs.field(factory=list)
    remarks: list[str] = attrs.field(factory=list)
    """What stands at the end: settings that were left out."""
    lost: int = 0

    def leave_out(self, what: str, why: str) -> str:
        self.lost += 1
        return f"not carried: {what}: {why}"


def run(file: Path, write: Path | None) -> int:
    """The exit status: 0 if there is a configuration, 1 if nothing of the file can be had here, or it is unreadable."""
    try:
        read = document.read(file.read_bytes(), str(file))
        result = imported(read.content)
        text = "\n".join(lines(result, file.name)) + "\n"
        from_mapping(yaml.safe_load(text))
        if write is None:
            click.echo(text, nl=False)
        else:
            with write.open("x") as into:
                into.write(text)
    except ConfigError as error:
        click.echo(str(error), err=True)
        return 1
    except OSError as error:
        click.echo(f"{error.filename}: {(error.strerror or 'unusable').lower()}", err=True)
        return 1
    click.echo(
        f"models carried over: {len(result.entries)}; settings left out, and named in comments: {result.lost}", err=True
    )
    return 0


def imported(content: Any) -> Result:
    """Raises ``ConfigError`` for what is no configuration of LiteLLM's with at least one model that can be had here."""
    if not isinstance(content, dict) or not isinstance(content.get("model_list"), list):
        raise _mistake("no model_list", "give the config.yaml of a LiteLLM proxy")
    result = Result()
    remarks: list[str] = []  # of models that are left out, before the next one that is not
    taken: dict[str, str] = {}
    for item in content["model_list"]:
        _model(item, result, remarks, taken)
    if not result.entries:
        raise _mistake("no model that can be had here", "; ".join(remarks) or "its model_list is empty")
    result.remarks += remarks
    _aliases(content, result)
    _general(content.get("general_settings"), result)
    for section, settings in content.items():
        if section in ("model_list", "general_settings"):
            continue
        nested = section in ("litellm_settings", "router_settings") and isinstance(settings, dict)
        for name in settings if nested else (section,):
            if name not in NO_MATTER and name != "model_group_alias":
                what = f"{section}.{name}" if nested else section
                result.remarks.append(result.leave_out(what, REASONS.get(name, _NOT_CARRIED)))
    return result


def _mistake(found: str, expected: str) -> ConfigError:
    return ConfigError((document.Mistake("", "model_list", found, expected),))


# Models


def _model(item: Any, result: Result, remarks: list[str], taken: dict[str, str]) -> None:
    """Add the entry for one item of ``model_list``, or a remark on why there is none."""
    params = item.get("litellm_params") if isinstance(item, dict) else None
    name = item.get("model_name") if isinstance(item, dict) else None
    if not isinstance(params, dict) or not isinstance(name, str) or not isinstance(params.get("model"), str):
        remarks.append(result.leave_out("an item of model_list", "it needs a model_name and litellm_params.model"))
        return
    model = params["model"]
    what = f"{name} ({model})"
    if name in taken:
        remarks.append(result.leave_out(what, f"{taken[name]} has the name; sharing one among several is not here yet"))
        return
    try:
        notes, entry = _entry(name, params, item.get("model_info"), result)
        from_mapping({"version": VERSION, "model_providers": [entry]})
    except _NotHere as reason:
        remarks.append(result.leave_out(what, str(reason)))
    except ConfigError as error:
        remarks.append(result.leave_out(what, error.mistakes[0].found))
    else:
        taken[name] = entry["model"]
        result.entries.append(([*remarks, *notes], entry))
        remarks.clear()


class _NotHere(Exception):
    """A model that cannot be had here. The message says why."""


def _entry(name: str, params: dict[str, Any], info: Any, result: Result) -> tuple[list[str], dict[str, Any]]:
    """Remarks and the entry. Raises ``_NotHere``."""
    mode = info.get("mode") if isinstance(info, dict) else None
    if mode is not None and mode not in _SPOKEN:
        raise _NotHere(f"{mode} is not served here")
    prefix, rest = _split(params["model"])
    base = _text(params.get("api_base") or params.get("base_url"))
    origin = ORIGINS.get(prefix)
    if origin is None:
        raise _NotHere(f"the provider {prefix} has no counterpart here")
    provider, extra = origin.provider, dict(origin.extra)
    if rest.startswith("responses/") and prefix in ("openai", "azure"):
        rest, extra = rest.removeprefix("responses/"), {"speaks": ["responses"]}
    if prefix == "openai" and base is not None and not base.startswith("https://api.openai.com"):
        provider = COMPATIBLE
    entry: dict[str, Any] = {"model": f"{provider}/{rest}", "name": _name(name, rest)}
    if entry["name"] == entry["model"]:
        del entry["name"]
    if base := base or origin.base_url:
        version = _text(params.get("api_version"))
        entry["base_url"] = f"{base}?api-version={version}" if version and prefix == "azure" else base
    notes, key = _key(name, params.get("api_key"), origin.key_env)
    if key is not None:
        entry["access_key"] = key
    if headers := dict(_headers(params)):
        entry["headers"] = headers
    entry.update(extra)
    for param in params:
        if param not in CARRIED and param not in NO_MATTER:
            why = REASONS.get(param, "what requests do not say is left to the provider")
            notes.append(result.leave_out(f"{param} of {name}", why))
    return notes, entry


def _split(model: str) -> tuple[str, str]:
    """The provider and its model. LiteLLM knows some models without a prefix; so does our catalogue. Raises
    ``_NotHere``."""
    prefix, slash, rest = model.partition("/")
    if slash and rest:
        return prefix, rest
    for known, origin in ORIGINS.items():
        row = catalog.find(origin.provider)
        if row is not None and (model in row.models or row.has(model)):
            return known, model
    raise _NotHere("it names no provider: write provider/model")


def _name(name: str, rest: str) -> str:
    """Raises ``_NotHere`` for a pattern other than ``prefix/*``."""
    wild = rest == "*" and name.endswith("/*") and name.count("*") == 1
    if not wild and "*" in name + rest:
        raise _NotHere("of patterns only provider/* is known here")
    return _literal(name)


def _key(name: str, key: Any, default: str | None) -> tuple[list[str], str | None]:
    if isinstance(key, str) and key.startswith(_ENVIRONMENT):
        return [], _text(key)
    if not key:
        return [], None if default is None else f"${default}"
    variable = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    variable = f"{'KEY_' if variable[:1].isdigit() else ''}{variable}_API_KEY"
    return [f"the key stands in LiteLLM's file: put it into {variable}"], f"${variable}"


def _headers(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if organization := _text(params.get("organization")):
        yield "openai-organization", organization
    given = params.get("extra_headers")
    for header, value in given.items() if isinstance(given, dict) else ():
        if (text := _text(value)) is not None:
            yield header, text


def _text(value: Any) -> str | None:
    """A value as we would write it: variables in our way, and other dollar signs doubled."""
    if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
        return None
    text = str(value)
    return f"${text.removeprefix(_ENVIRONMENT)}" if text.startswith(_ENVIRONMENT) else _literal(text)


def _literal(text: str) -> str:
    return text.replace("$", "$$")


# The rest


def _aliases(content: dict[str, Any], result: Result) -> None:
    settings = content.get("router_settings")
    given = settings.get("model_group_alias") if isinstance(settings, dict) else None
    names = {entry.get("name", entry["model"]) for _, entry in result.entries}
    for alias, target in given.items() if isinstance(given, dict) else ():
        model = target.get("model") if isinstance(target, dict) else target
        if isinstance(model, str) and _literal(model) in names and alias not in names:
            result.aliases[alias] = {"target": _literal(model)}
        else:
            result.remarks.append(result.leave_out(f"the alias {alias}", "its model is not above, or has its name"))


def _general(settings: Any, result: Result) -> None:
    for name, value in settings.items() if isinstance(settings, dict) else ():
        if name == "master_key" and value:
            notes, key = _key("litellm_master", value, None)
            result.client_keys.append({"name": "master", "key": key})
            result.remarks += [note.replace("the key", "the master_key") for note in notes]
        elif name == "completion_model" and _default(value, result):
            continue
        elif name not in NO_MATTER:
            result.remarks.append(result.leave_out(f"general_settings.{name}", REASONS.get(name, _NOT_CARRIED)))


def _default(name: Any, result: Result) -> bool:
    for _, entry in result.entries:
        if entry.get("name", entry["model"]) == name and not entry["model"].endswith("/*"):
            entry["default"] = True
            return True
    return False


# The text


def lines(result: Result, source: str) -> Iterator[str]:
    """The lines of the new file."""
    yield f"# From {_one_line(source)} by trigate import. Try it: trigate check"
    yield f"version: {VERSION}"
    yield ""
    yield "listeners:"
    yield f"  # {PORT} is LiteLLM's port; it listens on all addresses of its machine, which is `address: 0.0.0.0`"
    yield f"  - {{type: model, name: models, address: 127.0.0.1, port: {PORT}}}"
    yield ""
    yield "model_providers:"
    for remarks, entry in result.entries:
        yield from (f"  # {_one_line(remark)}" for remark in remarks)
        for number, (key, value) in enumerate(entry.items()):
            yield f"  {' ' if number else '-'} {key}: {_yaml(value)}"
    if result.aliases:
        yield from ("", "model_aliases:")
        yield from (f"  {_yaml(alias)}: {_yaml(target)}" for alias, target in result.aliases.items())
    if result.client_keys:
        yield from ("", "client_keys:")
        yield from (f"  - {_yaml(key)}" for key in result.client_keys)
    if result.remarks:
        yield ""
        yield from (f"# {_one_line(remark)}" for remark in result.remarks)


def _yaml(value: Any) -> str:
    return yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)[1:-2]


def _one_line(text: str) -> str:
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]+", " ", text)
