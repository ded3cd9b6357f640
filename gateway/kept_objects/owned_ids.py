"""Translation between clients' and providers' ids, in the requests and responses of one owner."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import attrs

from gateway.config.settings import Config
from gateway.kept_objects.accounts import Account, account_of_mark, accounts_of
from gateway.kept_objects.id_texts import IdPlaces, IdText, id_texts, replace_texts
from gateway.kept_objects.ids import parse_tagged_id, tagged_id
from providers.endpoints.endpoint import EndpointName, Place
from streams.errors import GatewayError, invalid
from streams.events import Api

_MAX_SHOWN: Final = 200  # characters of an id in a message
_FILE_URL: Final = re.compile(r"https?://[^/?#]+/v1(?:beta|alpha)?/(files/[A-Za-z0-9_-]+)(.*)")
"""The pattern of a Gemini file's URL."""


@attrs.frozen(eq=False, repr=False)
class FoundId:
    """A verified id: the client's ``text``, the ``account`` of its object, and the provider's id ``native``."""

    text: str
    account: Account
    native: str


@attrs.frozen(eq=False, repr=False)
class OwnerIds:
    """A translator of the ids of ``owner`` in ``accounts``.

    ``are_native`` means that the owner uses providers' ids unchanged."""

    accounts: tuple[Account, ...]
    owner: str
    are_native: bool = False

    def find(self, text: str) -> FoundId | None:
        """Verify the id ``text``; return ``None`` if the gateway did not make it for the owner."""
        tag = parse_tagged_id(text)
        account = None if tag is None else account_of_mark(self.accounts, tag.mark)
        if tag is None or account is None or not tag.is_signed(self.owner, account.secrets):
            return None
        return FoundId(text, account, tag.native)

    def resolve(self, text: str, param: str | None = None) -> FoundId | None:
        """Verify the id ``text``; return ``None`` for a native id if ``are_native``.

        Raises ``GatewayError`` (404) for any other unknown id."""
        found = self.find(text)
        if found is None and not self.are_native:
            raise unknown_id_error(text, param)
        return found

    def client_id(self, native: str, account: Account) -> str:
        """Return the client's id for the provider's id ``native``. Raises ``GatewayError`` without a signing secret."""
        if self.are_native:
            return native
        if not account.secrets:
            raise unsigned_error(account)
        return tagged_id(native, self.owner, account.mark, account.secrets[0])

    def find_all(self, body: bytes, places: IdPlaces) -> "FoundIds":
        """Find and verify all ids in ``body``. Raises ``GatewayError`` (404) for an unknown id."""
        found = []
        for place in id_texts(body, places):
            id = place.text
            if place.path[-1] in places.addresses:
                if (address := _FILE_URL.fullmatch(id)) is None:
                    continue  # the URL of something outside providers
                id = address[1]
            if (one := self.resolve(id, place.path[-1])) is not None:
                found.append((place, one))
        return FoundIds(body, tuple(found), places.addresses)

    def find_tagged(self, body: bytes, places: IdPlaces) -> "FoundIds":
        """Find and verify the ids in ``body`` that have the gateway's form, and find a provider's id.

        Raises ``GatewayError`` (404) for an id of another owner."""
        found, native = [], None
        for place in id_texts(body, places):
            id, member = place.text, place.path[-1]
            if member in places.addresses:
                address = _FILE_URL.fullmatch(id)
                id = id if address is None else address[1]
            if parse_tagged_id(id) is None:
                if native is None and self._is_native(place.text, is_address=member in places.addresses):
                    native = attrs.evolve(place, text=id)
                continue
            if member in OTHER_ADDRESSES:
                continue
            if (one := self.find(id)) is None:
                raise unknown_id_error(id, member)
            found.append((place, one))
        return FoundIds(body, tuple(found), places.addresses, native)

    def _is_native(self, text: str, *, is_address: bool) -> bool:
        """Return whether ``text`` may be a provider's id, or the URL of a file at one of the accounts."""
        if not is_address or text.startswith("files/"):
            return text != ""
        origin = "" if _FILE_URL.fullmatch(text) is None else "/".join(text.split("/", 3)[:3]).lower()
        return any(one.origin == origin for one in self.accounts)

    def with_client_ids(self, body: bytes, places: IdPlaces, account: Account, origin: str = "") -> bytes:
        """Return ``body``, a response of ``account``, with the client's ids; URLs of files start with ``origin``."""
        if self.are_native:
            return body

        def client_text(one: IdText) -> str:
            if one.path[-1] not in places.addresses:
                return self.client_id(one.text, account)
            if (address := _FILE_URL.fullmatch(one.text)) is None:
                return one.text
            return f"{origin}/v1beta/{self.client_id(address[1], account)}{address[2]}"

        return replace_texts(body, ((one, client_text(one)) for one in id_texts(body, places) if one.text))


def may_contain_native_ids(body: bytes, api: Api, tools: Iterable[bytes]) -> bool:
    """Return whether ``body`` may contain a provider's id: a fast search that may find too much.

    ``tools`` are the values of its members that may have a ``container``."""
    own = (_RELATIVE_ADDRESS,) if api in ("gemini", "interactions") else ()
    searches = (_NATIVE_ID, _FILE_ADDRESS, _ESCAPED, *own)
    return any(one.search(body) for one in searches) or any(b"container" in one.lower() for one in tools)


@attrs.frozen(eq=False)
class FoundIds:
    """The verified ids in a request's ``body``, with their positions.

    Members in ``addresses`` contain URLs. ``native`` is the first id of a provider, if ids of both kinds are found."""

    body: bytes = attrs.field(repr=False)
    found: tuple[tuple[IdText, FoundId], ...] = ()
    addresses: frozenset[str] = frozenset()
    native: IdText | None = None

    @property
    def account(self) -> Account | None:
        """The single account of all ids, ``None`` without ids. Raises ``GatewayError`` (400) for several."""
        return only_account(one for _, one in self.found)

    def with_native_ids(self, base: str = "") -> bytes:
        """Return the body with the providers' ids; URLs of files start with ``base``."""
        return replace_texts(
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
                f"{first.text[:_MAX_SHOWN]} is stored at {first.account.entry.name} and {one.text[:_MAX_SHOWN]} at "
                f"{one.account.entry.name}: a request can use only one provider, so create both there"
            )
            raise invalid(text, code="ids_of_two_providers")
    return None if first is None else first.account


def unknown_id_error(text: str, param: str | None = None) -> GatewayError:
    """Return a 404 for the id ``text``, which does not reveal whether another owner has it."""
    message = f"there is no object with the id {text[:_MAX_SHOWN]!r}: it does not exist, or another key created it"
    return GatewayError("not_found", message, param=param)


def native_id_error(native: IdText) -> GatewayError:
    """Return a 404 for a provider's id, with the same words whether another owner has it."""
    return GatewayError(
        "not_found",
        f"there is no object with the id {native.text[:_MAX_SHOWN]!r}: use the id that the gateway returned. For the "
        "provider's own ids, the client key needs `foreign_ids: true` in the configuration",
        param=native.path[-1],
    )


def unsigned_error(account: Account) -> GatewayError:
    return GatewayError(
        "unsupported",
        f"the gateway needs a key to sign the ids of {account.entry.name}, so that clients cannot use each other's "
        "objects: set `signing_key` in the configuration (`openssl rand -base64 32`)",
    )


def entry_names(accounts: Sequence[Account]) -> str:
    """Return a list of ``accounts`` for an error message: the names of their first entries."""
    return ", ".join(one.entry.name for one in accounts)


STORING_ENDPOINTS: Final[tuple[EndpointName, ...]] = (
    "files", "uploads", "vector_stores", "containers", "batches", "message_batches", "videos",
)  # fmt: skip
"""Endpoints that store objects at a provider."""

OPENAI_SHAPES: Final = frozenset(("openai", "mistral", "azure"))
"""The shapes of endpoints with OpenAI's requests for stored objects."""

STORING_SHAPES: Final = OPENAI_SHAPES | {"anthropic", "gemini"}
"""All shapes of endpoints with stored objects."""

_ID_BEGINNING: Final = re.compile(rb"T(?:(?<=file-T)|(?<=file_T)|(?<=files/T)|(?<=vs_T)|(?<=cntr_T)|(?<=container_T))")
"""The first bytes of gateway ids that conversations may contain, searched from the last one, because text has few
capitals: a search for each would take ten times as long."""

_FEW: Final = 1000
"""Capitals that are searched one by one, by the system's fastest search for a byte."""


OTHER_ADDRESSES: Final = frozenset(("uri", "url", "image_url", "file_url"))
"""Members of conversations with URLs of any server. A translation may send them as URLs of stored files."""

_NATIVE_ID: Final = re.compile(
    rb'_[iI][dD][sS]?"(?:(?<=(?i:file)....)|(?<=(?i:file).....)|(?<=(?i:store)....)|(?<=(?i:store).....)'
    rb"|(?<=(?i:container)....)|(?<=(?i:batch)....))"
)
"""The ends of the names of members with ids. Conversations have few of them."""

_ESCAPED: Final = re.compile(rb"\\u00(?:[4-7]|2[fF]|31)")
"""An escaped letter, underscore, slash or 1, which could hide such a name or URL. No program escapes them."""

_FILE_ADDRESS: Final = re.compile(rb"v1(?:beta|alpha)?\\?/files\\?/")
_RELATIVE_ADDRESS: Final = re.compile(rb'"files\\?/')


class AccountDirectory:
    """The accounts of a configuration, and the rules for ids of their objects."""

    def __init__(self, config: Config | None = None, clients_with_native_ids: Collection[str] = ()) -> None:
        config = config or Config("", (), ())
        self._has_owners = config.asks_for_key
        self._clients_with_native_ids = frozenset(clients_with_native_ids)
        self._accounts = accounts_of(config.entries, config.signing_key, has_several_owners=config.asks_for_key)
        self.changes_ids = self._has_owners or len(self._storing_accounts(frozenset(STORING_SHAPES))) > 1
        """True if clients get the gateway's ids instead of the providers'."""

    def may_contain_ids(self, body: bytes) -> bool:
        """Return whether ``body`` may contain a gateway id: a fast search that may find too much."""
        at = -1
        for _ in range(_FEW):
            if (at := body.find(b"T", at + 1)) < 0:
                return False
            if _ID_BEGINNING.match(body, at) is not None:
                return True
        return _ID_BEGINNING.search(body, at + 1) is not None

    def refuses_native_ids(self, client: str | None) -> bool:
        """Return whether ``client`` may not use the providers' ids, because they could be other clients' objects."""
        return self._has_owners and client not in self._clients_with_native_ids

    def accounts_with(self, endpoint: EndpointName, shapes: Iterable[str]) -> tuple[Account, ...]:
        return tuple(one for one in self._accounts if _place(one, endpoint, frozenset(shapes)) is not None)

    def of_entry(self, name: str) -> Account | None:
        """Return the account whose first entry has this name."""
        return next((one for one in self._accounts if one.entry.name == name), None)

    def is_forgeable(self, account: Account) -> bool:
        """Return whether a client could forge ids of ``account``, because they have no secret but several owners."""
        return self._has_owners and not account.has_secret

    def ids_of(self, owner: str, client: str | None, shapes: Iterable[str]) -> OwnerIds:
        """Return the translator of ids that ``client`` uses for objects of ``owner`` at endpoints in ``shapes``."""
        accounts = self._storing_accounts(frozenset(shapes))
        alone = not self._has_owners and len(accounts) <= 1
        return OwnerIds(accounts, owner, are_native=alone or client in self._clients_with_native_ids)

    def all_ids_of(self, owner: str, client: str | None) -> OwnerIds:
        """Return the translator of ids that ``client`` uses for all objects of ``owner``."""
        return self.ids_of(owner, client, STORING_SHAPES)

    def _storing_accounts(self, shapes: frozenset[str]) -> tuple[Account, ...]:
        return tuple(
            one
            for one in self._accounts
            if any(_place(one, endpoint, shapes) is not None for endpoint in STORING_ENDPOINTS)
        )


def _place(account: Account, endpoint: EndpointName, shapes: frozenset[str]) -> Place | None:
    places = (entry.place_of(endpoint, entry.model) for entry in account.entries)
    return next((place for place in places if place is not None and place.shape in shapes), None)
