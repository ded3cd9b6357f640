"""The ids of one owner, in its requests and in responses to it."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from gateway.config.settings import Config
from gateway.kept_objects.accounts import Account, account_of_mark, accounts_of
from gateway.kept_objects.id_texts import IdPlaces, IdText, id_texts, with_texts
from gateway.kept_objects.ids import read_tag, tagged_id
from providers.endpoints.endpoint import EndpointName, Place
from streams.errors import GatewayError, invalid

_SHOWN: Final = 200  # characters of an id in a message
_ADDRESS: Final = re.compile(r"https?://[^/?#]+/v1(?:beta|alpha)?/(files/[A-Za-z0-9_-]+)(.*)")
"""The URL of a Gemini file."""


@attrs.frozen(eq=False, repr=False)
class FoundId:
    """An owner's id: its ``account``, its ``native`` form there, and the client's ``text``."""

    text: str
    account: Account
    native: str


@attrs.frozen(eq=False, repr=False)
class OwnIds:
    """The ids of ``owner`` at ``accounts``.

    ``native`` means that clients use providers' ids unchanged, because there is no other owner."""

    accounts: tuple[Account, ...]
    owner: str
    native: bool = False

    def find(self, text: str) -> FoundId | None:
        """Return the meaning of ``text`` if the gateway made this id for the owner, else ``None``."""
        tag = read_tag(text)
        account = None if tag is None else account_of_mark(self.accounts, tag.mark)
        if tag is None or account is None or not tag.is_signed(self.owner, account.secrets):
            return None
        return FoundId(text, account, tag.native)

    def read(self, text: str, param: str | None = None) -> FoundId | None:
        """Return the meaning of ``text``, ``None`` if it is a native id. Raises ``GatewayError`` (404) for unknown
        ids."""
        found = self.find(text)
        if found is None and not self.native:
            raise unknown_id_error(text, param)
        return found

    def shown(self, native: str, account: Account) -> str:
        """Return the owner's id for ``native``. Raises ``GatewayError`` if nothing can sign it."""
        if self.native:
            return native
        if not account.secrets:
            raise unsigned_error(account)
        return tagged_id(native, self.owner, account.mark, account.secrets[0])

    def read_all(self, body: bytes, places: IdPlaces) -> "ReadIds":
        """Return all ids in ``body``. Raises ``GatewayError`` (404) for ids of others."""
        found = []
        for place in id_texts(body, places):
            id = place.text
            if place.path[-1] in places.addresses:
                if (address := _ADDRESS.fullmatch(id)) is None:
                    continue  # the URL of something outside providers
                id = address[1]
            if (one := self.read(id, place.path[-1])) is not None:
                found.append((place, one))
        return ReadIds(body, tuple(found), places.addresses)

    def read_tagged(self, body: bytes, places: IdPlaces) -> "ReadIds":
        """Return the ids in ``body`` that the gateway made; others are native. Raises ``GatewayError`` (404) for ids of
        others."""
        found = []
        for place in id_texts(body, places):
            id = place.text
            if place.path[-1] in places.addresses:
                address = _ADDRESS.fullmatch(id)
                id = "" if address is None else address[1]
            if read_tag(id) is None:
                continue
            if (one := self.find(id)) is None:
                raise unknown_id_error(id, place.path[-1])
            found.append((place, one))
        return ReadIds(body, tuple(found), places.addresses)

    def show_all(self, body: bytes, places: IdPlaces, account: Account, origin: str = "") -> bytes:
        """Return ``body``, a response of ``account``, with the owner's ids and URLs at ``origin``, the gateway's
        address."""
        if self.native:
            return body

        def shown(one: IdText) -> str:
            if one.path[-1] not in places.addresses:
                return self.shown(one.text, account)
            if (address := _ADDRESS.fullmatch(one.text)) is None:
                return one.text
            return f"{origin}/v1beta/{self.shown(address[1], account)}{address[2]}"

        return with_texts(body, ((one, shown(one)) for one in id_texts(body, places) if one.text))


@attrs.frozen(eq=False)
class ReadIds:
    """The ids in the ``body`` of a request with their positions."""

    body: bytes = attrs.field(repr=False)
    found: tuple[tuple[IdText, FoundId], ...] = ()
    addresses: frozenset[str] = frozenset()

    @property
    def account(self) -> Account | None:
        """The single account of all ids, ``None`` without ids. Raises ``GatewayError`` (400) for several."""
        return only_account(one for _, one in self.found)

    def native(self, base: str = "") -> bytes:
        """Return the body with native ids for that account; URLs begin with ``base``."""
        return with_texts(
            self.body,
            (
                (place, f"{base}/{one.native}" if place.path[-1] in self.addresses else one.native)
                for place, one in self.found
            ),
        )


def only_account(ids: Iterable[FoundId]) -> Account | None:
    """Return the account of all ``ids``. Raises ``GatewayError`` (400) if there are several (epam/ai-dial-core#232)."""
    first: FoundId | None = None
    for one in ids:
        if first is None:
            first = one
        elif one.account.mark != first.account.mark:
            text = (
                f"{first.text[:_SHOWN]} is stored at {first.account.entry.name} and {one.text[:_SHOWN]} at "
                f"{one.account.entry.name}: a request can use only one provider, so create both there"
            )
            raise invalid(text, code="ids_of_two_providers")
    return None if first is None else first.account


def unknown_id_error(text: str, param: str | None = None) -> GatewayError:
    """Return the error for an unknown id, equal whether or not it exists for another owner."""
    message = f"there is no object with the id {text[:_SHOWN]!r}: it does not exist, or another key created it"
    return GatewayError("not_found", message, param=param)


def unsigned_error(account: Account) -> GatewayError:
    return GatewayError(
        "unsupported",
        f"the gateway needs a key to sign the ids of {account.entry.name}, so that clients cannot use each other's "
        "objects: set `signing_key` in the configuration (`openssl rand -base64 32`)",
    )


def choices(accounts: Sequence[Account]) -> str:
    """Return the entry names by which ``accounts`` can be selected."""
    return ", ".join(one.entry.name for one in accounts)


STORING_ENDPOINTS: Final[tuple[EndpointName, ...]] = (
    "files", "uploads", "vector_stores", "containers", "batches", "message_batches", "videos",
)  # fmt: skip
"""Endpoints whose objects outlive a request."""

OPENAI: Final = frozenset(("openai", "mistral", "azure"))
"""The shapes of endpoints with OpenAI's requests for stored objects."""

SHAPES: Final = OPENAI | {"anthropic", "gemini"}
"""All shapes of endpoints with stored objects."""

MARKS: Final = tuple(f"{prefix}T".encode() for prefix in ("file-", "file_", "files/", "vs_", "cntr_", "container_"))
"""The beginnings of gateway ids that conversations may contain."""


class AccountDirectory:
    """The accounts of a configuration, and the owners of their ids; none without a configuration."""

    def __init__(self, config: Config | None = None) -> None:
        config = config or Config("", (), ())
        self.public_url = None if config.public_url is None else config.public_url.rstrip("/")
        """The gateway's address for clients, if configured."""
        self._closed = config.asks_for_key
        self._foreign = frozenset(key.name for key in config.client_keys if key.foreign_ids)
        self._accounts = accounts_of(config.entries, config.signing_key, several=config.asks_for_key)
        self.wraps = self._closed or len(self._storing_accounts(frozenset(SHAPES))) > 1
        """Whether clients get different ids than the provider's."""

    def may_be_in(self, body: bytes) -> bool:
        """Return whether ``body`` may contain a gateway id, by a byte search."""
        return any(mark in body for mark in MARKS)

    def with_endpoint(self, endpoint: EndpointName, shapes: Iterable[str]) -> tuple[Account, ...]:
        """Return the accounts that have ``endpoint`` in one of ``shapes``."""
        return tuple(one for one in self._accounts if _place(one, endpoint, frozenset(shapes)) is not None)

    def of_entry(self, name: str) -> Account | None:
        """Return the account whose first entry has this name."""
        return next((one for one in self._accounts if one.entry.name == name), None)

    def is_forgeable(self, account: Account) -> bool:
        """Return whether someone without access could sign ids of ``account``."""
        return self._closed and not account.has_secret

    def ids(self, owner: str, client: str | None, shapes: Iterable[str]) -> OwnIds:
        """Return the ids of ``owner`` for objects stored in one of ``shapes``, as ``client`` writes them."""
        accounts = self._storing_accounts(frozenset(shapes))
        alone = not self._closed and len(accounts) <= 1
        return OwnIds(accounts, owner, native=alone or client in self._foreign)

    def all_ids(self, owner: str, client: str | None) -> OwnIds:
        """Return the ids of ``owner`` for objects stored in any shape."""
        return self.ids(owner, client, SHAPES)

    def _storing_accounts(self, shapes: frozenset[str]) -> tuple[Account, ...]:
        return tuple(
            one
            for one in self._accounts
            if any(_place(one, endpoint, shapes) is not None for endpoint in STORING_ENDPOINTS)
        )


def _place(account: Account, endpoint: EndpointName, shapes: frozenset[str]) -> Place | None:
    places = (entry.place_of(endpoint, entry.model) for entry in account.entries)
    return next((place for place in places if place is not None and place.shape in shapes), None)
