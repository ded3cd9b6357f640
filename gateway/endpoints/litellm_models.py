"""A model in LiteLLM's lists of models and of their names; unknown facts are left out.

Roo Code and Cline read ``/v1/model/info`` (RooCodeInc/Roo-Code, ``fetchers/litellm.ts``). Plugins of OpenCode and
LiteLLM's own programs read ``/model_group/info`` (https://docs.litellm.ai/docs/proxy/model_management)."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.config.entry_price import entry_price
from gateway.routing.described import Description
from gateway.routing.router import Model

_MODES: Final[Mapping[str, str]] = {
    "embedding": "embedding", "rerank": "rerank", "image": "image_generation", "speech": "audio_speech",
    "transcription": "audio_transcription", "moderation": "moderation", "completion": "completion",
    "realtime": "realtime",
}  # fmt: skip
_SUPPORTS: Final = {
    "tools": "supports_function_calling",
    "images": "supports_vision",
    "pdf": "supports_pdf_input",
    "audio": "supports_audio_input",
    "structured_output": "supports_response_schema",
    "reasoning": "supports_reasoning",
}
_NANOS_OF_PRICE: Final = 10**15
"""Nano-dollars per million tokens in a dollar per token."""


def litellm_model(model: Model, description: Description | None) -> dict[str, Any]:
    """Return a model in the form of ``/v1/model/info``."""
    info: dict[str, Any] = {"id": model.id, "db_model": False}
    if description is None:
        return {"model_name": model.id, "litellm_params": {"model": model.id}, "model_info": info}
    first = description.found[0]
    limits = _limits(description)
    longest = {"max_tokens": limits["max_output_tokens"]} if limits else {}
    info |= {"mode": _mode(description), **longest, **limits, **_prices(description)}
    params = {"model": f"{first.entry.provider.id}/{first.model}"}
    return {"model_name": model.id, "litellm_params": params, "model_info": info}


def litellm_group(model: Model, description: Description | None) -> dict[str, Any]:
    """Return a name that clients request in the form of ``/model_group/info``."""
    if description is None:
        return {"model_group": model.id, "providers": []}
    providers = dict.fromkeys(one.entry.provider.id for one in description.found)
    facts = {"mode": _mode(description), **_limits(description), **_prices(description)}
    return {"model_group": model.id, "providers": [*providers], **facts}


def _mode(description: Description) -> str:
    return _MODES.get(description.type, "chat")


def _limits(description: Description) -> dict[str, Any]:
    """Return the limits and abilities of the targets of a name, nothing if they are unknown."""
    if not description.is_known:
        return {}
    return {
        "max_output_tokens": description.longest,
        "max_input_tokens": description.prompt,
        **{member: skill in description.can for skill, member in _SUPPORTS.items()},
    }


def _prices(description: Description) -> dict[str, Any]:
    """Return the prices of the first target in dollars per token."""
    first = description.found[0]
    if (price := entry_price(first.entry, first.model)) is None:
        return {}
    found: dict[str, Any] = {
        "input_cost_per_token": price.input / _NANOS_OF_PRICE,
        "output_cost_per_token": price.output / _NANOS_OF_PRICE,
    }
    if price.cached is not None:
        found |= {"cache_read_input_token_cost": price.cached / _NANOS_OF_PRICE, "supports_prompt_caching": True}
    if price.cache_write is not None:
        found["cache_creation_input_token_cost"] = price.cache_write / _NANOS_OF_PRICE
    return found
