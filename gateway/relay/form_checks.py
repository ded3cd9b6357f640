"""The check of multipart requests by steps: their fields, before anything is sent. Imported only where steps are
configured."""

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Final, Self

import attrs

from gateway.exchange.checking import SessionChecks
from gateway.relay.checks import begin_session, check_texts, reserve_first
from gateway.relay.relaying import InboundRequest
from gateway.relay.spool import Spool
from gateway.request.parse import Incoming
from gateway.request.routing_options import read_headers
from gateway.routing.plan import Plan
from gateway.steps.endpoints import FORM_ENDPOINTS
from gateway.steps.form_texts import FormField, FormTexts
from gateway.steps.scope import ClientFacts
from gateway.steps.session import PassageEdit
from gateway.upstream.request import UploadedBody
from providers.endpoints.multipart import (
    MultipartBoundary,
    MultipartData,
    MultipartEvent,
    MultipartHead,
    MultipartParser,
)
from streams.errors import GatewayError, invalid
from trigate.steps import Passage

MAX_TEXT: Final = 2**20
"""Bytes of all fields of a form that steps check. Prompts have at most some ten thousand."""

_PLAIN: Final = ("", "7bit", "8bit", "binary")
_FILES: Final = frozenset(("file", "image", "mask"))
"""The fields with recordings and pictures."""


class FormRequest:
    """The texts of a form: ``CheckedTexts``. ``fields`` are its parts with all edits."""

    def __init__(self, endpoint: str, fields: Sequence[FormField], unreadable: Sequence[str]) -> None:
        self.fields = fields
        self.unreadable = unreadable
        self._endpoint = endpoint
        self._texts = FormTexts.of(endpoint, fields)

    @property
    def passages(self) -> Sequence[Passage]:
        return self._texts.passages

    def is_latest(self, passage: Passage) -> bool:
        return True

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        return type(self)(self._endpoint, self._texts.replace(edits), self.unreadable)


class FieldsReader:
    """A reader of the fields in the events of a form, in order. ``unreadable`` are those that no step can read."""

    def __init__(self) -> None:
        self.fields: list[FormField] = []
        self.unreadable: list[str] = []
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
            self.unreadable.append(head.name)

    def value(self, name: str) -> str | None:
        found = [one.value for one in self.fields if one.name == name and one.file_name is None]
        return found[0].decode("utf-8", "replace") if found else None


class EditedForm:
    """The pieces of a form with other values of its fields."""

    def __init__(self, spool: Spool, boundary: bytes, fields: Sequence[FormField]) -> None:
        self._spool = spool
        self._parser = MultipartParser(boundary)
        self._fields = fields
        self._index = -1
        self._value = b""  # of a field whose end has not arrived

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._spool:
            if out := b"".join(map(self._edit, self._parser.feed(piece))):
                yield out

    def _edit(self, event: MultipartEvent) -> bytes:
        match event:
            case MultipartHead(raw):
                self._index += 1
                self._value = self._fields[self._index].value
                return raw
            case MultipartData(raw):
                return raw if self._fields[self._index].file_name is not None else b""
            case MultipartBoundary(raw):
                value, self._value = self._value, b""
                return value + raw


async def check_form(
    inbound: InboundRequest, arriving: AsyncIterator[bytes], length: int | None, boundary: bytes, spool: Spool
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
    await spool.rewind()
    model, endpoint = reader.value("model"), inbound.exchange.record.endpoint or ""
    incoming = Incoming(inbound.context.codec.api, b"", {}, model, False)
    plan = _plan(inbound, model)
    session = None if plan is None else begin_session(inbound, incoming)
    if session is None or plan is None:
        return spool, spool.size
    request = inbound.plan_upload(incoming, plan.first, UploadedBody(spool, spool.size), "")
    inbound.exchange.use_checks(SessionChecks(session, inbound.context), await reserve_first(inbound, request))
    before = FormRequest(endpoint, tuple(reader.fields), tuple(reader.unreadable))
    checked = await check_texts(session, before, plan)
    if checked is before:
        return spool, spool.size
    if any(b"--" + boundary in one.value for one in checked.fields):
        raise invalid(
            "a step changed a field so that it contains the form's boundary: send the form with another boundary"
        )
    grown = sum(len(one.value) for one in checked.fields) - sum(len(one.value) for one in before.fields)
    return EditedForm(spool, boundary, checked.fields).pieces(), spool.size + grown - parser.preamble


def _may_be_checked(inbound: InboundRequest) -> bool:
    """Return whether a step may apply to the request, whatever its model is."""
    context, steps, endpoint = inbound.context, inbound.context.service.steps, inbound.exchange.record.endpoint
    if steps is None or endpoint not in FORM_ENDPOINTS:
        return False
    client, words = context.client_request.client, read_headers(context.client_request).steps
    group = context.service.authenticator.group_of(client)
    facts = ClientFacts(client, group, (), endpoint, frozenset(name for _, name in words))
    return any(not step.is_observer for step in steps.steps_for(facts))


def _plan(inbound: InboundRequest, model: str | None) -> Plan | None:
    """Return the plan for ``model``, ``None`` if the request fails anyway."""
    service, client = inbound.context.service, inbound.context.client_request.client
    may = partial(service.authenticator.can_use, client)
    try:
        plan = service.router.endpoint_plan(
            model or inbound.default_model, inbound.endpoint.name, frozenset(("openai", "cohere")), may
        )
    except GatewayError:
        return None
    inbound.context.record.route = None if plan.route is None else plan.route.name
    return plan
