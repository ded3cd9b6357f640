"""People and callers, as frozen values that tasks and modules share."""

from typing import Literal, TypeAlias

import attrs

from gateway.config.clients import Role

Credential: TypeAlias = Literal["key", "session", "own key", "operator", "issuer token"]
"""The kind of credential of a caller: a client key, a session's token or cookie, a key that a person made for itself,
the ``ui_key``, or a token of an issuer."""


@attrs.frozen(repr=False)
class Person:
    """A person that a rule admits; ``name`` is its client's name, such as ``okta:00u1``.

    ``issuer`` is the issuer's name in the file, and ``rule`` the number of the rule in its ``admit``, from 0.
    ``label``, ``email`` and ``full_name`` are only shown to readers, and grant no rights. ``groups`` is the claim
    ``groups``."""

    name: str
    label: str | None
    issuer: str
    rule: int
    group: str | None = None
    role: Role = "user"
    email: str | None = None
    full_name: str | None = None
    groups: tuple[str, ...] = ()


@attrs.frozen(repr=False)
class Caller:
    """The sender of a request to ``/me``, ``/admin`` or ``/ui``: its client's name, and the rights that it has now.

    ``credential_id`` is the session, or the name of the key; it is not secret. ``name`` is ``None`` for the operator's
    keys."""

    name: str | None
    role: Role
    group: str | None
    credential: Credential
    credential_id: str | None = None
