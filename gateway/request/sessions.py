"""The session that a request says it belongs to, in headers and members that programs send by themselves."""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from gateway.request.parse import Incoming

SessionSource: TypeAlias = Literal["session", "cache_key", "user"]
"""Where a session is named: a header of a client program's own, the member ``prompt_cache_key``, or
``metadata.user_id``."""

SESSION_HEADERS: Final[Mapping[str, str]] = {
    "x-claude-code-session-id": "Claude Code and its SDK",
    "session-id": "Codex, since 0.149",
    "session_id": "Codex before",
    "x-session-affinity": "OpenCode",
}
"""The headers in which programs name a conversation by themselves, and whose they are; in order of preference."""

_SESSION: Final = re.compile(r'session_id\\?"\s*:\s*\\?"([^"\\]{1,128})|_session_([0-9a-f-]{32,36})')
"""The session in Claude Code's ``metadata.user_id``, which is JSON in a string, and once was ``user_…_session_…``."""

_LONGEST: Final = 4096
"""Bytes of a member that may be a name, or hold one."""

_STRING: Final = msgspec.json.Decoder(str | None)


def named_session(headers: Mapping[str, str], incoming: Incoming) -> tuple[SessionSource, str] | None:
    """The session that a request names, by its ``headers`` (lower case) before its members; ``None`` where it says
    none."""
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
    """``raw`` if it is a string that may be a name; what else may stand there is for the provider to refuse."""
    try:
        return None if raw is None or len(raw) > _LONGEST else _STRING.decode(raw)
    except msgspec.MsgspecError:
        return None


def _session(metadata: msgspec.Raw) -> str | None:
    """The session that ``metadata`` names. A user has many conversations, so that one alone says too little."""
    found = _SESSION.search(bytes(memoryview(metadata)[:_LONGEST]).decode(errors="replace"))
    return None if found is None else found[1] or found[2]
