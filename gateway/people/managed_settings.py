"""The response to Claude Code's request for its managed settings.

Its form, with a checksum by which Claude Code recognises unchanged settings, is in BerriAI/litellm-docs#1563.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

import attrs

_NAMESPACE: Final = uuid.UUID("9b0c1c5e-7a35-5b0e-9d1a-3f6a1f0f2f55")


@attrs.frozen(repr=False)
class ManagedSettings:
    """The ``body`` of the response, and its ``etag``."""

    body: bytes
    etag: str


def managed_settings(settings: Mapping[str, Any]) -> ManagedSettings:
    """Return the response with ``settings``. Equal settings have equal responses, in every process."""
    written = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    checksum = f"sha256:{hashlib.sha256(written.encode()).hexdigest()}"
    content = {"uuid": str(uuid.uuid5(_NAMESPACE, checksum)), "checksum": checksum, "settings": settings}
    return ManagedSettings(json.dumps(content, ensure_ascii=False).encode(), f'"{checksum}"')
