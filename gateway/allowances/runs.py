"""Runs: all requests of an agent and its subagents for one task.

A run limits a sum, not a number of requests: a lifetime count ended long sessions (lidge-jun/opencodex#4653). Subagents
that send their parent's run share its budget; elsewhere each got a budget of its own (nodetool-ai/nodetool#5489)."""

import hashlib
from collections.abc import Mapping
from typing import Final

from gateway.allowances.budgets import named_run
from gateway.http.headers import Headers
from gateway.http.redaction import redact_own
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.request.sessions import named_session
from streams.errors import invalid

HEADER: Final = "x-trigate-run"
"""The header in which a client names a run."""

LONGEST: Final = 128
"""The longest name in characters."""

_CODEX_PARENT: Final = "x-codex-parent-thread-id"
_OPENCODE_PARENT: Final = "x-parent-session-id"


def run_of(client_request: ClientRequest, incoming: Incoming) -> str | None:
    """Return the run of a request: the run header, else its session or its parent's session, prefixed by the client
    key's name.

    Return ``None`` without any of these. Raises ``GatewayError`` (400) for an invalid name."""
    headers = dict(client_request.headers)
    header = headers.get(HEADER)
    name = _session_name(headers, incoming) if header is None else _check_name(header, client_request.headers)
    return None if name is None else named_run(client_request.client, name)


def _check_name(header: str, headers: Headers) -> str:
    name = header.strip()
    if not name or len(name) > LONGEST or not name.isprintable():
        raise invalid(f"{HEADER} must be a name of 1 to {LONGEST} printable characters", HEADER)
    return redact_own(name, headers)[:LONGEST]


def _session_name(headers: Mapping[str, str], incoming: Incoming) -> str | None:
    parent = _parent_session(headers)
    if parent is None:
        named = named_session(headers, incoming)
        parent = None if named is None else named[1]
    if parent is None or len(parent) <= LONGEST:
        return parent
    return hashlib.blake2b(parent.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _parent_session(headers: Mapping[str, str]) -> str | None:
    """Return the parent session of a subagent's session.

    Claude Code's agents send their own session's id. So does Codex since it separates sessions from threads; before
    that it sent its parent's."""
    if parent := headers.get(_CODEX_PARENT):
        thread = headers.get("thread-id")
        if thread is None or thread == headers.get("session-id", thread):
            return parent
    return headers.get(_OPENCODE_PARENT) or None
