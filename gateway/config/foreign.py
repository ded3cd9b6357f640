"""Configurations of other gateways, recognised by their structure, with advice."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs


@attrs.frozen(repr=False)
class Foreign:
    """Another gateway's configuration: its ``owner``, and ``advice`` with ``{file}`` for the file's name."""

    owner: str
    advice: str
    shaped: Callable[[Mapping[str, Any]], bool]


def _has_any_key(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and any(key in value for key in keys)


def _is_litellm(content: Mapping[str, Any]) -> bool:
    """Recognise LiteLLM's files, also partial ones (https://docs.litellm.ai/docs/proxy/configs)."""
    return _has_any_key(content, "model_list", "litellm_settings", "router_settings", "general_settings")


def _is_bifrost(content: Mapping[str, Any]) -> bool:
    """Recognise Bifrost's ``config.json`` (https://docs.getbifrost.ai/deployment-guides/config-json)."""
    providers = content.get("providers")
    return (
        "getbifrost.ai" in str(content.get("$schema"))
        or (
            isinstance(providers, dict)
            and any(_has_any_key(one, "keys", "network_config") for one in providers.values())
        )
        or (_has_any_key(content, "config_store", "logs_store") and "version" not in content)
    )


def _is_portkey(content: Mapping[str, Any]) -> bool:
    """Recognise Portkey's config objects (https://portkey.ai/docs/product/ai-gateway/configs)."""
    targets = content.get("targets")
    several = isinstance(targets, list) and any(_has_any_key(one, "provider", "targets", *_PORTKEYS) for one in targets)
    alone = "provider" in content and _has_any_key(content, "api_key", "apiKey")
    return several or alone or _has_any_key(content.get("strategy"), "mode") or _has_any_key(content, *_PORTKEYS)


def _is_agentgateway(content: Mapping[str, Any]) -> bool:
    """Recognise agentgateway's files (https://agentgateway.dev/docs)."""
    binds = content.get("binds")
    return _has_any_key(content.get("llm"), "models", "virtualModels") or (
        isinstance(binds, list) and any(_has_any_key(one, "listeners") for one in binds)
    )


_PORTKEYS: Final = ("virtual_key", "virtualKey", "override_params", "overrideParams")
_OWN: Final = frozenset({"version", "model_providers", "llm_providers", "listeners"})

LITELLM: Final = Foreign("LiteLLM's proxy", "convert it: `trigate import {file} --write trigate.yaml`", _is_litellm)
_BY_HAND: Final = "write a configuration by hand: docs/migrating.md, section From {}, has an example"

FOREIGN: Final = (
    LITELLM,
    Foreign("agentgateway", _BY_HAND.format("agentgateway"), _is_agentgateway),
    Foreign("Bifrost", _BY_HAND.format("Bifrost"), _is_bifrost),
    Foreign("Portkey", _BY_HAND.format("Portkey"), _is_portkey),
)


def recognise_gateway(content: Mapping[str, Any]) -> Foreign | None:
    """Return the other gateway whose file has this content, if any.

    A file with any of trigate's keys is trigate's, and its errors are reported individually."""
    if _OWN & set(content):
        return None
    return next((one for one in FOREIGN if one.shaped(content)), None)
