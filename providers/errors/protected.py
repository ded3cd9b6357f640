"""Request members about privacy, safety, identity and storage, which must not be dropped unnoticed.

The answer looks the same without them. A request omits one only if a rejection names this member alone, and later
requests are unaffected.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str, ...]

PROTECTED: Final[Mapping[str, str]] = {
    "store": "whether the provider keeps the conversation",
    "user": "which end user is answered for an abuse",
    "safety_identifier": "which end user is answered for an abuse",
    "user_profile_id": "which end user is answered for an abuse",
    "workspace_id": "whose data and whose bill it is",
    "billing_policy": "whose bill it is",
    "metadata": "which user and which request a kept answer is of",
    "client_metadata": "which user and which request a kept answer is of",
    "labels": "which user and which request a bill is of",
    "prompt_cache_key": "who shares a cache of prompts",
    "prompt_cache_options": "how long a prompt is kept, and for whom",
    "prompt_cache_retention": "how long a prompt is kept",
    "cache_salt": "who shares a cache of prompts (vLLM)",
    "inference_geo": "in which country the request is worked on",
    "provider": "which providers may see the request, and keep it (OpenRouter: data_collection, zdr, only)",
    "data_collection": "whether the request may be kept and learned from",
    "zdr": "whether the request may be kept",
    "moderation": "what is looked for in the request and the answer",
    "safe_prompt": "what the model is told of safety (Mistral)",
    "safety_settings": "what is blocked (Google)",
    "guardrails": "what is blocked",
    "guardrail_config": "what is blocked (Bedrock)",
    "guardrailConfig": "what is blocked (Bedrock)",
    "content_filter": "what is blocked",
}
"""The members by name, with the protection that would be lost."""


def is_protected(path: Path) -> bool:
    """Return whether ``path`` (see ``providers/errors/rejected.py``) is such a member or part of one."""
    return path[0] in PROTECTED or path[-1] in PROTECTED
