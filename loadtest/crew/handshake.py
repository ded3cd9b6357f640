"""Who may command a worker, and whether it is the worker that was meant.

Both sides prove that they know a secret by what they make of the other's random bytes (HMAC, RFC 2104); the secret
itself is not sent. What follows is neither encrypted nor signed."""

import hmac
import secrets
from typing import Final, Literal, TypeAlias

import attrs

from loadtest.crew.messages import Challenge, Introduction

NONCE: Final = 32
LEAST: Final = 16
"""Characters of a secret: whoever reads a connection may guess at it without asking anybody."""

Side: TypeAlias = Literal["commander", "worker"]


class NoAdmission(Exception):
    """The two do not work together; the message says why."""


def nonce() -> bytes:
    return secrets.token_bytes(NONCE)


def proof(secret: str | None, side: Side, challenge: bytes, introduction: bytes, commander: str) -> bytes:
    """The proof of one side; nothing where there is no secret. All that it is made of goes in with its length, so that
    it proves nothing else."""
    if secret is None:
        return b""
    parts = (b"trigate load", side.encode(), challenge, introduction, commander.encode())
    said = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(secret.encode(), said, "sha256")


@attrs.frozen
class Commander:
    """The commanding process's side; ``name`` is a random one for all its connections."""

    version: str
    name: str
    secret: str | None = attrs.field(repr=False)
    nonce: bytes = attrs.field(factory=nonce)

    def introduction(self, challenge: Challenge) -> Introduction:
        """Raises ``NoAdmission`` if the worker is not one that can be worked with."""
        if challenge.version != self.version:
            raise NoAdmission(f"it is trigate {challenge.version}, and this is {self.version}: use one version")
        if challenge.closed and self.secret is None:
            raise NoAdmission("it works only for those that know its secret: name the variable with --secret-env")
        said = proof(self.secret, "commander", challenge.nonce, self.nonce, self.name)
        return Introduction(self.version, self.name, self.nonce, said)

    def check(self, challenge: Challenge, theirs: bytes) -> None:
        """Raises ``NoAdmission`` if the worker does not know the secret that there is here."""
        expected = proof(self.secret, "worker", challenge.nonce, self.nonce, self.name)
        if self.secret is not None and not hmac.compare_digest(theirs, expected):
            raise NoAdmission("it does not know the secret, so it is not given the plan")


@attrs.frozen
class Commanded:
    """The worker's side."""

    version: str
    secret: str | None = attrs.field(repr=False)
    nonce: bytes = attrs.field(factory=nonce)

    @property
    def challenge(self) -> Challenge:
        return Challenge(self.version, self.nonce, self.secret is not None)

    def check(self, said: Introduction) -> bytes:
        """The worker's own proof. Raises ``NoAdmission``."""
        if said.version != self.version:
            raise NoAdmission(f"it is trigate {self.version}, and the other is {said.version}: use one version")
        if len(said.nonce) != NONCE:
            raise NoAdmission("what was sent is no introduction")
        expected = proof(self.secret, "commander", self.nonce, said.nonce, said.commander)
        if self.secret is not None and not hmac.compare_digest(said.proof, expected):
            raise NoAdmission("the secret is another")
        return proof(self.secret, "worker", self.nonce, said.nonce, said.commander)
