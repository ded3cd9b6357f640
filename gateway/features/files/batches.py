"""Batches: files or lists of requests that a provider processes over time.

A batch belongs to the account of its file, results included. It is billed once, when its owner first receives its
usage."""

import contextlib
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from gateway.allowances.allowance import Consumption
from gateway.conversations.deadline import store_deadline
from gateway.exchange.planned import PlannedRequest
from gateway.features.files.batch_costs import ResultLines, ended_batch
from gateway.features.files.file_uploads import FileUpload, read_file_upload
from gateway.features.files.kept import KeptRequest, member_of, reader_for
from gateway.features.files.new_batches import BatchModels, BatchSummary, NewBatch, read_summary
from gateway.features.files.object_answers import ObjectAnswer
from gateway.features.files.provider_runs import unread_batch
from gateway.http.offload import offload
from gateway.http.response import Response
from gateway.kept_objects.accounts import Account
from gateway.kept_objects.ids import parse_tagged_id
from gateway.kept_objects.inventory import BATCH_FILES, BATCH_OUTPUTS, Collection, KeptObject
from gateway.kept_objects.owned_ids import FoundId
from gateway.kept_objects.pending import PendingBatch
from gateway.kept_objects.provider_runs import ProviderRuns
from gateway.relay.answers import AnswerFilter
from gateway.relay.relaying import RelayedRequest
from gateway.request.members import check_members
from gateway.routing.target import Target
from gateway.stores.errors import Unavailable
from gateway.upstream.request import UploadedBody
from providers.endpoints.batch_lines import BatchLines
from streams.errors import GatewayError, invalid
from streams.events import Usage
from streams.surrogates import NOT_JSON, decode_or

if TYPE_CHECKING:
    from gateway.seams.plan import BatchChecks

log = logging.getLogger("trigate.state")

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REQUESTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_CALLS_OF: Final = "calls of "


class OutputNote(msgspec.Struct, frozen=True):
    """A stored note that a file contains results of ``batch``.

    With ``only_calls``, everything but the calls of tools was billed before."""

    batch: str
    only_calls: bool = False

    @property
    def billing_key(self) -> str:
        """The key that the inventory claims so that the file is billed only once."""
        return f"{_CALLS_OF}{self.batch}" if self.only_calls else self.batch


_OUTPUT: Final = msgspec.json.Decoder(OutputNote)


class FileRequest(KeptRequest):
    """A file upload, possibly for a batch."""

    _upload: FileUpload | None = None
    _checks: "BatchChecks | None" = None
    _models: BatchModels | None = None

    async def answer(self) -> Response:
        self._checks = await checks_of(self)
        is_read = self.method == "POST" and self.api == "chat" and not self.is_json
        if self._checks is not None and not is_read:
            self._checks.refuse_file()
        if is_read:
            is_chosen = self.chosen_provider is not None or len(self.usable_accounts()) < 2
            named = self._select_account(()) if is_chosen else None
            self._models = BatchModels(self, named)
            may_lack_model = named is not None and self._may_lack_models(named)
            self._upload = await read_file_upload(
                self.inbound,
                lambda: BatchLines(self._rewriter.rewrite, check_members, may_lack_model=may_lack_model),
                self._checks,
            )
        return await super().answer()

    async def store_object(self, body: bytes) -> None:
        """Store the object, and for a batch file also the summary of its requests.

        Its models are checked again when a batch is created, because the client's permissions may have changed."""
        await super().store_object(body)
        id, inventory = await offload(len(body), _object_id, body), self.stored.inventory
        lines = None if self._upload is None else self._upload.lines
        if lines is not None and self._checks is not None and id:
            self._checks.note_file(self.owner, id)
        if lines is None or lines.lacks_model:  # no summary: a limit that is added later rejects the file
            return
        if self._models is not None and self._models.summary.named and inventory is not None and id:
            steps = () if self._checks is None else tuple(sorted(self._checks.names))
            known = msgspec.json.encode(msgspec.structs.replace(self._models.summary, steps=steps))
            note = KeptObject(self.owner, BATCH_FILES, _note_id(BATCH_FILES, id), known)
            await self.write_inventory(partial(inventory.put, note))

    def _may_lack_models(self, account: Account) -> bool:
        """Return whether lines for ``account`` need no model: the batch has it, and no limit or edit depends on it."""
        places = (entry.place_of("batches", entry.model) for entry in account.entries)
        is_mistral = any(place is not None and place.shape == "mistral" for place in places)
        is_limited = self.service.authenticator.is_limited(self.client)
        return is_mistral and not (is_limited or self.has_budget or self.service.hooks.begin_edits)

    @property
    def _rewriter(self) -> BatchModels:
        assert self._models is not None, "a file is uploaded"
        return self._models

    def _select_account(self, found: tuple[FoundId, ...]) -> Account:
        if self._models is not None and self._models.account is not None:
            return self._models.account
        return super()._select_account(found)

    def _upload_body(self, target: Target) -> UploadedBody:
        return super()._upload_body(target) if self._upload is None else self._upload.body


_UNREAD_MODELS: Final = (
    "the key {!r} may use some models only, and the models in this file's lines are unknown: upload them again to "
    "/v1/files with the purpose batch"
)
_UNREAD_COST: Final = "this batch has a budget, but the cost of its lines is unknown: upload them to /v1/files again"


class BatchRequest(KeptRequest):
    """A batch of OpenAI or a compatible provider."""

    _queried_account: Account | None = None
    _line_checks: "BatchChecks | None" = None
    _own_account: Account | None = None  # of the models of a new batch
    _summary: BatchSummary | None = None  # of the requests that it starts

    @property
    def _root_step(self) -> str:
        return "batches"

    async def _send_to(self, account: Account, found: tuple[FoundId, ...], body: bytes | None = None) -> Response:
        self._queried_account = account
        return await super()._send_to(account, found, body)

    async def answer(self) -> Response:
        checks = await checks_of(self)
        if checks is not None and self._has_lines:
            self._line_checks = checks
        elif checks is not None:
            checks.use_for_response()
        return await super().answer()

    def relayed_request(self, planned: PlannedRequest, filter: AnswerFilter) -> RelayedRequest:
        request, checks = super().relayed_request(planned, filter), self._line_checks
        return request if checks is None else attrs.evolve(request, transform=checks.result_lines)

    async def _steps_of_file(self, checks: "BatchChecks", file: str) -> frozenset[str]:
        """Return the names of the steps that have checked an input file."""
        noted = checks.names_of(self.owner, file)
        summary = None if noted else await self._file_summary(file)
        return noted if summary is None else frozenset(summary.steps)

    async def _read_body(self) -> bytes:
        body = await super()._read_body()
        if (checks := await checks_of(self)) is not None and body:
            body = await checks.check_new(body, self.endpoint)
            needs_files = self.endpoint == "batches" and not self.path_ids and checks.required_names
            for file in NewBatch.of(body).files if needs_files else ():
                checks.require_checked(await self._steps_of_file(checks, file))
        return await self._checked_batch(body) if body and not self.path_ids else body

    def _select_account(self, found: tuple[FoundId, ...]) -> Account:
        return super()._select_account(found) if self._own_account is None else self._own_account

    @property
    def _is_limited(self) -> bool:
        return self.service.authenticator.is_limited(self.client)

    async def _checked_batch(self, body: bytes) -> bytes:
        """Check every member of a new batch that selects models, and return the body with the provider's names.

        Clients with all models and without a budget may send any member unless its ids must be checked. Raises
        ``GatewayError``: 403 for a model that the client may not use, 400 if a budget applies and the cost is
        unknown."""
        edits_requests = self.service.hooks.begin_edits and b'"requests"' in body
        must_check = self._is_limited or self.has_budget or edits_requests
        if self.ids.are_native and not must_check:
            return body
        batch = await offload(len(body), NewBatch.of, body)
        found = await offload(len(body), self.ids.find_all, body, self.form.request_ids)
        if not must_check:
            return body
        named = found.account is not None or self.chosen_provider is not None
        account = self._select_account(tuple(one for _, one in found.found)) if named else None
        models = BatchModels(self, account)
        body = await offload(len(body), batch.with_checked_models, models)
        summary = models.summary
        for file in batch.files:
            lines = await self._file_summary(file)
            self._check_file_is_read(lines)
            if lines is not None:
                batch.check_file(lines, models)
                summary += lines
        self._own_account, self._summary = models.account, summary
        return body

    async def _file_summary(self, file: str) -> BatchSummary | None:
        """Return the summary of an input file's lines, ``None`` if the gateway did not read them."""
        if self.stored.inventory is None:
            return None
        with store_deadline("look up the models of the file"):
            found = await self.stored.inventory.get(self.owner, BATCH_FILES, _note_id(BATCH_FILES, file))
        return None if found is None else read_summary(found.kept.body)

    def _check_file_is_read(self, lines: BatchSummary | None) -> None:
        """Raise ``GatewayError`` if a limit applies to the lines of a file that the gateway did not read."""
        if lines is None and self._is_limited:
            raise GatewayError("permission", _UNREAD_MODELS.format(self.client), param="input_file_id")
        if self.has_budget and not self.ids.are_native and (lines is None or not lines.tokens):
            raise invalid(_UNREAD_COST, "input_file_id")

    async def _plan_request(self, target: Target, body: bytes | None) -> PlannedRequest:
        planned = await super()._plan_request(target, body)
        if self._summary is None or not self._summary.tokens:
            return planned
        return attrs.evolve(planned, begins=Consumption(Usage(input=self._summary.tokens), max(1, self._summary.usd)))

    def _survival(self, filter: AnswerFilter) -> Callable[[], float] | None:
        if not isinstance(filter, ResultLines):
            return super()._survival(filter)
        return lambda: math.inf if filter.may_bill else 0.0  # results that the client has could be free otherwise

    async def process_answer(self, filter: AnswerFilter, target: Target) -> None:
        """Store the object, reserve the expected cost of a new batch, and bill a finished one."""
        await super().process_answer(filter, target)
        if self.method == "POST" and not self.path_ids and isinstance(filter, ObjectAnswer):
            await self._note_unread(filter, target)
        if self._summary is not None and isinstance(filter, ObjectAnswer):
            await self._reserve_expected_cost(self._summary, filter, target)
        else:
            await self._bill_once(filter)

    async def _note_unread(self, filter: ObjectAnswer, target: Target) -> None:
        """Store a new batch, which the gateway bills itself if no request has billed it two days later."""
        id, inventory = await offload(len(filter.body), _object_id, filter.body), self.stored.inventory
        native = None if id is None else _native_id(id)
        if native is not None and inventory is not None and not target.entry.passthrough_auth:
            batch = unread_batch(self.inbound.context, native, self.owner, self.api, self.endpoint, target)
            await self.write_inventory(partial(ProviderRuns(inventory).add, batch))

    async def _forget_unread(self, id: str) -> None:
        """Remove a batch that this request bills from those that the gateway bills itself."""
        native, inventory = _native_id(id), self.stored.inventory
        if native is not None and inventory is not None:
            await self.write_inventory(partial(ProviderRuns(inventory).forget, self.owner, native))

    async def _reserve_expected_cost(self, note: BatchSummary, filter: ObjectAnswer, target: Target) -> None:
        """Reserve the expected cost of a new batch in the budgets that will pay for it."""
        id = await offload(len(filter.body), _object_id, filter.body)
        payers = self.service.allowances.payers(self.client, target)
        if id is not None and payers and note.tokens:
            await self.stored.pending.add(self.owner, id, PendingBatch(payers, note.usd, note.tokens))
            self.inbound.exchange.settle_reservation()  # before the client sends the next request

    @property
    def _is_results(self) -> bool:
        return self.method == "GET" and self.steps_after_root()[-1:] == ["results"]

    @property
    def _has_lines(self) -> bool:
        """Whether the response consists of lines in JSON."""
        return self._is_results

    async def _bill_once(self, filter: AnswerFilter) -> None:
        """Bill the usage in the response, unless it was billed before; a finished batch releases its reservation."""
        assert self._queried_account is not None, "it was asked"
        booking, id, is_over, keys = None, self._billed_batch, False, self._billing_keys
        if isinstance(filter, ResultLines):
            booking, is_over = filter.booking, True
        elif isinstance(filter, ObjectAnswer) and not self.is_list:
            batch = await offload(len(filter.body), ended_batch, filter.body, self._queried_account.entries)
            if batch is None:
                return
            booking, id = batch.booking, batch.id
            keys = (id,) if batch.output is None else (id, usage_key(batch.output))
            is_over = booking is not None or batch.output is None
            if batch.output is not None and (booking is None or batch.has_tools):
                await self._store_output_note(batch.output, OutputNote(batch.id, only_calls=booking is not None))
        if booking is not None and await self._claim_billing(keys):
            self.inbound.context.bill.book(attrs.evolve(booking, id=_native_id(id)))
            if isinstance(filter, ObjectAnswer):
                filter.usage = booking.usage
            self.inbound.exchange.settle_reservation()  # before the batch's own reservation is removed
            await self._forget_unread(id)
        if is_over and id and self.service.allowances.batch_reserves.is_wanted:
            await self.stored.pending.remove(self.owner, id)

    @property
    def _billed_batch(self) -> str:
        """The id or key of the batch that this request may bill."""
        return self.path_ids[0] if self.path_ids else ""

    @property
    def _billing_keys(self) -> tuple[str, ...]:
        """The keys to claim before result lines are billed."""
        return (self._billed_batch,)

    async def _store_output_note(self, file: str, known: OutputNote) -> None:
        """Store that the lines of ``file`` report usage of a batch that is still to be billed."""
        note = KeptObject(self.owner, BATCH_OUTPUTS, _note_id(BATCH_OUTPUTS, file), msgspec.json.encode(known))
        if self.stored.inventory is not None:
            await self.write_inventory(partial(self.stored.inventory.put, note))

    async def _claim_billing(self, keys: tuple[str, ...]) -> bool:
        """Claim the billing of a batch by all ``keys``; return whether this is the first claim of each.

        Without state storage no claim succeeds, because each query would bill the batch again."""
        if self.stored.inventory is None:
            return False
        try:
            # Also if the client leaves: no other request could bill a batch that is claimed.
            with store_deadline("claim the bill of a batch", shield=True):
                return await self.stored.inventory.claim(self.owner, *keys)
        except GatewayError as error:
            log.warning("could not store the cost of batch %s: %s", keys[0], error)
            return False


def _native_id(billed: str) -> str | None:
    """Return the provider's id of a batch from the client's id or its billing key."""
    id = billed.removeprefix(_CALLS_OF)
    tagged = parse_tagged_id(id)
    return (id if tagged is None else tagged.native) or None


async def checks_of(request: KeptRequest) -> "BatchChecks | None":
    """Return the checks of a request about batches, ``None`` if there are none."""
    for checks in request.service.hooks.request_checks:
        return await checks.batch_checks(request.inbound.exchange)
    return None


class ContentRequest(BatchRequest):
    """The content of a file, which may contain results of a batch with unknown usage.

    Clients with the provider's own ids may know a file from a list without its batch, so the gateway reads the lines of
    every file that they fetch."""

    _note: OutputNote | None = None

    async def answer(self) -> Response:
        if self.stored.inventory is not None and self.path_ids:
            with contextlib.suppress(Unavailable):
                found = await self.stored.inventory.get(
                    self.owner, BATCH_OUTPUTS, _note_id(BATCH_OUTPUTS, self.path_ids[0])
                )
                self._note = None if found is None else _OUTPUT.decode(found.kept.body)
        return await super().answer()

    @property
    def _root_step(self) -> str:
        return "files"

    @property
    def _is_results(self) -> bool:
        return self._note is not None or (self.ids.are_native and self.stored.inventory is not None)

    @property
    def _billed_batch(self) -> str:
        return "" if self._note is None else self._note.billing_key

    @property
    def _billing_keys(self) -> tuple[str, ...]:
        """The keys to claim: the batch's, if known, and those of the file, because either may be read first."""
        file, note = self.path_ids[0], self._note
        usage = () if note is not None and note.only_calls else (usage_key(file),)
        return (*(() if note is None else (note.billing_key,)), *usage, lines_key(file))

    @property
    def _has_lines(self) -> bool:
        return True

    @property
    def _passed_headers(self) -> tuple[str, ...]:
        return () if self._is_results or self._line_checks is not None else super()._passed_headers

    def _filter(self, account: Account) -> AnswerFilter:
        if not self._is_results:
            return super()._filter(account)
        return ResultLines(account.entries, only_calls=self._note is not None and self._note.only_calls)


def usage_key(file: str) -> str:
    """Return the key that is claimed when the usage of the results in ``file`` is billed."""
    return f"usage of {file}"


def lines_key(file: str) -> str:
    """Return the key that is claimed when the lines of ``file`` are billed."""
    return f"lines of {file}"


def _object_id(body: bytes) -> str | None:
    return decode_or(_TEXT.decode, member_of(body, "id"), None)


def _note_id(collection: Collection, file: str) -> str:
    """Return the inventory id of a note about ``file``. The prefix keeps it apart from the ids of other collections."""
    return f"{collection} {file}"


class MessageBatchRequest(BatchRequest):
    """An Anthropic batch: its requests are a list in the body, its results have their own URL."""

    async def _checked_batch(self, body: bytes) -> bytes:
        models = BatchModels(self, self._select_account(()) if self.chosen_provider is not None else None)
        body = await offload(len(body), rewrite_requests, body, models)
        self._own_account, self._summary = models.account, models.summary
        return body

    def client_body(self, account: Account, body: bytes) -> bytes:
        shown = super().client_body(account, body)
        try:
            members = _MEMBERS.decode(shown)
            listed = _REQUESTS.decode(members["data"]) if "data" in members else None
        except NOT_JSON:
            return shown
        if listed is not None:
            data = [msgspec.Raw(self._with_results_url(bytes(one))) for one in listed]
            return msgspec.json.encode({**members, "data": data})
        return self._with_results_url(shown)

    def _with_results_url(self, body: bytes) -> bytes:
        """Return the batch object with the gateway's ``results_url``, because SDKs send the gateway's key to it
        (stdapi-ai/stdapi.ai#161)."""
        try:
            members = _MEMBERS.decode(body)
            if _TEXT.decode(members["results_url"]):
                url = f"{self.origin}/v1/messages/batches/{_TEXT.decode(members['id'])}/results"
                return msgspec.json.encode({**members, "results_url": url})
        except (KeyError, *NOT_JSON):
            pass
        return body

    @property
    def _passed_headers(self) -> tuple[str, ...]:
        """The client's headers to pass on; without ``range`` for results, because billing needs all lines."""
        return () if self._is_results else super()._passed_headers

    def _filter(self, account: Account) -> AnswerFilter:
        return ResultLines(account.entries) if self._is_results else super()._filter(account)


def rewrite_requests(body: bytes, models: BatchModels) -> bytes:
    """Return the body of an Anthropic batch with the provider's model names.

    Raises ``GatewayError`` with the position of the invalid request."""
    try:
        members = _MEMBERS.decode(body)
        check_members(body, members)
        requests = _REQUESTS.decode(members.get("requests", b"null"))
    except NOT_JSON:
        raise invalid("requests must be an array of {custom_id, params}", "requests") from None
    changed = [_rewrite_request(bytes(one), f"requests[{at}]", models) for at, one in enumerate(requests)]
    if all(new is None for new in changed):
        return body
    whole = [one if new is None else msgspec.Raw(new) for one, new in zip(requests, changed, strict=True)]
    return msgspec.json.encode({**members, "requests": whole})


def _rewrite_request(one: bytes, at: str, models: BatchModels) -> bytes | None:
    """Return one request of the list for the provider, ``None`` if it is unchanged.

    ``at`` is the request's position for errors."""
    try:
        members = _MEMBERS.decode(one)
        check_members(one, members)
        params = bytes(members.get("params", b"null"))
        fields = _MEMBERS.decode(params)
        model = _TEXT.decode(fields.get("model", b"null"))
    except NOT_JSON:
        raise invalid(f"{at}.params.model must be a string", f"{at}.params.model") from None
    rewritten = models.rewrite_at(f"{at}.params", model, "/v1/messages", params)
    return None if rewritten == params else msgspec.json.encode({**members, "params": msgspec.Raw(rewritten)})


read_new_file = reader_for("files", FileRequest)
read_content = reader_for("files", ContentRequest)
read_batch = reader_for("batches", BatchRequest)
read_message_batch = reader_for("message_batches", MessageBatchRequest)
