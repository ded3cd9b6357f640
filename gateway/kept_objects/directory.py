"""Which accounts keep objects in which form, and what ids mean to a client, by one configuration."""

from collections.abc import Iterable
from typing import Final

from gateway.config.settings import Config
from gateway.kept_objects.accounts import Account, accounts_of
from gateway.kept_objects.owned_ids import OwnIds
from providers.endpoints.endpoint import EndpointName, Place

KEEPING: Final[tuple[EndpointName, ...]] = (
    "files", "uploads", "vector_stores", "containers", "batches", "message_batches", "videos",
)  # fmt: skip
"""The endpoints whose objects outlive a request."""

OPENAI: Final = frozenset(("openai", "mistral", "azure"))
"""The shapes of places that take OpenAI's requests for what they keep."""

SHAPES: Final = OPENAI | {"anthropic", "gemini"}
"""All shapes of such places."""

MARKS: Final = tuple(f"{prefix}T".encode() for prefix in ("file-", "file_", "files/", "vs_", "cntr_", "container_"))
"""How ids begin that the gateway has made of those which conversations name."""


class AccountDirectory:
    """The ``accounts`` of a configuration, and whose ids of theirs are. ``closed``: nobody comes in without a key;
    ``foreign`` are clients that use ids of providers. ``public_url`` is where clients reach the gateway, where that is
    configured."""

    def __init__(
        self,
        accounts: tuple[Account, ...] = (),
        foreign: frozenset[str] = frozenset(),
        public_url: str | None = None,
        *,
        closed: bool = False,
    ) -> None:
        self.public_url = public_url
        self._closed = closed
        self._foreign = foreign
        self._accounts = accounts
        self.wraps = closed or len(self._keeping(frozenset(SHAPES))) > 1
        """Whether clients get other ids than the provider's."""

    @classmethod
    def of(cls, config: Config) -> "AccountDirectory":
        return cls(
            accounts_of(config.entries, config.signing_key, several=config.asks_for_key),
            frozenset(key.name for key in config.client_keys if key.foreign_ids),
            None if config.public_url is None else config.public_url.rstrip("/"),
            closed=config.asks_for_key,
        )

    def may_be_in(self, body: bytes) -> bool:
        """Whether ``body`` may hold an id that the gateway has made: a look at its bytes alone."""
        return any(mark in body for mark in MARKS)

    def having(self, endpoint: EndpointName, shapes: Iterable[str]) -> tuple[Account, ...]:
        """The accounts that have ``endpoint`` in one of ``shapes``."""
        return tuple(one for one in self._accounts if _place(one, endpoint, frozenset(shapes)) is not None)

    def of_entry(self, name: str) -> Account | None:
        """The account of which the first entry has that name."""
        return next((one for one in self._accounts if one.entry.name == name), None)

    def is_forgeable(self, account: Account) -> bool:
        """Whether somebody who may not come in could sign for ``account``."""
        return self._closed and not account.has_secret

    def ids(self, owner: str, client: str | None, shapes: Iterable[str]) -> OwnIds:
        """The ids of ``owner``, as ``client`` shows them, of what is kept in one of ``shapes``."""
        keeping = self._keeping(frozenset(shapes))
        alone = not self._closed and len(keeping) <= 1
        return OwnIds(keeping, owner, native=alone or client in self._foreign)

    def all_ids(self, owner: str, client: str | None) -> OwnIds:
        """The same of what is kept in any shape."""
        return self.ids(owner, client, SHAPES)

    def _keeping(self, shapes: frozenset[str]) -> tuple[Account, ...]:
        return tuple(
            one for one in self._accounts if any(_place(one, endpoint, shapes) is not None for endpoint in KEEPING)
        )


def _place(account: Account, endpoint: EndpointName, shapes: frozenset[str]) -> Place | None:
    places = (entry.place_of(endpoint, entry.model) for entry in account.entries)
    return next((place for place in places if place is not None and place.shape in shapes), None)
