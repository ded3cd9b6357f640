"""Configurations of LiteLLM's proxy, which ``trigate import`` converts, recognised by their structure."""

import shlex
from typing import Any, Final

from configfile.document import ConfigError, Mistake

_LITELLMS_KEYS: Final = frozenset({"model_list", "litellm_settings", "router_settings", "general_settings"})
_OWN_KEYS: Final = frozenset({"version", "model_providers", "llm_providers", "listeners"})


def refuse_convertible(content: Any, file: str) -> None:
    """Raise ``ConfigError`` with advice if ``content`` is a file of LiteLLM, also a partial one
    (https://docs.litellm.ai/docs/proxy/configs).

    A file with any of trigate's keys is trigate's, and its errors are reported individually."""
    if isinstance(content, dict) and _LITELLMS_KEYS & content.keys() and not _OWN_KEYS & content.keys():
        advice = f"convert it: `trigate import {shlex.quote(file)} --write trigate.yaml`"
        raise ConfigError((Mistake(file, "", "this is a configuration for LiteLLM's proxy", advice),))
