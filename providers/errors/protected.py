"""Members of a request about privacy, safety, identity and storage: without one of these an answer looks the same, and
something has been given up that nobody sees.

A provider's words alone are no reason to do without them. They are left out of a request only where a refusal names
one of them and nothing else, and never of the requests that come after it.
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
"""By their names; what it is that would be given up."""


def is_protected(path: Path) -> bool:
    """Return whether ``path`` (``providers/errors/rejected.py``) is of such a member or of a part of one."""
    return path[0] in PROTECTED or path[-1] in PROTECTED
