"""The check of relayed requests by steps: JSON, and the fields of forms."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Self, TypeVar

import attrs

from gateway.allowances.reservation import Reservation
from gateway.exchange.conditions import single_target
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.reserving import reserve_first
from gateway.features.steps.conversations import SessionChecks, begin_session
from gateway.features.steps.endpoints import FORM_ENDPOINTS
from gateway.features.steps.json_texts import KeyMasked, NotJson, splice
from gateway.features.steps.masks import PassageEdit
from gateway.features.steps.request_texts import MOST_TEXTS, RequestTexts
from gateway.features.steps.session import CheckedTexts, StepSession
from gateway.features.steps.sessions import available_facts, steps_of
from gateway.features.steps.tables import table_for
from gateway.http.offload import offload
from gateway.relay.endpoint_plans import endpoint_plan
from gateway.relay.relaying import InboundRequest, replace_model
from gateway.request.parse import Incoming, read_non_conversation
from gateway.request.routing_options import Word, read_headers
from gateway.routing.plan import Plan
from gateway.seams.plan import BodySpool
from gateway.upstream.request import UploadedBody
from providers.endpoints.multipart import (
    MultipartBoundary,
    MultipartData,
    MultipartEvent,
    MultipartHead,
    MultipartParser,
)
from streams.errors import GatewayError, invalid
from trigate.steps import Part, Passage

NOTHING: Final[Mapping[str, Part | None]] = {}


@attrs.frozen
class FormField:
    """A field of a form, or a file, whose ``value`` is not read."""

    name: str
    value: bytes = b""
    file_name: str | None = None


class FormTexts:
    """The passages of the ``fields`` of a form for ``endpoint``, in their order. No step can read the ``unreadable``
    ones."""

    body = None

    def __init__(
        self, endpoint: str, fields: Sequence[FormField], unreadable: Mapping[str, Part | None] = NOTHING
    ) -> None:
        self.fields = fields
        self.unreadable = unreadable
        self._endpoint = endpoint
        known = table_for(endpoint).shape.members or {}
        found: list[tuple[int | None, Passage]] = []  # with the number of a field that has the text as its value
        for index, field in enumerate(fields):
            shape = known.get(field.name.removesuffix("[]"))
            part: Part = "other" if shape is None else shape.leaf.part or "other"
            if shape is None:
                found.append((None, Passage("other", "name", field.name)))
            if field.file_name is not None:
                found.append((None, Passage("media", field.name, field.file_name)))
            elif shape is None or shape.leaf.kind not in ("exempt", "data"):
                found.append((index, Passage(part, field.name, field.value.decode("utf-8", "replace"))))
        self.passages: Sequence[Passage] = tuple(passage for _, passage in found)
        self._indexes = {passage: index for index, passage in found}

    def is_latest(self, passage: Passage) -> bool:
        return True

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        return type(self)(self._endpoint, self.replace(edits), self.unreadable)

    def replace(self, edits: Iterable[PassageEdit]) -> tuple[FormField, ...]:
        """Return the fields with each span replaced. Raises ``KeyMasked`` for the name of a field or a file."""
        by_field: dict[int, list[tuple[int, int, str]]] = {}
        for passage, start, end, text in edits:
            if (index := self._indexes[passage]) is None:
                raise KeyMasked(text)
            by_field.setdefault(index, []).append((start, end, text))
        fields = list(self.fields)
        for index, spans in by_field.items():
            text = splice(fields[index].value.decode("utf-8", "replace"), sorted(spans))
            fields[index] = attrs.evolve(fields[index], value=text.encode("utf-8", "replace"))
        return tuple(fields)


T = TypeVar("T", bound=CheckedTexts)


async def check_json(inbound: InboundRequest, incoming: Incoming, plan: Plan) -> Incoming:
    """Return ``incoming``, a request for one of the targets of ``plan``, with the masks of its steps.

    Raises ``GatewayError``: first for a client without allowance, then for a refusal."""
    requested: tuple[Word, ...] = ()
    for forms in inbound.context.service.hooks.request_forms:
        incoming, requested = await forms.take_steps(incoming)
    session = _begin_session(inbound, incoming, plan, requested)
    if session is None:
        return incoming
    reservation = await _reserve_first(inbound, inbound.plan_json(incoming, plan, partial(replace_model, incoming)))
    inbound.exchange.use_checks(session, reservation)
    endpoint = inbound.context.endpoint
    try:
        texts = await offload(incoming.size, RequestTexts.of, endpoint, incoming.body, most=MOST_TEXTS)
    except NotJson as error:
        raise invalid(f"the request body is not valid JSON: {error}") from None
    checked = (await check_texts(session, texts, plan)).body
    if checked is incoming.body:
        return incoming
    read = await offload(len(checked), read_non_conversation, incoming.api, checked)
    return attrs.evolve(incoming, body=checked, members=read.members)


def _begin_session(
    inbound: InboundRequest, incoming: Incoming, plan: Plan, requested: tuple[Word, ...] = ()
) -> SessionChecks | None:
    """Return the session of the steps that apply to a request, ``None`` without any. Its body requests ``requested``.

    The endpoint is that of the path, because a completion with a ``suffix`` would count as another endpoint's.

    Raises ``GatewayError`` (400) for an unknown step."""
    exchange = inbound.exchange
    words = (*read_headers(exchange.context.client_request).steps, *requested)
    return begin_session(exchange.context, exchange.scope, exchange.context.endpoint, incoming, words, plan.route)


async def _reserve_first(inbound: InboundRequest, request: PlannedRequest) -> Reservation | None:
    reservation = await reserve_first(inbound.context, inbound.exchange.with_limits(request))
    if reservation is not None:
        inbound.scope.on_last_bytes(reservation.release_places)
    return reservation


async def check_texts(session: StepSession, texts: T, plan: Plan) -> T:
    """Return ``texts`` with the masks of the steps. A step for some entries applies if ``plan`` has one of them.

    Raises ``GatewayError``."""
    entries = [target.entry.name for target in plan.targets]
    steps = [step for step in session.steps if step.at("request") and any(map(step.applies_to_entry, entries))]
    checked = await session.check_texts(steps, texts)
    session.start_concurrent_steps(checked)
    return checked


# Forms

MAX_TEXT: Final = 2**20
"""Bytes of all fields of a form that steps check. Prompts have at most some ten thousand."""

_PLAIN: Final = ("", "7bit", "8bit", "binary")
_FILES: Final = frozenset(("file", "image", "mask"))
"""The fields with recordings and pictures."""


class FieldsReader:
    """A reader of the fields in the events of a form, in order. ``unreadable`` are those that no step can read."""

    def __init__(self) -> None:
        self.fields: list[FormField] = []
        self.unreadable: dict[str, Part | None] = {}
        self._size = 0

    def read(self, events: Iterable[MultipartEvent]) -> None:
        """Read ``events``. Raises ``GatewayError`` (400) for fields that are too long."""
        for event in events:
            if isinstance(event, MultipartHead):
                self._begin(event)
            elif isinstance(event, MultipartData) and self.fields and self.fields[-1].file_name is None:
                self._size += len(event.raw)
                if self._size > MAX_TEXT:
                    raise invalid(f"the fields of the form have more than {MAX_TEXT} bytes, which steps check")
                last = self.fields[-1]
                self.fields[-1] = attrs.evolve(last, value=last.value + event.raw)

    def _begin(self, head: MultipartHead) -> None:
        self.fields.append(FormField(head.name, file_name=head.file_name))
        is_media = head.file_name is not None and head.name.removesuffix("[]") in _FILES
        if (head.file_name is None and head.encoding not in _PLAIN) or (head.file_name is not None and not is_media):
            self.unreadable[head.name] = None

    def value(self, name: str) -> str | None:
        found = [one.value for one in self.fields if one.name == name and one.file_name is None]
        return found[0].decode("utf-8", "replace") if found else None


async def _edit_form(spool: BodySpool, boundary: bytes, fields: Sequence[FormField]) -> AsyncIterator[bytes]:
    """Yield the form in ``spool`` with the values of ``fields``."""
    parser, upcoming = MultipartParser(boundary), iter(fields)
    is_file, value = False, b""  # of a field whose end has not arrived
    async for piece in spool:
        out = []
        for event in parser.feed(piece):
            match event:
                case MultipartHead():
                    field = next(upcoming)
                    is_file, value = field.file_name is not None, field.value
                case MultipartData() if not is_file:
                    continue
                case MultipartBoundary():
                    out.append(value)
                    value = b""
            out.append(event.raw)
        if data := b"".join(out):
            yield data


async def check_form(
    inbound: InboundRequest, arriving: AsyncIterator[bytes], length: int | None, boundary: bytes, spool: BodySpool
) -> tuple[AsyncIterator[bytes], int | None]:
    """Return the form in ``arriving`` with the masks of its steps, and its length if it is known.

    If no step can apply to the request, return the form unread. Raises ``GatewayError``."""
    if not _may_be_checked(inbound):
        return arriving, length
    parser, reader = MultipartParser(boundary), FieldsReader()
    async for piece in arriving:
        reader.read(parser.feed(piece))
        await spool.add(piece)
    parser.close()
    if parser.preamble.strip():
        reader.unreadable["the text before the first boundary"] = None
    await spool.rewind()
    model, endpoint = reader.value("model"), inbound.context.endpoint
    incoming = Incoming(inbound.context.codec.api, b"", {}, model, False)
    plan = _plan(inbound, model)
    session = None if plan is None else _begin_session(inbound, incoming, plan)
    if session is None or plan is None:
        return spool, spool.size
    request = inbound.plan_upload(incoming, single_target(inbound.context, plan), UploadedBody(spool, spool.size), "")
    inbound.exchange.use_checks(session, await _reserve_first(inbound, request))
    before = FormTexts(endpoint, tuple(reader.fields), reader.unreadable)
    checked = await check_texts(session, before, plan)
    if checked is before:
        return spool, spool.size
    if any(b"--" + boundary in one.value for one in checked.fields):
        raise invalid(
            "a step changed a field so that it contains the form's boundary: send the form with another boundary"
        )
    grown = sum(len(one.value) for one in checked.fields) - sum(len(one.value) for one in before.fields)
    return _edit_form(spool, boundary, checked.fields), spool.size + grown


def _may_be_checked(inbound: InboundRequest) -> bool:
    """Return whether a step may apply to the request, whatever its model is."""
    context, endpoint = inbound.context, inbound.context.endpoint
    if endpoint not in FORM_ENDPOINTS:
        return False
    steps = steps_of(context.service)
    facts = available_facts(steps, context.service, context.client_request, endpoint)
    return any(not step.is_observer for step in steps.steps_for(facts))


def _plan(inbound: InboundRequest, model: str | None) -> Plan | None:
    """Return the plan for ``model``, ``None`` if the request fails anyway."""
    context, shapes = inbound.context, frozenset(("openai", "cohere"))
    try:
        plan = endpoint_plan(
            context.service.router, model or inbound.default_model, inbound.endpoint.name, shapes, context.may_use
        )
    except GatewayError:
        return None
    context.record.route = None if plan.route is None else plan.route.name
    return plan
