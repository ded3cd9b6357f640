"""How a provider departs from its API, as data.

An oddity is a field here and a value in the provider's row of the catalogue (``providers/catalog.py``), never a branch
on its name; a provider entry of the config may set each of them.
"""

from typing import Literal

import attrs


@attrs.frozen
class Quirks:
    """Defaults are what OpenAI and Anthropic themselves do."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"
    """Chat: the name under which the token limit goes out (most OpenAI-compatible servers know only max_tokens)."""

    default_max_tokens: int = 8192
    """Messages: ``max_tokens`` is required there; sent when the client gave none."""

    developer_role: bool = True
    """Chat: false where role ``developer`` is refused; ``system`` is sent instead."""

    stream_usage: bool = True
    """Chat: false where ``stream_options`` is refused; usage is then unknown unless the server sends it unasked."""

    reasoning_effort: bool = True
    """Chat: false where ``reasoning_effort`` is refused."""

    adaptive_thinking: bool = False
    """Messages: the model takes ``thinking: adaptive`` with ``output_config.effort`` (Claude 4.6 and later) instead of
    ``enabled`` with a token budget."""

    anthropic_version: str = "2023-06-01"
    """Messages: what requests that trigate writes declare; a Messages client's own header passes unchanged."""

    refused_fields: tuple[str, ...] = ()
    """Top-level members that the server refuses: removed in both lanes and shown in ``x-trigate-dropped``."""
