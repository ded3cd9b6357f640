"""Requests about objects that providers store: files, uploads, vector stores, containers and others.

They go to the account that an id or the client selects. Clients see ids that only their owner can use. Where ids are
the provider's own (one owner and one account, or ``foreign_ids``), everything passes unchanged, lists too."""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

import attrs
import msgspec

from gateway.allowances.reservation import CountedAs
from gateway.config.model_entry import ModelEntry
from gateway.conversations.deadline import store_deadline
from gateway.exchange.planned import PlannedRequest, as_prepared
from gateway.features.files.kept_forms import FORMS, KeptForm, read_list_request
from gateway.features.files.object_answers import ObjectAnswer
from gateway.features.files.opening import stored_objects_of
from gateway.http.external_url import url_of_request
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.response import JSON_HEADERS, Response
from gateway.kept_objects.accounts import Account
from gateway.kept_objects.inventory import Inventory, parse_object, read_page
from gateway.kept_objects.owned_ids import FoundId, OwnerIds, entry_names, only_account
from gateway.relay.answers import AnswerFilter
from gateway.relay.endpoint_plans import entry_target
from gateway.relay.relay import relay
from gateway.relay.relaying import JSON, WITHHELD_PARAMETERS, InboundRequest, ReadRequest, RelayedRequest
from gateway.relay.uploads import EditedPieces
from gateway.request.members import TEXT, decode_member
from gateway.request.parse import Incoming, decode_members
from gateway.request.prepared import NO_OUTPUT, Prepared
from gateway.request.wire import MediaTypes
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.stores.errors import Unavailable
from gateway.upstream.request import UploadedBody
from providers.apis import CODECS
from providers.endpoints.endpoint import EndpointName
from providers.endpoints.multipart import FieldReplacer, parse_boundary
from providers.neutral.codec import Outgoing
from streams.errors import GatewayError, invalid
from streams.surrogates import NOT_JSON

log = logging.getLogger("trigate.state")

PROVIDER: Final = "x-trigate-provider"

_CURSORS: Final = frozenset(("after", "before", "after_id", "before_id"))
_CONTENT_STEPS: Final = ("content", "results", "url")
_PASSED_HEADERS: Final = ("range", "if-range")

_API_NAMES: Final = {"messages": "Anthropic's API", "gemini": "Gemini's API"}
"""Names of APIs in error messages; other APIs have OpenAI's form."""

_LISTED_ACTIONS: Final = (["cancel"], ["remix"])
"""Steps after an id whose responses are objects of the endpoint's own list."""

_COSTLY: Final = frozenset(("batches", "message_batches", "videos"))
"""Endpoints whose objects cost money, which is lost if the gateway does not learn their ids."""

_GRACE: Final = 0.5
"""Seconds for which the response about any other object may continue after its client has left."""

_FILE_PATHS: Final = frozenset((("files",), ("uploads", "parts"), ("containers", "files"), ("videos",)))
"""Paths whose requests may include a file."""


class KeptRequest:
    """A request about stored objects; ``path_ids`` are the client's ids in its path."""

    def __init__(self, inbound: InboundRequest, endpoint: EndpointName, path_ids: tuple[str, ...]) -> None:
        context = inbound.context
        self.inbound = inbound
        self.endpoint = endpoint
        self.method: str = inbound.arrival.asgi["method"]
        self.path: str = inbound.arrival.asgi["path"]
        self.api = context.codec.api if context.codec.api in FORMS else "chat"
        self.form: KeptForm = FORMS[self.api]
        self.service = context.service
        self.stored = stored_objects_of(self.service)
        self.client = context.client_request.client
        self.owner = self.service.admission.holder(self.client, context.client_request.headers)
        self.ids: OwnerIds = self.stored.accounts.ids_of(self.owner, self.client, self.form.shapes)
        self.query = parse_qsl(inbound.arrival.query, keep_blank_values=True)
        self.path_ids = tuple(self.form.before_id + text.partition(":")[0] for text in path_ids)

    @property
    def origin(self) -> str:
        """The gateway's URL as the client sees it, such as ``https://gateway.example``."""
        arrival = self.inbound.arrival
        return url_of_request(dict(arrival.asgi), arrival.headers)

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and not self.path_ids and self.endpoint in self.form.collections

    async def answer(self) -> Response:
        """Send the request to its account, or list from the inventory. Raises ``GatewayError``."""
        self.inbound.context.record.bill.billed = False
        if self.is_list and not self.ids.are_native:
            return await self._list_response()
        found = self._find_path_ids()
        if self.method == "POST" and not self.is_json and self.may_include_file:
            return await self._send_to(self._select_account(found), found)
        body = await self._read_body()
        read = await offload(len(body), self.ids.find_all, body, self.form.request_ids) if body else None
        account = self._select_account((*found, *(() if read is None else (one for _, one in read.found))))
        return await self._send_to(account, found, b"" if read is None else read.with_native_ids())

    # The account

    def _find_path_ids(self) -> tuple[FoundId, ...]:
        try:
            return tuple(one for text in self.path_ids if (one := self.ids.resolve(text)) is not None)
        except GatewayError:
            raise self._not_found_error() from None

    def _not_found_error(self) -> GatewayError:
        """Return the 404 for the path, which does not reveal whether an object is deleted or another client's."""
        path = self.path if len(self.path) <= 600 else self.path[:600] + "…"
        return GatewayError("not_found", f"there is no object at {path}: it does not exist, or another key created it")

    def _is_usable_entry(self, entry: ModelEntry) -> bool:
        """Return whether ``entry`` has the endpoint in a shape of this API, and the client may use it."""
        place = entry.place_of(self.endpoint, entry.model)
        is_here = place is not None and place.shape in self.form.shapes
        return is_here and self.service.authenticator.reaches(self.client, entry)

    def usable_accounts(self) -> tuple[Account, ...]:
        """Return the accounts that have the endpoint and that the client may use."""
        with_endpoint = self.stored.accounts.accounts_with(self.endpoint, self.form.shapes)
        return tuple(one for one in with_endpoint if one.first_entry(self._is_usable_entry) is not None)

    @property
    def chosen_provider(self) -> str | None:
        return self.inbound.header(PROVIDER) or dict(self.query).get("provider")

    def _select_account(self, found: tuple[FoundId, ...]) -> Account:
        """Return the account of the ids, the one that the client names, or the only one. Raises ``GatewayError``."""
        usable_accounts, by_id = self.usable_accounts(), only_account(found)
        if by_id is not None:
            account = next((one for one in usable_accounts if one.mark == by_id.mark), None)
            if account is None:
                raise self._not_found_error()
            return account
        if not usable_accounts:
            form = _API_NAMES.get(self.api, "OpenAI's API")
            raise invalid(
                (
                    f"no provider that this key may use supports {self.endpoint} in the form of {form}; `trigate check "
                    "--endpoints` lists the endpoints of each entry"
                ), PROVIDER, code="unsupported_endpoint",
            )  # fmt: skip
        named = self.chosen_provider
        called = usable_accounts if named is None else tuple(one for one in usable_accounts if one.is_called(named))
        if len(called) == 1:
            return called[0]
        which = (
            "several providers support this endpoint"
            if named is None
            else f"{named[:200]!r} matches {len(called)} of them"
        )
        raise invalid(
            f"{which}: choose one with the header {PROVIDER} or ?provider=: {entry_names(usable_accounts)}", PROVIDER
        )

    @property
    def may_include_file(self) -> bool:
        """Whether the request may include a file.

        Any other body must be declared as JSON: otherwise a provider that reads it as JSON would find unchecked ids and
        models."""
        return (self.endpoint, *self.steps_after_root()[1:]) in _FILE_PATHS

    @property
    def _root_step(self) -> str:
        """The step of the path before the first id."""
        return self.endpoint

    # The request

    @property
    def is_json(self) -> bool:
        kind = (self.inbound.header("content-type") or JSON).partition(";")[0].strip().lower()
        return kind == JSON or kind.endswith("+json")

    async def _read_body(self) -> bytes:
        if self.method != "POST":
            return b""
        body = await self.inbound.read_body()
        if body and not self.is_json:
            raise GatewayError("invalid_request", f"send this request as JSON with the content-type {JSON}", status=415)
        if body:
            members = await offload(len(body), decode_members, body)
            if self.endpoint == "uploads":
                self._check_purpose(members)
        return body

    def _check_purpose(self, members: Mapping[str, msgspec.Raw]) -> None:
        """Reject an upload in parts for a batch if the lines must be checked: for limited models or a budget."""
        purpose = decode_member(members, "purpose", TEXT, "a string") or ""
        if "batch" in purpose.lower() and (self.service.authenticator.is_limited(self.client) or self.has_budget):
            message = (
                "the gateway reads the lines of batch files, so an upload in parts is not possible: send the whole "
                "file to /v1/files"
            )
            raise GatewayError("permission", message, param="purpose")

    @property
    def has_budget(self) -> bool:
        """Whether a budget applies to the client or an entry that it may use."""
        entries = (entry for account in self.usable_accounts() for entry in account.entries)
        return self.service.allowances.has_budget(self.client, entries)

    def _target(self, account: Account, found: tuple[FoundId, ...]) -> Target:
        """Return the target in ``account``, whose URL has the client's path with native ids."""
        entry = account.first_entry(self._is_usable_entry)
        target = None if entry is None else entry_target(entry, self.endpoint, self.form.shapes)
        assert target is not None, "it is an account that has the endpoint"
        self.service.authenticator.check_credential(target.entry, self.inbound.context.client_request.credential)
        path, mark, query = target.url.partition("?")
        natives = {one.text: one.native for one in found}
        rest = [self._native_step(step, natives) for step in self.steps_after_root()]
        more = urlencode([*self._provider_query(target)])
        url = "/".join((path, *rest)) + mark + query + (("&" if mark else "?") + more if more else "")
        return attrs.evolve(target, url=url)

    def steps_after_root(self) -> list[str]:
        """Return the steps of the path after ``_root_step``, such as ``["file-1", "content"]``."""
        steps = self.path.strip("/").split("/")
        root = next((at for at, step in enumerate(steps) if step == self._root_step), len(steps) - 1)
        if any(step in ("", ".", "..") for step in steps):
            raise self._not_found_error()
        return steps[root + 1 :]

    def _native_step(self, step: str, natives: Mapping[str, str]) -> str:
        word, mark, method = step.partition(":")
        whole = self.form.before_id + word
        return quote(natives.get(whole, whole).removeprefix(self.form.before_id), safe="") + mark + method

    def _provider_query(self, target: Target) -> list[tuple[str, str]]:
        """Return the client's query for the provider, with native ids and without the gateway's parameters."""
        twice = CODECS[target.api].wire.query_members
        kept = []
        for name, value in self.query:
            if name in _CURSORS and value and (one := self.ids.resolve(value, name)) is not None:
                value = one.native
            if name not in WITHHELD_PARAMETERS and name not in twice:
                kept.append((name, value))
        return kept

    async def _send_to(self, account: Account, found: tuple[FoundId, ...], body: bytes | None = None) -> Response:
        """Send the request to ``account``, and return its response with the client's ids."""
        if not self.ids.are_native:
            self.ids.client_id("", account)  # fails before creating an object whose id could not be signed
        target = self._target(account, found)
        filter = self._filter(account)
        request = self.relayed_request(await self._plan_request(target, body), filter)
        try:
            return await relay(self.inbound.exchange, self.inbound.scope, request)
        except GatewayError as error:
            raise await self._public_error(error, found) from None

    def relayed_request(self, planned: PlannedRequest, filter: AnswerFilter) -> RelayedRequest:
        on_complete = partial(self.process_answer, filter, planned.plan.first)
        return RelayedRequest(
            planned, lambda target: filter, on_complete=on_complete, outlives_client=self._survival(filter)
        )

    def _survival(self, filter: AnswerFilter) -> Callable[[], float] | None:
        """Return the ``outlives_client`` of the request, whose response changes the inventory."""
        if self.method == "GET" or self.steps_after_root()[-1:] == ["search"]:
            return None
        return lambda: math.inf if self.endpoint in _COSTLY else _GRACE

    async def process_answer(self, filter: AnswerFilter, target: Target) -> None:
        """Process a complete response before the client gets it: store its object."""
        if isinstance(filter, ObjectAnswer):
            await self.store_object(filter.body)

    def _filter(self, account: Account) -> AnswerFilter:
        steps = self.steps_after_root()
        if self.method == "GET" and steps and (steps[-1] in _CONTENT_STEPS or steps[-1].endswith(":download")):
            return AnswerFilter()
        return ObjectAnswer(
            self.service.settings.limits.answer,
            partial(self.client_body, account),
            partial(self._extra_headers, account),
        )

    def client_body(self, account: Account, body: bytes) -> bytes:
        return self.ids.with_client_ids(body, self.form.response_ids, account, self.origin)

    def _extra_headers(self, account: Account, headers: Mapping[str, str]) -> Headers:
        return ()

    async def _plan_request(self, target: Target, body: bytes | None) -> PlannedRequest:
        inbound, accept = self.inbound, self.inbound.header("accept") or "*/*"
        there = {name for name, _ in inbound.headers}
        passed = tuple((name, inbound.header(name) or "") for name in self._passed_headers if name in there)
        kind = inbound.header("content-type")
        prepare = as_prepared(Prepared(Outgoing(body or b"", passed), output=NO_OUTPUT))
        if self.method != "POST":
            incoming, counted_as = await inbound.bodiless_request(), CountedAs.LATER
        else:
            incoming = Incoming(inbound.context.codec.api, body or b"", {}, None, False)
            is_end = self.path.endswith(("/cancel", ":cancel"))  # also for a client without budget
            counted_as = CountedAs.LATER if is_end else CountedAs.BEGINNING
        if self.method == "POST" and body is None:
            upload = self._upload_body(target)
            planned = inbound.plan_upload(incoming, target, upload, kind or "application/octet-stream")
        else:
            media = MediaTypes(JSON if body else None, accept)
            planned = PlannedRequest(incoming, Plan.once(target), prepare, suffix="", media=media)
        return attrs.evolve(
            planned, prepare=prepare, method=self.method, counted_as=counted_as,
            has_deadline=counted_as is CountedAs.LATER,
        )  # fmt: skip

    @property
    def _passed_headers(self) -> tuple[str, ...]:
        """The names of the client's headers to pass on."""
        return _PASSED_HEADERS

    def _upload_body(self, target: Target) -> UploadedBody:
        """Return the client's body, to be passed on as it arrives."""
        pieces, length = self.inbound.arriving_pieces(), self.inbound.stated_length
        kind = self.inbound.header("content-type") or ""
        if self.ids.are_native or self.endpoint != "containers" or not kind.lower().startswith("multipart/"):
            return UploadedBody(pieces, length)
        ids = FieldReplacer(parse_boundary(kind), "file_id", partial(self._native_id, target))
        return UploadedBody(EditedPieces(pieces, ids.feed, ids.close))

    def _native_id(self, target: Target, field: bytes) -> bytes:
        """Return the provider's id for an owner's id in a field. Raises ``GatewayError``."""
        text = field.decode("utf-8", "replace")
        found = self.ids.resolve(text, "file_id")
        if found is not None and target.entry.name not in [entry.name for entry in found.account.entries]:
            stored_at = found.account.entry.name
            raise invalid(
                f"{text[:200]} is stored at {stored_at}, but the container is not: create the container there",
                "file_id",
            )
        return field if found is None else found.native.encode()

    # The response

    async def _public_error(self, error: GatewayError, found: tuple[FoundId, ...]) -> GatewayError:
        """Return a provider's error without native ids; a 404 also removes the object from the inventory."""
        info = error.info
        if self.ids.are_native:
            return error
        if info.status == 404 and self.path_ids:
            if len(self.path_ids) == 1:
                await self._remove_object(self.path_ids[0])
            return self._not_found_error()
        body, message = info.body, info.message
        for one in found:
            message = message.replace(one.native, one.text)
            body = body and body.replace(one.native.encode(), one.text.encode())
        return GatewayError.of(attrs.evolve(info, message=message, body=body))

    @property
    def _inventory(self) -> Inventory | None:
        return None if self.ids.are_native else self.stored.inventory

    async def store_object(self, body: bytes) -> None:
        """Update the inventory with ``body``, the response to a successful request."""
        collection, steps = self.form.collections.get(self.endpoint), self.steps_after_root()
        if self.endpoint == "uploads":
            collection, body = "files", await offload(len(body), member_of, body, "file")
        elif len(steps) > 1 and steps[1:] not in _LISTED_ACTIONS:
            return
        if self._inventory is None or collection is None:
            return
        if self.method == "DELETE":
            await self._remove_object(self.path_ids[0])
        elif kept := await offload(len(body), parse_object, self.owner, collection, body, self.form.id_member):
            await self.write_inventory(partial(self._inventory.put, kept))

    async def _remove_object(self, id: str) -> None:
        collection = self.form.collections.get(self.endpoint)
        if self._inventory is not None and collection is not None:
            await self.write_inventory(partial(self._inventory.remove, self.owner, collection, id))

    async def write_inventory(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run ``step``, which writes to the inventory; log failures, because the object already exists."""
        try:
            with store_deadline("store the new object's owner"):
                await step()
        except (GatewayError, Unavailable) as error:
            log.warning("could not update %s in its owner's list: %s", self.endpoint, error)

    # Lists

    async def _list_response(self) -> Response:
        """Return a response that lists the owner's objects in the inventory."""
        collection = self.form.collections[self.endpoint]
        await self.inbound.bodiless_request()
        if self._inventory is None:
            raise GatewayError(
                "unsupported",
                "lists need state_storage, and this gateway has none: use the ids from the responses that created "
                "the objects",
            )
        wanted, shown = read_list_request(self.api, collection, dict(self.query), self.inbound.headers)
        usable_accounts = self.usable_accounts()
        if self.chosen_provider is not None or usable_accounts:
            account = self._select_account(()) if self.chosen_provider is not None else None
            among = (account,) if account is not None else usable_accounts
            before = wanted.is_shown
            wanted = attrs.evolve(wanted, is_shown=lambda kept: before(kept) and self._belongs_to(kept.id, among))
        with store_deadline("read the list"):
            page = await read_page(self._inventory, self.owner, wanted)
        if page is None:
            raise GatewayError(
                "not_found",
                "there is no object with the id from which the list should continue: start the list again",
                param="after",
            )
        exchange = self.inbound.exchange
        exchange.record.bill.is_complete = True
        return exchange.respond(shown(page), 200, (*JSON_HEADERS, ("cache-control", "no-store")))

    def _belongs_to(self, id: str, among: tuple[Account, ...]) -> bool:
        found = self.ids.find(id)
        return found is not None and any(one.mark == found.account.mark for one in among)


def member_of(body: bytes, name: str) -> bytes:
    """Return the raw member ``name`` of the JSON object ``body``, b"" if it is missing."""
    try:
        return bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get(name, b""))
    except NOT_JSON:
        return b""


def reader_for(endpoint: EndpointName, kind: type[KeptRequest] = KeptRequest) -> ReadRequest:
    """Return a function that answers requests to ``endpoint`` with the class ``kind``."""

    async def read(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest | Response:
        return await kind(inbound, endpoint, tuple(names.values())).answer()

    return read


read_files = reader_for("files")
read_uploads = reader_for("uploads")
read_vector_stores = reader_for("vector_stores")
read_containers = reader_for("containers")
