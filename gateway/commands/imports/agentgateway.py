"""Reads agentgateway's files (https://agentgateway.dev/docs): the section ``llm``, and the AI backends of ``binds``."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.commands.imports.foreign_keys import AGENTGATEWAY, lose_unknown
from gateway.commands.imports.foreign_models import (
    ForeignModels,
    ForeignRoute,
    as_seconds,
    from_dollar,
    plain_text,
)
from gateway.commands.imports.imported_values import items_of, mapping_of
from gateway.commands.imports.losses import Group

PORT: Final = 4000
_DIGEST: Final = re.compile("sha256:[0-9a-fA-F]{64}")

_PREFIXES: Final[Mapping[str, str]] = {
    "openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "vertex": "vertex_ai", "bedrock": "bedrock",
    "cohere": "cohere", "ollama": "ollama", "cerebras": "cerebras", "deepinfra": "deepinfra", "deepseek": "deepseek",
    "groq": "groq", "mistral": "mistral", "openrouter": "openrouter", "togetherai": "together_ai", "xai": "xai",
    "fireworks": "fireworks_ai", "custom": "custom_openai",
}  # fmt: skip
"""LiteLLM's prefixes for agentgateway's providers; Azure's depends on the resource."""

_ADDRESSES: Final = ("hostOverride", "pathOverride", "pathPrefix")
_READ: Final = frozenset(
    ("name", "provider", "params", "transformation", "defaults", "health", "guardrails", "visibility", "matches",
     "overrides", "requestHeaders", "responseHeaders", "promptCaching", "auth", "backendTLS",
     "backendTunnel", "serverTools")
)  # fmt: skip
_LOST: Final[Mapping[str, tuple[Group, str]]] = {
    "guardrails": (Group.PROTECTION, "write these checks under `steps`"),
    "overrides": (Group.NAMES, "set `request: {set: …}` in the entry"),
    "requestHeaders": (Group.NAMES, "set `headers` in the entry"),
    "responseHeaders": (Group.TRIFLES, "the gateway passes only known headers of providers"),
    "promptCaching": (Group.MONEY, "set `prompt_cache: {marks: …}` in the entry"),
    "serverTools": (Group.NAMES, "trigate does not run tools for clients"),
    "auth": (Group.NAMES, "set `sign_in` in the entry"),
    "backendTLS": (Group.PROTECTION, "set the CA at the root: overrides.upstream_tls_ca_path"),
    "timeout": (Group.TRIFLES, "set `timeouts` in the entry"),
    "backendTunnel": (Group.NAMES, "set HTTPS_PROXY where trigate starts"),
}
_POLICIES: Final[Mapping[str, tuple[Group, str]]] = {
    "jwtAuth": (Group.PROTECTION, "write the issuer under `issuers` (docs/people.md)"),
    "authorization": (Group.PROTECTION, "list `models` for client keys, groups and rules of issuers"),
    "localRateLimit": (Group.PROTECTION, "set `ratelimits` at the root, or for client keys and entries"),
    "remoteRateLimit": (Group.PROTECTION, "set `ratelimits` for client keys, with `counters` for several gateways"),
    "cors": (Group.NAMES, "set `cors` at the root"),
}
_ROOT: Final[Mapping[str, tuple[Group, str]]] = {
    "mcp": (Group.NAMES, "write `mcp_servers` (docs/mcp.md)"),
    "frontendPolicies": (Group.LOGS, "the log is JSON; set `tracing` for traces"),
    "backends": (Group.NAMES, "only `llm` and AI backends of `binds` are converted"),
    "routes": (Group.NAMES, "only `llm` and AI backends of `binds` are converted"),
}


def read_agentgateway(content: Any) -> ForeignModels | None:
    """Return the parts of a file of agentgateway, ``None`` for other files."""
    if not isinstance(content, dict):
        return None
    llm, binds = content.get("llm"), content.get("binds")
    if not (isinstance(llm, dict) and isinstance(llm.get("models"), list)) and not isinstance(binds, list):
        return None
    section = llm if isinstance(llm, dict) else {}
    port = section.get("port") if isinstance(llm, dict) else next((one.get("port") for one in items_of(binds)), None)
    found = ForeignModels("agentgateway", port if type(port) is int and 0 < port < 2**16 else PORT)
    providers = {str(one.get("name")): one for one in items_of(section.get("providers"))}
    for model in items_of(section.get("models")):
        _add_model(model, providers, found)
    for virtual in items_of(section.get("virtualModels")):
        _add_virtual(virtual, found)
    _add_policies(section.get("policies"), "llm.policies", found)
    if section.get("guardrails"):
        found.lose(Group.PROTECTION, "llm.guardrails", _LOST["guardrails"][1])
    _add_binds(binds, found)
    found.lose_members(content, _ROOT)
    lose_unknown(content, AGENTGATEWAY, found)
    return found


def _add_model(model: Mapping[str, Any], providers: Mapping[str, Mapping[str, Any]], found: ForeignModels) -> None:
    name = str(model.get("name") or "")
    given = model.get("provider")
    if isinstance(given, dict) and isinstance(given.get("reference"), str):
        base = providers.get(given["reference"], {})
        params = {**mapping_of(base.get("params")), **mapping_of(model.get("params"))}
        given = base.get("provider")
    else:
        params = mapping_of(model.get("params"))
    provider = given.lower() if isinstance(given, str) else next(iter(mapping_of(given)), "").lower()
    if provider == "custom" and not (_has_chat(mapping_of(given).get("custom")) and params.get("baseUrl")):
        why = "it has no Chat at the usual path of its `baseUrl`: write an entry with a provider of your own"
        found.lose_model(name, f"the model {name} (custom)", why)
        return
    if model.get("matches"):
        found.lose_model(name, f"the model {name}", "it applies only to some headers: a client key can have `models`")
        return
    transformation = dict(mapping_of(model.get("transformation")))
    target = plain_text(params.get("model")) or _target_model(name, transformation.pop("model", None))
    prefix, more = _place(provider, params)
    if prefix is None:
        found.lose_model(name, f"the model {name} ({provider or 'unknown'})", str(more["reason"]))
        return
    if target is None:
        found.lose_model(name, f"the model {name}", "its model is computed from the request")
        return
    health = mapping_of(mapping_of(model.get("health")).get("eviction"))
    found.add_model(
        name,
        f"{prefix}/{target}",
        {
            **more,
            "api_key": from_dollar(params.get("apiKey")),
            "cooldown_time": as_seconds(health.get("duration")),
            **mapping_of(model.get("defaults")),
        },
    )
    for key in model:
        if key in _LOST or key not in _READ:
            reason = _LOST.get(key, (Group.UNKNOWN, "check in the documentation whether you need it"))
            found.lose(reason[0], f"{key} of {name}", reason[1])
    if transformation:
        found.lose(Group.NAMES, f"transformation of {name}", "set `request` in the entry")
    if model.get("visibility") == "internal":
        found.lose(Group.PROTECTION, f"visibility of {name}", "clients may request it: list `models` for client keys")


def _has_chat(custom: Any) -> bool:
    """Return whether a provider of the user's own has Chat at the usual path below its address."""
    formats = [*items_of(mapping_of(custom).get("formats"))]
    return any(one.get("type") == "completions" and not one.get("path") for one in formats)


def _target_model(name: str, expression: Any) -> str | None:
    """Return the model for a name without its own: the same, or without a prefix that an expression removes."""
    if expression is None:
        return name
    prefix = name.rpartition("*")[0]
    text = str(expression).replace("'", '"').replace(" ", "")
    return "*" if prefix and text == f'llmRequest.model.stripPrefix("{prefix}")' else None


def _place(provider: str, params: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return LiteLLM's prefix and members for the address, or ``None`` and the ``reason``."""
    base = from_dollar(params.get("baseUrl"))
    if provider in ("azure", "azureopenai"):
        return _azure_place(params)
    if provider not in _PREFIXES:
        return None, {"reason": "trigate import does not know this provider: write an entry with its `base_url`"}
    if any(params.get(name) for name in _ADDRESSES):
        return None, {"reason": "its address is overridden: write an entry with its `base_url`"}
    if provider == "openai" and base is not None and not params.get("apiKey"):
        provider = "custom"  # another server, which must not get OpenAI's key
    # A path replaces the provider's own, which is /v1 for most.
    path = urlsplit(base).path.rstrip("/") if isinstance(base, str) and "://" in base else None
    if provider == "anthropic" and path and not path.endswith("/v1"):
        return None, {"reason": f"its Messages are at {path}/messages: write an entry with a provider of your own"}
    if provider in ("openai", "custom") and path == "":
        base = f"{base.rstrip('/')}/v1"
    return _PREFIXES[provider], {
        "api_base": base,
        "aws_region_name": from_dollar(params.get("awsRegion")),
        "vertex_project": from_dollar(params.get("vertexProject")),
        "vertex_location": from_dollar(params.get("vertexRegion")),
    }


def _azure_place(params: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    resource = plain_text(params.get("azureResourceName"))
    if resource is None:
        return None, {"reason": "it has no `azureResourceName`"}
    if str(params.get("azureResourceType") or "openAI").lower() == "foundry":
        return "azure_ai", {"api_base": f"https://{resource}.services.ai.azure.com"}
    version = plain_text(params.get("azureApiVersion")) or "v1"
    return "azure", {"api_base": f"https://{resource}.openai.azure.com", "api_version": version}


def _add_virtual(virtual: Mapping[str, Any], found: ForeignModels) -> None:
    name, routing = str(virtual.get("name") or ""), mapping_of(virtual.get("routing"))
    weighted = [*items_of(mapping_of(routing.get("weighted")).get("targets"))]
    failover = [*items_of(mapping_of(routing.get("failover")).get("targets"))]
    if weighted:
        group = [(str(one.get("model")), _number(one.get("weight"), 1)) for one in weighted]
        found.routes[name] = ForeignRoute([group], "weighted")
    elif failover:
        order = sorted({_number(one.get("priority"), 0) for one in failover})
        groups = [
            [(str(one.get("model")), None) for one in failover if _number(one.get("priority"), 0) == priority]
            for priority in order
        ]
        found.routes[name] = ForeignRoute(groups)
    else:
        found.lose_model(name, f"the virtual model {name}", "trigate does not choose models by expressions")


def _number(value: Any, default: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else default


# Policies


def _add_policies(given: Any, where: str, found: ForeignModels) -> None:
    for name, value in mapping_of(given).items():
        if name == "apiKey" and isinstance(value, dict):
            _check_mode(value, found)
            for number, one in enumerate(items_of(value.get("keys")), len(found.client_keys) + 1):
                _add_key(one, number, found)
        else:
            reason = _POLICIES.get(name, (Group.PROTECTION, "trigate import does not convert this policy"))
            found.lose(reason[0], f"{where}.{name}", reason[1])


def _add_key(one: Mapping[str, Any], number: int, found: ForeignModels) -> None:
    """Add the key of a client. It is lost if its models cannot be limited, because it might open more."""
    metadata = mapping_of(one.get("metadata"))
    name = next((str(metadata[key]) for key in ("name", "user", "id") if metadata.get(key)), f"key-{number}")
    models, digest = one.get("allowedModels"), str(one.get("keyHash") or "")
    if models and not (isinstance(models, list) and all(isinstance(each, str) for each in models)):
        found.lose(Group.PROTECTION, f"the key {name}", "its `allowedModels` are not a list of names")
        return
    if digest and not _DIGEST.fullmatch(digest):
        found.lose(Group.PROTECTION, f"the key {name}", "its `keyHash` is no SHA-256 digest")
        return
    item: dict[str, Any] = {"models": list(models)} if models else {}
    if digest:
        item = {"sha256": digest.removeprefix("sha256:").lower(), **item}
    found.add_client(name, from_dollar(one.get("key")), item)
    if one.get("budgets"):
        found.lose(Group.MONEY, f"budgets of the key {name}", "set `budgets: [20 usd/day]` for the key")


def _check_mode(policy: Mapping[str, Any], found: ForeignModels) -> None:
    """Report that clients now need a key. Without ``mode: strict``, agentgateway accepts requests without one
    (``crates/agentgateway/src/http/apikey.rs``)."""
    mode = policy.get("mode", "optional")
    if mode != "strict" and policy.get("keys"):
        why = f"{mode} permits clients without a key: now all need one, or none if you remove `client_keys`"
        found.lose(Group.NAMES, "mode of apiKey", why)


# Routes by path


def _add_binds(binds: Any, found: ForeignModels) -> None:
    """Add the AI backends of routes: here a name selects the model, and no path."""
    keys_of_routes: list[tuple[Mapping[str, Any] | None, list[str]]] = []
    has_backends = False
    for policies, backends in _routes(binds):
        earlier = len(found.items)
        for backend in backends:
            has_backends = True
            _add_ai(backend, {**policies, **mapping_of(backend.get("policies"))}, found)
        if names := [str(one["model_name"]) for one in found.items[earlier:]]:
            given = policies.get("apiKey")
            keys_of_routes.append((given if isinstance(given, dict) else None, names))
    _add_keys_of_routes(keys_of_routes, found)
    if has_backends:
        found.lose(Group.NAMES, "the paths of binds", "clients use /v1/…, and the model's name selects the target")


def _add_ai(backend: Mapping[str, Any], policies: Mapping[str, Any], found: ForeignModels) -> None:
    ai = mapping_of(backend.get("ai"))
    if not ai:
        kind = next((key for key in ("mcp", "host", "dynamic", "service") if key in backend), "backend")
        found.lose(Group.NAMES, f"a route to {kind}", "only AI backends are converted")
        return
    groups: Iterable[Mapping[str, Any]] = [{"providers": [ai]}] if "provider" in ai else items_of(ai.get("groups"))
    providers = [one for group in groups for one in items_of(group.get("providers"))]
    if len(providers) > 1:
        what = f"the order of the providers of {ai.get('name') or 'a backend'}"
        found.lose(Group.PROTECTION, what, "write an alias with `targets`")
    for one in providers:
        _add_backend(one, {**policies, **mapping_of(ai.get("policies")), **mapping_of(one.get("policies"))}, found)


def _add_keys_of_routes(routes: Sequence[tuple[Mapping[str, Any] | None, Sequence[str]]], found: ForeignModels) -> None:
    """Add the keys of routes, each for the models of the routes that accept it."""
    every = {str(one["model_name"]) for one in found.items} | {*found.routes}
    models: dict[str, list[str]] = {}
    keys: dict[str, Mapping[str, Any]] = {}
    for policy, names in routes:
        for one in () if policy is None else items_of(policy.get("keys")):
            identity = repr(one.get("keyHash") or one.get("key"))
            keys.setdefault(identity, one)
            models.setdefault(identity, []).extend(names)
    for identity, one in keys.items():
        names = [*dict.fromkeys(models[identity])]
        allowed = None if {*names} == every else names
        _add_key({**one, "allowedModels": allowed}, len(found.client_keys) + 1, found)
    if not keys:
        return
    for policy in {repr(policy): policy for policy, _ in routes if policy is not None}.values():
        _check_mode(policy, found)
    if is_open := [name for policy, names in routes if policy is None for name in names]:
        why = "every client needs a key now: add these models to the `models` of some keys"
        found.lose(Group.NAMES, f"routes without apiKey, to {', '.join(dict.fromkeys(is_open))}", why)


def _routes(binds: Any) -> Iterator[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]:
    """Yield the policies of each route, also those of its listener, and its backends."""
    for bind in items_of(binds):
        for listener in items_of(bind.get("listeners")):
            for route in items_of(listener.get("routes")):
                policies = {**mapping_of(listener.get("policies")), **mapping_of(route.get("policies"))}
                yield policies, [*items_of(route.get("backends"))]


def _add_backend(one: Mapping[str, Any], policies: Mapping[str, Any], found: ForeignModels) -> None:
    given = mapping_of(one.get("provider"))
    provider, settings = next(iter(given.items()), ("", {}))
    settings = mapping_of(settings)
    auth = mapping_of(policies.get("backendAuth"))
    role = mapping_of(mapping_of(auth.get("aws")).get("assumeRole"))
    params = {
        "model": settings.get("model"),
        "awsRegion": settings.get("region") if provider == "bedrock" else None,
        "vertexProject": settings.get("projectId"),
        "vertexRegion": settings.get("region") if provider == "vertex" else None,
        "azureResourceName": settings.get("resourceName") or str(settings.get("host") or "").partition(".")[0],
        "azureApiVersion": settings.get("apiVersion"),
        **{name: one.get(name) for name in _ADDRESSES},
    }
    prefix, more = _place(provider.lower(), params)
    model = plain_text(settings.get("model"))
    title = str(one.get("name") or provider)
    if prefix is None:
        found.lose_model(model, f"the backend {title} ({provider})", str(more["reason"]))
        return
    found.add_model(
        model or f"{prefix}/*",
        f"{prefix}/{model or '*'}",
        {**more, "api_key": from_dollar(auth.get("key")), "aws_role_name": plain_text(role.get("roleArn"))},
    )
    for name in policies:
        if name not in ("backendAuth", "backendTLS", "apiKey"):
            reason = _POLICIES.get(name, (Group.PROTECTION, "trigate import does not convert this policy"))
            found.lose(reason[0], f"{name} of {title}", reason[1])
    if role and set(role) - {"roleArn"}:
        found.lose(Group.MONEY, f"assumeRole of {title}", "sessions have no name or tags by client")
