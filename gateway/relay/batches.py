"""Batches: files or lists of requests that a provider processes over time.

A batch belongs to the account of its file, results included. It is billed once, when its owner first receives its
usage."""

import contextlib
import logging
from functools import partial
from typing import Final

import attrs
import msgspec

from gateway.allowances.allowance import Consumption
from gateway.conversations.deadline import store_deadline
from gateway.exchange.planned import PlannedRequest
from gateway.http.response import Response
from gateway.kept_objects.accounts import Account
from gateway.kept_objects.inventory import BATCH_FILES, OUTPUTS, Collection, Inventory, KeptObject
from gateway.kept_objects.owned_ids import FoundId
from gateway.kept_objects.pending import PendingBatch
from gateway.relay.answers import AnswerFilter, ObjectAnswer
from gateway.relay.batch_costs import ResultLines, ended_batch
from gateway.relay.batch_models import BatchModels, BatchNote, read_note
from gateway.relay.kept import KeptRequest, member_of, reading
from gateway.relay.uploads import FileUpload, file_upload
from gateway.request.members import check_members
from gateway.routing.target import Target
from gateway.stores.store import Unavailable
from gateway.upstream.request import UploadedBody
from providers.endpoints.batch_lines import BatchLines, with_model
from streams.errors import GatewayError, invalid
from streams.events import Usage

log = logging.getLogger("trigate.state")

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REQUESTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)


class OutputNote(msgspec.Struct, frozen=True):
    """The ``batch`` whose results a file contains, and whether only calls of tools remain to be billed."""

    batch: str
    only_calls: bool = False

    @property
    def paid_as(self) -> str:
        """The key under which it is billed once."""
        return f"calls of {self.batch}" if self.only_calls else self.batch


_OUTPUT: Final = msgspec.json.Decoder(OutputNote | str)


def read_output_note(body: bytes) -> OutputNote:
    """Return the note stored for a results file; older ones have only the batch."""
    found = _OUTPUT.decode(body)
    return found if isinstance(found, OutputNote) else OutputNote(found)


class FileRequest(KeptRequest):
    """A file upload, possibly for a batch."""

    _upload: FileUpload | None = None
    _models: BatchModels | None = None

    async def answer(self) -> Response:
        if self.method == "POST" and self.api == "chat" and not self.is_json:
            usable = self.usable()
            named = self._account(()) if self.named is not None or len(usable) < 2 else None
            self._models = BatchModels(self, named, usable)
            self._upload = await file_upload(self.relaying, lambda: BatchLines(self._resolver.resolve, check_members))
        return await super().answer()

    async def remember(self, body: bytes) -> None:
        """Store the object, and for a batch's file its models and expected cost.

        When a batch is created, the client may no longer be allowed to use all of them."""
        await super().remember(body)
        id, inventory = member_of(body, "id"), self.service.inventory
        if self._models is not None and self._models.note.named and inventory is not None and id:
            known = msgspec.json.encode(self._models.note)
            note = KeptObject(self.owner, BATCH_FILES, _of_file(BATCH_FILES, _TEXT.decode(id)), known)
            await self.note(partial(inventory.put, note))

    @property
    def _resolver(self) -> BatchModels:
        assert self._models is not None, "a file is uploaded"
        return self._models

    def _account(self, found: tuple[FoundId, ...]) -> Account:
        if self._models is not None and self._models.account is not None:
            return self._models.account
        return super()._account(found)

    def _uploaded(self, target: Target) -> UploadedBody:
        return super()._uploaded(target) if self._upload is None else self._upload.body


class BatchRequest(KeptRequest):
    """A batch of OpenAI or a compatible provider."""

    _account_asked: Account | None = None
    _note: BatchNote | None = None  # of the requests with which it begins

    @property
    def _root(self) -> str:
        return "batches"

    async def _asked_of(self, account: Account, found: tuple[FoundId, ...], body: bytes | None = None) -> Response:
        self._account_asked = account
        return await super()._asked_of(account, found, body)

    async def _read_body(self) -> bytes:
        body = await super()._read_body()
        if body and not self.texts and self.service.inventory is not None:
            await self._check_models(body, self.service.inventory)
        return body

    async def _check_models(self, body: bytes, inventory: Inventory) -> None:
        """Check the models of the batch's file.

        Raises ``GatewayError``: 403 for a model that the client may no longer use, 400 if a budget applies and the cost
        is unknown."""
        try:
            file = _TEXT.decode(member_of(body, "input_file_id") or b'""')
        except msgspec.MsgspecError:
            file = ""
        with store_deadline("look up the models of the file"):
            found = await inventory.get(self.owner, BATCH_FILES, _of_file(BATCH_FILES, file)) if file else None
        if found is not None:
            self._note, models = read_note(found.kept.body), BatchModels(self, None, self.usable())
            for model, url in self._note.named:
                models.resolve(model, url, b"{}")
        if self.ids.native or (file and self.ids.find(file) is None):
            return  # native, or unknown
        if (self._note is None or not self._note.tokens) and self.has_budget:
            raise invalid(
                (
                    "this batch has a budget, but the cost of its lines is unknown: upload them to /v1/files again"
                ), "input_file_id",
            )  # fmt: skip

    async def _planned(self, target: Target, body: bytes | None) -> PlannedRequest:
        planned = await super()._planned(target, body)
        if self._note is None or not self._note.tokens:
            return planned
        return attrs.evolve(planned, begins=Consumption(Usage(input=self._note.tokens), max(1, self._note.usd)))

    @property
    def read_on(self) -> bool:
        return super().read_on or self._is_results

    async def note_answer(self, filter: AnswerFilter, target: Target) -> None:
        """Store the object, the expected cost of a new batch, and the cost of a finished one."""
        await super().note_answer(filter, target)
        if self._note is not None and isinstance(filter, ObjectAnswer):
            await self._set_aside(self._note, filter, target)
        else:
            await self._pay(filter)

    async def _set_aside(self, note: BatchNote, filter: ObjectAnswer, target: Target) -> None:
        """Reserve the expected cost of the batch from the budgets that will pay, until it ends."""
        id, payers = _id_in(filter.body), self.service.allowances.payers(self.client, target)
        if id is not None and payers and note.tokens:
            await self.service.pending.add(self.owner, id, PendingBatch(payers, note.usd, note.tokens))

    @property
    def _is_results(self) -> bool:
        return self.method == "GET" and self.behind_root()[-1:] == ["results"]

    async def _pay(self, filter: AnswerFilter) -> None:
        """Bill what the response reports, unless it was billed before."""
        assert self._account_asked is not None, "it was asked"
        booking, id, is_over = None, self._paid_for, False
        if isinstance(filter, ResultLines):
            booking, is_over = filter.booking, True
        elif isinstance(filter, ObjectAnswer) and not self.is_list:
            batch = ended_batch(filter.body, self._account_asked.entries)
            if batch is None:
                return
            booking, id = batch.booking, batch.id
            is_over = booking is not None or batch.output is None
            if batch.output is not None and (booking is None or batch.has_tools):
                await self._note_output(batch.output, OutputNote(batch.id, only_calls=booking is not None))
        if booking is not None and await self._is_first(id):
            record = self.relaying.context.record
            record.bill.billed, record.bill.usage, record.bill.booked = True, booking.usage, booking
            if isinstance(filter, ObjectAnswer):
                filter.usage = booking.usage
            if record.reservation is not None:  # before it is removed: a reader may be slow
                record.reservation.settle(record)
        if is_over and self.service.allowances.batch_reserves.is_wanted:
            await self.service.pending.remove(self.owner, id)

    @property
    def _paid_for(self) -> str:
        """The batch that this request's response bills."""
        return self.texts[0] if self.texts else ""

    async def _note_output(self, file: str, known: OutputNote) -> None:
        """Store that ``file`` contains a batch's results, whose lines report its usage."""
        note = KeptObject(self.owner, OUTPUTS, _of_file(OUTPUTS, file), msgspec.json.encode(known))
        if self.service.inventory is not None:
            await self.note(partial(self.service.inventory.put, note))

    async def _is_first(self, id: str) -> bool:
        """Return whether batch ``id`` is billed for the first time.

        Without state storage this is unknown, and each query would bill it, so none does."""
        if self.service.inventory is None:
            return False
        try:
            return await self.service.inventory.claim(self.owner, id)
        except Unavailable as error:
            log.warning("could not store the cost of batch %s: %s", id, error)
            return False


class ContentRequest(BatchRequest):
    """The content of a file, which may contain results of a batch with unknown usage."""

    _results: OutputNote | None = None

    async def answer(self) -> Response:
        if self.service.inventory is not None and self.texts:
            with contextlib.suppress(Unavailable):
                found = await self.service.inventory.get(self.owner, OUTPUTS, _of_file(OUTPUTS, self.texts[0]))
                self._results = None if found is None else read_output_note(found.kept.body)
        return await super().answer()

    @property
    def _root(self) -> str:
        return "files"

    @property
    def _is_results(self) -> bool:
        return self._results is not None

    @property
    def _paid_for(self) -> str:
        return "" if self._results is None else self._results.paid_as

    @property
    def _passed(self) -> tuple[str, ...]:
        return () if self._is_results else super()._passed

    def _filter(self, account: Account) -> AnswerFilter:
        if self._results is None:
            return super()._filter(account)
        return ResultLines(account.entries, only_calls=self._results.only_calls)


def _id_in(body: bytes) -> str | None:
    try:
        return _TEXT.decode(member_of(body, "id"))
    except msgspec.MsgspecError:
        return None


def _of_file(collection: Collection, file: str) -> str:
    """Return the id of a note about ``file``; an owner's ids are unique across collections."""
    return f"{collection} {file}"


class MessageBatchRequest(BatchRequest):
    """An Anthropic batch: its requests are a list in the body, its results have their own URL."""

    _own_account: Account | None = None

    async def _read_body(self) -> bytes:
        body = await super()._read_body()
        if not body or self.texts:
            return body
        usable = self.usable()
        models = BatchModels(self, self._account(()) if self.named is not None else None, usable)
        body = rewritten(body, models)
        self._own_account, self._note = models.account, models.note
        return body

    async def _check_models(self, body: bytes, inventory: Inventory) -> None:
        """Do nothing: its requests are not in a file."""

    def _account(self, found: tuple[FoundId, ...]) -> Account:
        return super()._account(found) if self._own_account is None else self._own_account

    def shown(self, account: Account, body: bytes) -> bytes:
        shown = super().shown(account, body)
        try:
            members = _MEMBERS.decode(shown)
            listed = _REQUESTS.decode(members["data"]) if "data" in members else None
        except msgspec.MsgspecError:
            return shown
        if listed is not None:
            data = [msgspec.Raw(self._with_address(bytes(one))) for one in listed]
            return msgspec.json.encode({**members, "data": data})
        return self._with_address(shown)

    def _with_address(self, body: bytes) -> bytes:
        """Return a batch whose ``results_url`` leads to the gateway: SDKs send the gateway's key to it
        (stdapi-ai/stdapi.ai#161)."""
        try:
            members = _MEMBERS.decode(body)
            if _TEXT.decode(members["results_url"]):
                url = f"{self.origin}/v1/messages/batches/{_TEXT.decode(members['id'])}/results"
                return msgspec.json.encode({**members, "results_url": url})
        except (msgspec.MsgspecError, KeyError):
            pass
        return body

    @property
    def _passed(self) -> tuple[str, ...]:
        """No ``range`` for results: billing needs all lines."""
        return () if self._is_results else super()._passed

    def _filter(self, account: Account) -> AnswerFilter:
        return ResultLines(account.entries) if self._is_results else super()._filter(account)


def rewritten(body: bytes, models: BatchModels) -> bytes:
    """Return Anthropic's batch request with the provider's model names.

    Raises ``GatewayError`` that identifies the request in the list."""
    try:
        members = _MEMBERS.decode(body)
        check_members(body, members)
        requests = _REQUESTS.decode(members.get("requests", b"null"))
    except msgspec.MsgspecError:
        raise invalid("requests must be an array of {custom_id, params}", "requests") from None
    changed = [_request(bytes(one), f"requests[{at}]", models) for at, one in enumerate(requests)]
    if all(new is None for new in changed):
        return body
    whole = [one if new is None else msgspec.Raw(new) for one, new in zip(requests, changed, strict=True)]
    return msgspec.json.encode({**members, "requests": whole})


def _request(one: bytes, at: str, models: BatchModels) -> bytes | None:
    """Return a request of the list with the provider's model name, ``None`` if it stays unchanged."""
    try:
        members = _MEMBERS.decode(one)
        check_members(one, members)
        params = bytes(members.get("params", b"null"))
        fields = _MEMBERS.decode(params)
        model = _TEXT.decode(fields.get("model", b"null"))
    except msgspec.MsgspecError:
        raise invalid(f"{at}.params.model must be a string", f"{at}.params.model") from None
    try:
        name = models.resolve(model, "/v1/messages", params)
    except GatewayError as error:
        failed = error.info
        message = f"{at}: {failed.message}"
        raise GatewayError.of(attrs.evolve(failed, message=message, param=f"{at}.params.model")) from None
    if name == model:
        return None
    return msgspec.json.encode({**members, "params": msgspec.Raw(with_model(params, fields, name))})


read_new_file = reading("files", FileRequest)
read_content = reading("files", ContentRequest)
read_batch = reading("batches", BatchRequest)
read_message_batch = reading("message_batches", MessageBatchRequest)
