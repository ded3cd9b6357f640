"""The ids of one owner, as its requests hold them and as answers to it show them."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from gateway.config.settings import Config
from gateway.kept_objects.accounts import Account, accounts_of, marked
from gateway.kept_objects.id_texts import IdPlaces, IdText, id_texts, with_texts
from gateway.kept_objects.ids import read_tag, tagged
from providers.endpoints.endpoint import EndpointName, Place
from streams.errors import GatewayError, invalid

_SHOWN: Final = 200  # characters of an id in a message
_ADDRESS: Final = re.compile(r"https?://[^/?#]+/v1(?:beta|alpha)?/(files/[A-Za-z0-9_-]+)(.*)")
"""The address of a file of Gemini's."""


@attrs.frozen
class FoundId:
    """An id of the owner's: the ``account`` that has it, and its ``native`` form there. ``text`` is what the client
    says."""

    text: str
    account: Account
    native: str


@attrs.frozen
class OwnIds:
    """The ids of ``owner`` among ``accounts``. ``native``: ids of providers stand for themselves, because there is
    nobody to keep them from."""

    accounts: tuple[Account, ...]
    owner: str
    native: bool = False

    def find(self, text: str) -> FoundId | None:
        """What ``text`` stands for, if it is an id that the owner was given."""
        tag = read_tag(text)
        account = None if tag is None else marked(self.accounts, tag.mark)
        if tag is None or account is None or not tag.is_signed(self.owner, account.secrets):
            return None
        return FoundId(text, account, tag.native)

    def read(self, text: str, param: str | None = None) -> FoundId | None:
        """The same; ``None`` for one that stands for itself. Raises ``GatewayError`` (404) for any other."""
        found = self.find(text)
        if found is None and not self.native:
            raise no_such(text, param)
        return found

    def shown(self, native: str, account: Account) -> str:
        """``native`` as the owner gets it. Raises ``GatewayError`` where nothing can sign it."""
        if self.native:
            return native
        if not account.secrets:
            raise unsigned(account)
        return tagged(native, self.owner, account.mark, account.secrets[0])

    def read_all(self, body: bytes, places: IdPlaces) -> "ReadIds":
        """All ids of ``body``. Raises ``GatewayError``: 404 for one that is not the owner's."""
        found = []
        for place in id_texts(body, places):
            id = place.text
            if place.path[-1] in places.addresses:
                if (address := _ADDRESS.fullmatch(id)) is None:
                    continue  # of something that no provider keeps
                id = address[1]
            if (one := self.read(id, place.path[-1])) is not None:
                found.append((place, one))
        return ReadIds(body, tuple(found), places.addresses)

    def read_tagged(self, body: bytes, places: IdPlaces) -> "ReadIds":
        """The ids of ``body`` that the gateway has made; all others stand for themselves. Raises ``GatewayError`` (404)
        for one that was made for another owner."""
        found = []
        for place in id_texts(body, places):
            id = place.text
            if place.path[-1] in places.addresses:
                address = _ADDRESS.fullmatch(id)
                id = "" if address is None else address[1]
            if read_tag(id) is None:
                continue
            if (one := self.find(id)) is None:
                raise no_such(id, place.path[-1])
            found.append((place, one))
        return ReadIds(body, tuple(found), places.addresses)

    def show_all(self, body: bytes, places: IdPlaces, account: Account, origin: str = "") -> bytes:
        """``body``, an answer of ``account``, with the ids that the owner gets. Addresses lead to ``origin``, which is
        the gateway's."""
        if self.native:
            return body

        def shown(one: IdText) -> str:
            if one.path[-1] not in places.addresses:
                return self.shown(one.text, account)
            if (address := _ADDRESS.fullmatch(one.text)) is None:
                return one.text
            return f"{origin}/v1beta/{self.shown(address[1], account)}{address[2]}"

        return with_texts(body, ((one, shown(one)) for one in id_texts(body, places) if one.text))


@attrs.frozen
class ReadIds:
    """The ids in the ``body`` of a request, each with its place."""

    body: bytes = attrs.field(repr=False)
    found: tuple[tuple[IdText, FoundId], ...] = ()
    addresses: frozenset[str] = frozenset()

    @property
    def account(self) -> Account | None:
        """The one account that keeps all of them, ``None`` where there are none."""
        return only_account(one for _, one in self.found)

    def native(self, base: str = "") -> bytes:
        """The body as that account understands it; its addresses begin with ``base``."""
        return with_texts(
            self.body,
            (
                (place, f"{base}/{one.native}" if place.path[-1] in self.addresses else one.native)
                for place, one in self.found
            ),
        )


def only_account(ids: Iterable[FoundId]) -> Account | None:
    """The account that keeps all of ``ids``. Raises ``GatewayError`` (400) where there are several
    (epam/ai-dial-core#232)."""
    first: FoundId | None = None
    for one in ids:
        if first is None:
            first = one
        elif one.account.mark != first.account.mark:
            text = (
                f"{first.text[:_SHOWN]} is kept by {first.account.entry.name} and {one.text[:_SHOWN]} by "
                f"{one.account.entry.name}: one request goes to one of them, so make both there"
            )
            raise invalid(text, code="ids_of_two_providers")
    return None if first is None else first.account


def no_such(text: str, param: str | None = None) -> GatewayError:
    """The error for an id under which the owner has nothing: the same whether somebody else has, or nobody."""
    message = f"there is nothing with the id {text[:_SHOWN]!r}: it does not exist, or it was not made with this key"
    return GatewayError("not_found", message, param=param)


def unsigned(account: Account) -> GatewayError:
    return GatewayError(
        "unsupported",
        f"{account.entry.name} has no key to sign ids with, and without that one client could name what another one "
        "has: give the configuration a signing_key (`openssl rand -base64 32`)",
    )


def choices(accounts: Sequence[Account]) -> str:
    """The names by which ``accounts`` can be chosen."""
    return ", ".join(one.entry.name for one in accounts)


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
    """The accounts of a configuration, and the owners of their ids. Without a configuration there are none."""

    def __init__(self, config: Config | None = None) -> None:
        config = config or Config("", (), ())
        self.public_url = None if config.public_url is None else config.public_url.rstrip("/")
        """The address at which clients reach the gateway, where that is configured."""
        self._closed = config.asks_for_key
        self._foreign = frozenset(key.name for key in config.client_keys if key.foreign_ids)
        self._accounts = accounts_of(config.entries, config.signing_key, several=config.asks_for_key)
        self.wraps = self._closed or len(self._keeping(frozenset(SHAPES))) > 1
        """Whether clients get other ids than the provider's."""

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
