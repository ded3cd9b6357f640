"""The session of a request, from headers and members that client programs send automatically."""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from gateway.request.parse import Incoming
from streams.surrogates import decode_or

SessionSource: TypeAlias = Literal["session", "cache_key", "user"]
"""The source of a session: a header of a client program, the member ``prompt_cache_key``, or ``metadata.user_id``."""

SESSION_HEADERS: Final[Mapping[str, str]] = {
    "x-claude-code-session-id": "Claude Code and its SDK",
    "session-id": "Codex, since 0.149",
    "session_id": "Codex before",
    "x-session-affinity": "OpenCode",
}
"""The headers in which programs send a conversation's id, and their programs, in order of preference."""

_SESSION: Final = re.compile(r'session_id\\?"\s*:\s*\\?"([^"\\]{1,128})|_session_([0-9a-f-]{32,36})')
"""The session in Claude Code's ``metadata.user_id``, which is JSON in a string, and formerly ``user_…_session_…``."""

_LONGEST: Final = 4096
"""Bytes of a member that may be or contain a name."""

_STRING: Final = msgspec.json.Decoder(str | None)


def named_session(headers: Mapping[str, str], incoming: Incoming) -> tuple[SessionSource, str] | None:
    """Return the session that a request names, from its ``headers`` (lower case) or else its members; ``None`` without
    one."""
    for header in SESSION_HEADERS:
        if name := headers.get(header):
            return "session", name
    members = incoming.members
    if name := short_text(members.get("prompt_cache_key")):
        return "cache_key", name
    if (metadata := members.get("metadata")) is not None and (session := _session(metadata)):
        return "user", session
    return None


def short_text(raw: msgspec.Raw | None) -> str | None:
    """Return ``raw`` if it is a short string. The provider rejects other values."""
    return None if raw is None or len(raw) > _LONGEST else decode_or(_STRING.decode, raw, None)


def _session(metadata: msgspec.Raw) -> str | None:
    """Return the session in ``metadata``. The user alone is not enough, because a user has many conversations."""
    found = _SESSION.search(bytes(memoryview(metadata)[:_LONGEST]).decode(errors="replace"))
    return None if found is None else found[1] or found[2]
