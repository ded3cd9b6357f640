"""The accounts at providers that store objects: entries with the same provider, address and credential share one.

Objects of an account are available through all its entries (mozilla-ai/otari#984). Ids contain the account, so that no
other account is queried."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from urllib.parse import urlsplit

import attrs

from gateway.config.model_entry import ModelEntry
from gateway.kept_objects.ids import AccountMark, short_digest
from gateway.routing.target import Identity
from providers.catalog.providers import find
from providers.neutral.seal import signing_secret

_PUBLIC_SECRET = b"every id is one owner's, or the provider asks for the client's own key"


@attrs.frozen(slots=False)
class Account:
    """One account at a provider: the entries that share it, in the order of the configuration.

    The first of ``keys`` signs ids, and all verify them. Without keys, a secret derived from the account's own key
    does both."""

    entries: tuple[ModelEntry, ...]
    keys: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    has_several_owners: bool = True
    """True if its objects may have several owners."""

    @property
    def entry(self) -> ModelEntry:
        return self.entries[0]

    @property
    def origin(self) -> str:
        """The scheme and host of the account's provider."""
        url = urlsplit(self.entry.base_url or self.entry.provider.base_url or "")
        return f"{url.scheme}://{url.netloc}".lower()

    @cached_property
    def mark(self) -> AccountMark:
        return AccountMark(short_digest(self.entry.provider.id), short_digest(self.entry.name))

    @cached_property
    def entry_digests(self) -> frozenset[bytes]:
        return frozenset(short_digest(entry.name) for entry in self.entries)

    @cached_property
    def secrets(self) -> tuple[bytes, ...]:
        """The secrets that sign and verify the account's ids; empty if it has none but several owners."""
        if self.keys:
            return self.keys
        key = self.entry.key
        if self.entry.sign_in is not None:
            key = "\n".join(self.entry.sign_in.secrets)
        if key:
            return (signing_secret(self.entry.provider.id, key),)
        return () if self.has_several_owners and not self.entry.passthrough_auth else (_PUBLIC_SECRET,)

    @property
    def has_secret(self) -> bool:
        """Whether only the gateway can sign the account's ids."""
        return bool(self.secrets) and self.secrets != (_PUBLIC_SECRET,)

    def first_entry(self, may: Callable[[ModelEntry], bool]) -> ModelEntry | None:
        return next(filter(may, self.entries), None)

    def is_called(self, word: str) -> bool:
        """Return whether ``word`` is the name of the provider or of one of the entries."""
        provider = find(word)
        return any(
            word in (entry.name, entry.provider.id) or (provider is not None and provider.id == entry.provider.id)
            for entry in self.entries
        )


def accounts_of(
    entries: Iterable[ModelEntry], keys: tuple[bytes, ...], *, has_several_owners: bool
) -> tuple[Account, ...]:
    """Group ``entries`` by account, in their order."""
    grouped: dict[object, list[ModelEntry]] = {}
    for entry in entries:
        grouped.setdefault((Identity.of(entry, "").account, entry.passthrough_auth), []).append(entry)
    return tuple(Account(tuple(group), keys, has_several_owners) for group in grouped.values())


def account_of_mark(accounts: Sequence[Account], mark: AccountMark) -> Account | None:
    """Return the account that ``mark`` identifies, ``None`` if unknown.

    The entry's name decides only between several accounts of a provider, because entries may be renamed."""
    found = [one for one in accounts if one.mark.provider == mark.provider]
    if len(found) > 1:
        found = [one for one in found if mark.entry in one.entry_digests]
    return found[0] if len(found) == 1 else None
