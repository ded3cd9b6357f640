"""The bills of batches whose clients never read them, such as those of a deleted key.

Requests of its client bill a batch. If none has after two days, the gateway queries the provider."""

from typing import Final
from urllib.parse import quote

import msgspec
import trio

from gateway.exchange.service import Service
from gateway.features.files.batch_costs import ResultLines, ended_batch
from gateway.features.files.batches import lines_key, usage_key
from gateway.features.files.kept_forms import FORMS
from gateway.features.files.opening import stored_objects_of
from gateway.features.files.provider_runs import send_query, settle_run
from gateway.http.offload import offload
from gateway.kept_objects.accounts import Account
from gateway.kept_objects.inventory import BILLED_BATCHES
from gateway.kept_objects.provider_runs import ProviderRun, ProviderRuns
from gateway.ledger.bill import Booking
from gateway.relay.endpoint_plans import entry_target
from gateway.routing.target import Target
from providers.endpoints.endpoint import EndpointName
from streams.errors import GatewayError
from streams.surrogates import decode_or

_SECONDS: Final = 600.0
"""Seconds for the results of a batch, which may be a large file."""


class _MessageBatch(msgspec.Struct):
    processing_status: str = ""


_MESSAGE_BATCH: Final = msgspec.json.Decoder(_MessageBatch)


async def bill_unread_batch(service: Service, runs: ProviderRuns, batch: ProviderRun) -> None:
    """Bill a batch that has ended, unless a request has billed it. Raises ``GatewayError`` and ``Unavailable``."""
    stored, form, endpoint = stored_objects_of(service), FORMS[batch.api], batch.endpoint
    assert stored.inventory is not None, "it has the batch"
    assert endpoint is not None, "it is a batch"
    accounts = stored.accounts.accounts_with(endpoint, form.shapes)
    account = next((one for one in accounts if batch.entry in [entry.name for entry in one.entries]), None)
    target = None if account is None else _target(account, batch, endpoint)
    if account is None or target is None:
        return
    ids = stored.accounts.ids_of(batch.owner, batch.client, form.shapes)
    keys = [ids.client_id(batch.id, account)]
    if await stored.inventory.get(batch.owner, BILLED_BATCHES, keys[0]) is None:
        with trio.fail_after(_SECONDS):
            found = await _read_booking(service, account, target, batch)
        if found is None:
            return
        booking, output = found
        if output is not None:
            keys += [usage_key(ids.client_id(output, account)), lines_key(ids.client_id(output, account))]
        with trio.CancelScope(shield=True):  # a claimed batch would cost nothing
            if booking is not None and await stored.inventory.claim(batch.owner, *keys):
                await settle_run(service, batch, target, booking)
    await runs.remove(batch)


def _target(account: Account, batch: ProviderRun, endpoint: EndpointName) -> Target | None:
    """Return ``endpoint`` of the entry that created ``batch``, ``None`` if the entry no longer has it."""
    entry = next(entry for entry in account.entries if entry.name == batch.entry)
    return entry_target(entry, endpoint, FORMS[batch.api].shapes)


async def _read_booking(
    service: Service, account: Account, target: Target, batch: ProviderRun
) -> tuple[Booking | None, str | None] | None:
    """Return the usage and cost of ``batch``, and the provider's id of the file with its results.

    Return ``None`` if it has not ended or cannot be read now."""
    path = quote(batch.id, safe="")
    async with await send_query(service, target, batch.api, path) as response:
        if response.status != 200:
            return None
        body = await response.read(service.settings.limits.answer)
    ended = await offload(len(body), ended_batch, body, account.entries)
    if batch.endpoint == "message_batches":
        if ended is not None:
            return ended.booking, None
        if decode_or(_MESSAGE_BATCH.decode, body, _MessageBatch()).processing_status != "ended":
            return None
        return await _read_lines(service, account, target, batch, f"{path}/results"), None
    if ended is None or ended.output is None or (ended.booking is not None and not ended.has_tools):
        return None if ended is None else (ended.booking, ended.output)
    files = _target(account, batch, "files")
    if files is None:
        return None
    return await _read_lines(service, account, files, batch, f"{quote(ended.output, safe='')}/content"), ended.output


async def _read_lines(
    service: Service, account: Account, target: Target, batch: ProviderRun, path: str
) -> Booking | None:
    """Return the usage and cost of the results at ``path``. Raises ``GatewayError`` if they cannot be read."""
    lines = ResultLines(account.entries)
    async with await send_query(service, target, batch.api, path) as response:
        if response.status != 200:
            raise GatewayError("upstream", f"the results of a batch returned status {response.status}")
        async for piece in response.chunks():
            await offload(lines.size_of_work(piece), lines.take, piece)
    lines.close()
    return lines.booking
