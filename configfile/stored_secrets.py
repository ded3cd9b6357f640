"""Secrets in stores, such as Vault: ``{vault: PLACE}`` replaces a secret in a configuration.

This package does not read stores. The program reads them, and gives the texts to ``SecretFiles.stored``.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from configfile.expanded import Expanded, Unresolved
from configfile.secret_files import SecretFiles, SecretReference
from configfile.wording import Wrong


@attrs.frozen
class SecretStore:
    """A kind of stores: the pattern of its places, their form for messages, and a name for readers."""

    pattern: str
    form: str
    name: str


STORES: Final[Mapping[str, SecretStore]] = {
    "vault": SecretStore(r"[^/#?\s]+(?:/[^/#?\s]+)+#[^#\s]+", "mount/path#member", "Vault or OpenBao (KV version 2)"),
    "aws_secret": SecretStore(r"[^#\s]+(?:#[^#\s]+)?", "id or id#member", "AWS Secrets Manager"),
    "google_secret": SecretStore(
        r"projects/[^/#?\s]+/secrets/[^/#?\s]+(?:/versions/[^/#?\s]+)?(?:#[^#\s]+)?",
        "projects/PROJECT/secrets/NAME",
        "Google Secret Manager",
    ),
    "azure_secret": SecretStore(
        r"https://[^/#?@\s]+/secrets/[0-9A-Za-z-]+(?:/[0-9A-Za-z]+)?(?:#[^#\s]+)?",
        "https://VAULT.vault.azure.net/secrets/NAME",
        "Azure Key Vault",
    ),
}
"""The stores by their keys in a configuration."""


@attrs.frozen
class StoredSecret:
    """A secret in a store: the ``store`` is a key of ``STORES``, ``place`` is the text after it."""

    store: str
    place: str

    def __str__(self) -> str:
        return f"{self.store} {self.place}"

    @property
    def path(self) -> str:
        """The place without the member."""
        return self.place.partition("#")[0]

    @property
    def member(self) -> str | None:
        """The member of a JSON object that is the secret, ``None`` if the whole value is."""
        return self.place.partition("#")[2] or None


class StoredText(Expanded):
    """The text of a ``secret`` in a store."""

    secret: StoredSecret

    @classmethod
    def of(cls, text: str, secret: StoredSecret) -> "StoredText":
        made = cls(text)
        made.secret = secret
        return made


class UnreadText(Unresolved):
    """A text in place of a ``secret`` that was not read from its store."""

    secret: StoredSecret

    @classmethod
    def of(cls, secret: StoredSecret) -> "UnreadText":
        made = cls(f"the secret {secret}")
        made.secret = secret
        return made


def stored_secret(value: Any) -> StoredSecret | None:
    """Return the secret that ``{STORE: PLACE}`` names, or ``None`` for every other value."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    ((store, place),) = value.items()
    return StoredSecret(store, place) if store in STORES and isinstance(place, str) else None


class StoreReference(SecretReference):
    """``{STORE: PLACE}`` in a configuration. ``written`` is the place with its variables unexpanded."""

    def __init__(self, secret: StoredSecret, written: str, files: SecretFiles) -> None:
        super().__init__({secret.store: secret.place})
        self._secret = secret
        self._written = written
        self._files = files

    def text(self, *, may_be_unread: bool = False) -> str:
        secret = self._secret
        store = STORES[secret.store]
        if isinstance(secret.place, Unresolved):
            return Unresolved(secret.place)
        secret = StoredSecret(secret.store, str(secret.place))  # without the mark of a variable
        if not re.fullmatch(store.pattern, secret.place):
            raise Wrong(f"{self._written} is not a path of {store.name}", f"expected {store.form}")
        if (text := self._files.stored.get(str(secret))) is not None:
            return StoredText.of(text, secret)
        if (why := self._files.unreadable.get(str(secret))) is not None and not may_be_unread:
            raise Wrong(f"cannot read the secret {secret.store} {self._written}: {why}", f"check {store.name}")
        return UnreadText.of(secret)
