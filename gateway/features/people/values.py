"""A person, as a frozen value that tasks and modules share."""

import attrs

from gateway.config.clients import Role


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
