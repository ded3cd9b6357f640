"""Configurations of other gateways that ``trigate import`` converts, recognised by their structure."""

import shlex
from typing import Any, Final

from configfile.document import ConfigError, Mistake

_OWN_KEYS: Final = frozenset({"version", "model_providers", "llm_providers", "listeners"})
_LITELLMS: Final = frozenset({"model_list", "litellm_settings", "router_settings", "general_settings"})
"""Root keys of LiteLLM's files, also of partial ones (https://docs.litellm.ai/docs/proxy/configs)."""


def is_claude_code_router(content: Any) -> bool:
    """Recognise the ``config.json`` of claude-code-router (https://github.com/musistudio/claude-code-router)."""
    if not isinstance(content, dict) or _OWN_KEYS & content.keys():
        return False
    router = content.get("Router")
    has_routes = isinstance(router, dict) and not {"default", "longContext"}.isdisjoint(router)
    return isinstance(content.get("Providers"), list) or has_routes


def refuse_convertible(content: Any, file: str) -> None:
    """Raise ``ConfigError`` with advice if ``content`` is a configuration that ``trigate import`` converts.

    A file with any of trigate's keys is trigate's, and its errors are reported individually."""
    if is_claude_code_router(content):
        owner = "claude-code-router"
    elif isinstance(content, dict) and _LITELLMS & content.keys() and not _OWN_KEYS & content.keys():
        owner = "LiteLLM's proxy"
    else:
        return
    advice = f"convert it: `trigate import {shlex.quote(file)} --write trigate.yaml`"
    raise ConfigError((Mistake(file, "", f"this is a configuration for {owner}", advice),))
