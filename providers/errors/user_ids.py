"""Rejections of the end user's id, by Messages servers that allow only some characters.

Claude Code sends JSON as the id since 2.1.129; DeepSeek rejects it (aattaran/deepclaude#17).
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from providers.errors.words import Words

WORDS: Final = Words.of(
    r"Invalid '(?:metadata\.)?user_id': string does not match pattern",
    after=r"(?:\. Expected a string that matches the pattern '[^'\n]{1,100}')?\.?",
)


def hash_user_id(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed metadata of a Messages ``body``, the user's id as hexadecimal digest; ``{}`` without an id."""
    metadata = body.get("metadata")
    id = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(id, str) or id.isalnum():
        return {}
    return {"metadata": {**metadata, "user_id": hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()}}
