"""A model in a list, in the form that each API's clients read; unknown facts are left out, or ``null`` if required.

- OpenAI's own list has no facts. Clients read the context window under three names: ``context_length`` (OpenRouter;
  most clients, tashfeenahmed/freellmapi#309), ``max_model_len`` (vLLM; cline/cline#13564) and ``context_window``
  (Groq). ``max_input_tokens`` is LiteLLM's, abilities are OpenRouter's. ``type`` (Together) and ``endpoints`` keep
  embedding models out of pickers for conversations (Vigil-SOC/vigil#433).
- Anthropic's list has ``max_input_tokens``, ``max_tokens`` and ``capabilities``
  (https://platform.claude.com/docs/en/api/models/list).
- Google's list has ``inputTokenLimit``, ``outputTokenLimit`` and ``supportedGenerationMethods``
  (https://ai.google.dev/api/models).

``models``, which Codex reads in addition to OpenAI's list, stays empty: an entry must have the agent's whole
``base_instructions``, which replace those of Codex 0.169, and entries without the member are dropped
(openai/codex#37122, router-for-me/CLIProxyAPI#5500). ``trigate connect codex`` configures the context window
instead."""

import re
import time
from collections.abc import Mapping
from typing import Any, Final

from gateway.config.model_entry import entry_price
from gateway.http.paths import EMBEDDING_METHODS, METHODS
from gateway.viewing.described import Description
from gateway.viewing.listed_models import Model

_INPUTS: Final = {"images": "image", "pdf": "file", "audio": "audio", "video": "video"}
_PARAMETERS: Final = {"tools": "tools", "structured_output": "structured_outputs", "reasoning": "reasoning"}
_LEVELS: Final = ("low", "medium", "high", "xhigh", "max")
_LINE: Final = re.compile(r"claude-(?:[0-9.-]+-)?(haiku|sonnet|opus|fable|mythos)(?:-|$)")


def openai_model(model: Model, description: Description | None, created: int) -> dict[str, Any]:
    row: dict[str, Any] = {"id": model.id, "object": "model", "created": created, "owned_by": model.owned_by}
    if description is None:
        return row
    row |= {"type": description.type, "endpoints": list(description.paths)}
    if not description.is_known:
        return row
    if description.window is not None:
        row |= dict.fromkeys(("context_length", "context_window", "max_model_len"), description.window)
        row["max_input_tokens"] = description.prompt
    if description.longest is not None:
        row["max_completion_tokens"] = description.longest
    if description.can:
        row["architecture"] = {
            "input_modalities": ["text", *_supported_words(_INPUTS, description)],
            "output_modalities": ["text"],
        }
        row["supported_parameters"] = _supported_words(_PARAMETERS, description)
    return row


def _supported_words(names: Mapping[str, str], description: Description) -> list[str]:
    return [word for skill, word in names.items() if skill in description.can]


def anthropic_model(model: Model, description: Description | None, created: int, *, native: bool) -> dict[str, Any]:
    """Return a model in Anthropic's form; ``native`` means a Claude model in Anthropic's own API."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created))
    line = _LINE.match(model.id.rpartition("/")[2])
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "description": f"{model.id}, from {model.owned_by}",  # Claude Code's model picker shows it
        "created_at": at,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None if line is None else line[1],
        "max_input_tokens": None if description is None else description.prompt,
        "max_tokens": None if description is None else description.longest,
        "capabilities": None if description is None or not description.can else _capabilities(description, native),
    }


def _capabilities(description: Description, native: bool) -> dict[str, Any]:
    """Return Anthropic's capabilities; translated models have those that translation preserves."""
    quirks, thinks = description.quirks, "reasoning" in description.can
    levels = [level for level in _LEVELS if level in quirks.efforts]
    thinking = {
        "adaptive": thinks and (quirks.adaptive_thinking or not native),
        "between_tools": native and quirks.thinking_off == "between_tools",
        "disabled": not thinks or not native or quirks.thinking_off == "disabled",
        "enabled": thinks and not (native and quirks.adaptive_thinking),
    }
    return {
        "batch": _support(yes=False),
        "citations": _support(yes=native),
        "code_execution": _support(yes=native),
        "context_management": {
            "supported": native,
            **{
                strategy: _support(yes=native)
                for strategy in ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112")
            },
        },
        "effort": {"supported": bool(levels), **{level: _support(yes=level in levels) for level in _LEVELS}},
        "image_input": _support(yes="images" in description.can),
        "pdf_input": _support(yes="pdf" in description.can),
        "server_tools": {
            "supported": native, "code_execution": _support(yes=native), "web_search": _support(yes=native),
        },
        "structured_outputs": _support(yes="structured_output" in description.can),
        "thinking": {"supported": thinks, "types": {name: _support(yes=yes) for name, yes in thinking.items()}},
    }  # fmt: skip


def _support(*, yes: bool) -> dict[str, bool]:
    return {"supported": yes}


def gemini_model(model: Model, description: Description | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": f"models/{model.id}",
        "version": "001",
        "displayName": model.id,
        "description": f"{model.id}, from {model.owned_by}",
        "supportedGenerationMethods": list(METHODS if description is None else _methods(description)),
    }
    if description is not None and description.window is not None:
        row["inputTokenLimit"] = description.prompt
    if description is not None and description.longest is not None:
        row["outputTokenLimit"] = description.longest
    if description is not None and description.can:
        row["thinking"] = "reasoning" in description.can
    return row


def _methods(description: Description) -> tuple[str, ...]:
    match description.type:
        case "chat":
            return METHODS
        case "embedding" if description.paths:
            return EMBEDDING_METHODS
        case _:
            return ()


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
    """Return a model in the form of LiteLLM's ``/v1/model/info``, which Roo Code and Cline read
    (RooCodeInc/Roo-Code, ``fetchers/litellm.ts``)."""
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
    """Return a name that clients request in the form of LiteLLM's ``/model_group/info``, which plugins of OpenCode and
    LiteLLM's own programs read (https://docs.litellm.ai/docs/proxy/model_management)."""
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
