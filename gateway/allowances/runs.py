"""Runs: what an agent does for one order, with all of its subagents.

A run is a sum, and no number of requests: a lifetime count ended long sessions (lidge-jun/opencodex#4653). Children
that name their parent's run share it; elsewhere each opened an allowance of its own (nodetool-ai/nodetool#5489).
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.request.sessions import named_session
from streams.errors import invalid

HEADER: Final = "x-trigate-run"
"""The header in which a client names a run."""

LONGEST: Final = 128
"""Characters of a name."""

_CODEX_PARENT: Final = "x-codex-parent-thread-id"
_OPENCODE_PARENT: Final = "x-parent-session-id"


def run_of(asked: ClientRequest, incoming: Incoming) -> str | None:
    """The run that a request belongs to: what its client calls one, else its session, or its parent's; behind the name
    of its client key, within which it holds. ``None`` where nothing is named. Raises ``GatewayError`` (400) for a name
    that is none."""
    headers = dict(asked.headers)
    given = headers.get(HEADER)
    name = _session(headers, incoming) if given is None else _checked(given)
    if name is None:
        return None
    return name if asked.client is None else f"{asked.client}/{name}"


def _checked(given: str) -> str:
    name = given.strip()
    if not name or len(name) > LONGEST or not name.isprintable():
        raise invalid(f"{HEADER} must be a name of 1 to {LONGEST} printable characters", HEADER)
    return name


def _session(headers: Mapping[str, str], incoming: Incoming) -> str | None:
    parent = _parent(headers)
    if parent is None:
        named = named_session(headers, incoming)
        parent = None if named is None else named[1]
    if parent is None or len(parent) <= LONGEST:
        return parent
    return hashlib.blake2b(parent.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _parent(headers: Mapping[str, str]) -> str | None:
    """The session that a subagent's was opened by. Claude Code's agents have their session's own id; so have Codex'
    since that tells sessions and threads apart, and before that name their parent's."""
    if parent := headers.get(_CODEX_PARENT):
        thread = headers.get("thread-id")
        if thread is None or thread == headers.get("session-id", thread):
            return parent
    return headers.get(_OPENCODE_PARENT) or None
