"""Configurations of other gateways that ``trigate import`` converts, recognised by their structure."""

import shlex
from typing import Any, Final

from configfile.document import ConfigError, Mistake


def _has_any_key(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and any(key in value for key in keys)


def is_litellm(content: Any) -> bool:
    """Recognise LiteLLM's files, also partial ones (https://docs.litellm.ai/docs/proxy/configs)."""
    return _has_any_key(content, "model_list", "litellm_settings", "router_settings", "general_settings")


def is_claude_code_router(content: Any) -> bool:
    """Recognise the ``config.json`` of claude-code-router (https://github.com/musistudio/claude-code-router)."""
    if not isinstance(content, dict) or _OWN_KEYS & content.keys():
        return False
    return isinstance(content.get("Providers"), list) or _has_any_key(content.get("Router"), "default", "longContext")


_OWN_KEYS: Final = frozenset({"version", "model_providers", "llm_providers", "listeners"})


def refuse_convertible(content: Any, file: str) -> None:
    """Raise ``ConfigError`` with advice if ``content`` is a configuration that ``trigate import`` converts.

    A file with any of trigate's keys is trigate's, and its errors are reported individually."""
    if is_claude_code_router(content):
        owner = "claude-code-router"
    elif is_litellm(content) and not _OWN_KEYS & content.keys():
        owner = "LiteLLM's proxy"
    else:
        return
    advice = f"convert it: `trigate import {shlex.quote(file)} --write trigate.yaml`"
    raise ConfigError((Mistake(file, "", f"this is a configuration for {owner}", advice),))
