"""A person, and the records of the tables of people with these tables: sessions, device grants, keys and blocks.

All are frozen."""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from gateway.config.clients import Role
from gateway.stores.record_tables import RecordTable

SessionKind: TypeAlias = Literal["browser", "device"]
Credential: TypeAlias = Literal["session", "own key", "issuer token"]
"""The kind of a person's credential: a session's token or cookie, a key that the person made, a token of an issuer."""
GrantStatus: TypeAlias = Literal["pending", "approved", "denied"]

_LONGEST_TEXT: Final = 200


def digest_of(secret: str) -> str:
    """Return the form in which the tables store a random secret: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_id() -> str:
    """Return a new random id of 128 bits."""
    return secrets.token_urlsafe(16)


def readable_text(text: str) -> str:
    """Return ``text`` for readers: its printable characters, at most 200. Databases reject some of the others."""
    return "".join(filter(str.isprintable, text[: 2 * _LONGEST_TEXT]))[:_LONGEST_TEXT]


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
class IssuerSession:
    """A sign-in at an issuer, which the sessions that follow from it share.

    ``claims`` are those that rules and session tokens read. ``refresh`` is the issuer's refresh token, encrypted;
    ``None`` without ``offline_access``. The issuer confirmed the claims at ``checked`` (Unix seconds)."""

    id: str
    person: str
    issuer: str
    claims: Mapping[str, Any]
    refresh: bytes | None = attrs.field(converter=attrs.converters.optional(bytes))
    checked: float


@attrs.frozen(repr=False)
class PersonSession:
    """A session of a person, in a browser or a program.

    ``origin`` is the id of its ``IssuerSession``. ``program`` and ``address`` are for
    readers. ``tokens_until`` is the end of its last token. ``cookie`` and ``refresh`` are digests."""

    id: str
    origin: str
    person: str
    kind: SessionKind
    program: str
    address: str
    began: float
    until: float
    tokens_until: float
    seen: float
    cookie: str | None = None
    refresh: str | None = None
    ended: float | None = None

    def is_open(self, now: float) -> bool:
        """Return whether the session has not ended."""
        return self.ended is None and now < self.until


@attrs.frozen(repr=False)
class FoundRefresh:
    """The session of a refresh token, and its sign-in at the issuer. ``used_at`` is set if the token was used."""

    session: PersonSession
    issuer_session: IssuerSession
    used_at: float | None


@attrs.frozen(repr=False)
class DeviceGrant:
    """A sign-in of a program that a person approves in a browser (RFC 8628).

    ``device_code`` and ``user_code`` are digests. ``origin`` is the id of the approving person's ``IssuerSession``."""

    device_code: str
    user_code: str
    program: str
    address: str
    began: float
    until: float
    status: GrantStatus = "pending"
    origin: str | None = None
    person: str | None = None
    polled: float | None = None


@attrs.frozen(repr=False)
class SeenPerson:
    """A person that the gateway has seen in the last 90 days.

    ``label`` is for readers. ``claims``, ``group`` and ``role`` are those of the sign-in, refresh or token that the
    issuer confirmed last, at ``claims_at``: using an older token does not bring its rights back."""

    name: str
    issuer: str
    label: str
    claims: Mapping[str, Any]
    group: str | None
    role: str
    first: float
    seen: float
    claims_at: float = 0.0


@attrs.frozen(repr=False)
class Block:
    """A person whose credentials are all rejected, and the author ``by`` of the block."""

    name: str
    at: float
    by: str
    reason: str = ""


@attrs.frozen(repr=False)
class OwnKey:
    """A key that a person made for itself; ``digest`` is its SHA-256 in hexadecimal.

    ``used`` is about the time of its last request, ``None`` before the first."""

    person: str
    name: str
    digest: str
    until: float
    made: float
    used: float | None = None


PEOPLE: Final = RecordTable("people", SeenPerson, ("name",), {"group": "client_group"}, ("claims",))
BLOCKS: Final = RecordTable("people_blocks", Block, ("name",), {"by": "made_by"})
OWN_KEYS: Final = RecordTable("own_keys", OwnKey, ("person", "name"))
ISSUER_SESSIONS: Final = RecordTable("issuer_sessions", IssuerSession, ("id",), json=("claims",))
SESSIONS: Final = RecordTable("person_sessions", PersonSession, ("id",))
GRANTS: Final = RecordTable("device_grants", DeviceGrant, ("device_code",))
