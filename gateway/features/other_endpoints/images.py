"""The endpoints for pictures: generations, edits and variations."""

import base64
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import attrs
import msgspec
import trio

from gateway.exchange.conditions import single_target
from gateway.exchange.planned import PlannedRequest
from gateway.http.offload import offload
from gateway.http.response import Response
from gateway.relay.answers import AnswerFilter, ScannedAnswer, decode_json
from gateway.relay.outputs import noted_members, picture_output
from gateway.relay.public_addresses import has_public_addresses, is_public
from gateway.relay.relay import relay
from gateway.relay.relaying import InboundRequest, RelayedRequest, without_rejected
from gateway.relay.uploads import read_priced_upload
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.target import Omissions, Target
from gateway.upstream.address import Origin, parse_origin
from gateway.upstream.client import Upstream
from gateway.upstream.request import UpstreamRequest
from providers.endpoints.images import ImageReader, drop_response_format
from providers.endpoints.media_tokens import WantedPictures
from providers.neutral.draft import Draft
from streams.errors import GatewayError

PRICED_MEMBERS: Final = ("size", "quality", "n")
"""Request members on which a picture's price may depend."""
MAX_RECORDED: Final = 40
"""Characters of such a member that are recorded."""


async def read_generation(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest | Response:
    """Read a JSON request for generations, or for edits of pictures at URLs (BerriAI/litellm#41625)."""
    incoming = await inbound.read_json()
    incoming, plan = await inbound.locate(incoming, inbound.plan(inbound.model_of(incoming)))
    incoming = await inbound.apply_edits(incoming, plan)
    draft = Draft(incoming.json)
    planned = inbound.plan_json(incoming, plan, partial(_prepare, incoming))
    pictures = _relayed_pictures(inbound, planned, noted_members(draft))
    return await _relay_inlined(inbound, pictures)


async def read_edit(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest | Response:
    """Read a request to edit uploaded pictures, up to 16 files and a mask."""
    if (inbound.header("content-type") or "").lower().startswith("application/json"):
        return await read_generation(inbound, names)
    upload = await read_priced_upload(inbound)
    incoming = inbound.unread_request(upload.model, upload.fields.get("stream") == "true", upload.fields)
    plan = inbound.plan(inbound.model_of(incoming))
    target = single_target(inbound.context, plan)
    body = await upload.body_for(target.model)
    wanted = WantedPictures.of(upload.fields, None)
    planned = inbound.plan_upload(incoming, target, body, upload.kind, picture_output(wanted))
    return await _relay_inlined(inbound, _relayed_pictures(inbound, planned, upload.fields))


async def _relay_inlined(inbound: InboundRequest, request: RelayedRequest) -> RelayedRequest | Response:
    """Relay ``request`` and return its response with pictures in place of URLs, if an entry in its plan has ``inline``.

    Otherwise return ``request``, which is not sent yet."""
    if not any(target.entry.images.inline for target in request.planned.plan.targets):
        return request
    targets: list[Target] = []

    def answer(target: Target) -> AnswerFilter:
        targets.append(target)
        return request.filter(target)

    service = inbound.context.service
    own = attrs.evolve(request, filter=answer)
    response = await relay(inbound.exchange, inbound.scope, own)
    if not isinstance(response.body, bytes) or not targets or not targets[-1].entry.images.inline:
        return response
    origin, record = parse_origin(targets[-1].url), inbound.context.record
    record.status = record.first_byte = None  # the client has no byte yet, and may leave
    body = await inline_pictures(service.upstream, response.body, service.settings.limits.answer, origin)
    record.mark_answered(response.status)
    return attrs.evolve(response, body=body)


def _prepare(incoming: Incoming, target: Target, omissions: Omissions) -> Prepared:
    """Return ``incoming`` with the target's model, even if it has none: the provider's default may differ."""
    draft = Draft(incoming.json)
    if incoming.model != target.model:
        draft.put("model", target.model)
    drop_response_format(draft, target.model)
    return without_rejected(draft, target, omissions)


def _relayed_pictures(inbound: InboundRequest, planned: PlannedRequest, fields: Mapping[str, str]) -> RelayedRequest:
    """Return the request for pictures that ``fields`` describe. These may still be arriving."""

    async def note() -> None:
        noted = {name: fields[name][:MAX_RECORDED] for name in PRICED_MEMBERS if name in fields}
        inbound.context.record.details = {"picture": noted}

    event_limit = inbound.context.service.settings.limits.event
    reader = partial(ImageReader, lambda: WantedPictures.of(fields).number)
    return RelayedRequest(planned, lambda target: ScannedAnswer(reader(), event_limit), on_complete=note)


# Pictures at URLs: a provider may return the URL of a picture, which the gateway fetches if the entry permits it.
# To prevent misuse, only https URLs of public addresses (or of the provider's own host) are fetched, without redirects
# and credentials, only pictures, within the size limit. Others keep their URL.

FETCH_SECONDS: Final = 60.0
"""Seconds for all pictures of a response."""
MAX_PICTURES: Final = 128
"""The most pictures fetched for a response."""


async def inline_pictures(upstream: Upstream, body: bytes, limit: int, own: Origin | None) -> bytes:
    """Return a response ``body`` with pictures instead of their URLs, at most ``limit`` bytes of them.

    ``own`` is the provider's server, which may have a private address."""
    answer = await offload(len(body), decode_json, body)
    items = answer.get("data") if isinstance(answer, dict) else None
    wanted = [one for one in items[:MAX_PICTURES] if _picture_url(one)] if isinstance(items, list) else []
    if not wanted:
        return body
    changed = 0
    with trio.move_on_after(FETCH_SECONDS):
        async with upstream.restricted_client(is_public) as public:
            for item in wanted:
                url = _picture_url(item)
                is_own = parse_origin(url) == own
                picture = await _fetch_picture(upstream if is_own else public, url, limit, is_own=is_own)
                if picture:
                    limit -= len(picture)
                    item["b64_json"] = base64.b64encode(picture).decode("ascii")
                    del item["url"]
                    changed += 1
    return await offload(limit, msgspec.json.encode, answer) if changed else body


def _picture_url(item: Any) -> str:
    url = item.get("url") if isinstance(item, dict) and "b64_json" not in item else None
    return url if isinstance(url, str) and len(url) <= 8192 else ""


async def _fetch_picture(upstream: Upstream, url: str, limit: int, *, is_own: bool) -> bytes:
    """Download the picture at ``url``; return ``b""`` if it is not public or unavailable."""
    origin = parse_origin(url)
    if origin is None or "@" in url.partition("?")[0] or not (is_own or origin.secure):
        return b""
    request = UpstreamRequest("GET", url, (("accept", "image/*"), ("accept-encoding", "identity")))
    try:
        if not is_own and not await has_public_addresses(origin.host, origin.port):
            return b""
        async with await upstream.send(request) as response:
            kind = response.header("content-type") or ""
            return await response.read(limit) if response.status == 200 and kind.startswith("image/") else b""
    except (GatewayError, OSError, UnicodeError):
        return b""
