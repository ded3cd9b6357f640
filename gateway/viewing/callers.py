"""Callers of the gateway's own pages and of its HTTP API."""

from typing import Final

from gateway.access.authentication import Authenticator
from gateway.config.unlisted import Caller

OPERATOR: Final = Caller(None, "auditor", None, "operator", "ui_key")
"""The holder of the ``ui_key``, who reads what an auditor reads and changes nothing."""

NOBODY: Final = Caller(None, "user", None, "key")
"""The caller of a gateway without client keys."""


def caller_named(authenticator: Authenticator, name: str | None) -> Caller:
    """Return the client ``name``, whose credential the current request has."""
    if name is None:
        return NOBODY
    rights = None if authenticator.unlisted is None else authenticator.unlisted.sent_rights(name)
    if rights is not None:
        return rights.caller
    return Caller(name, authenticator.role_of(name), authenticator.group_of(name), "key", name)


def counted_name(caller: Caller) -> str:
    """Return the name under which calls are counted: all credentials of a client count together."""
    return f"credential {caller.credential}" if caller.name is None else f"client {caller.name}"
