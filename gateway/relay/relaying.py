"""Tools for the endpoints' modules: ``InboundRequest`` reads and plans a request to make a ``RelayedRequest``."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import msgspec

from gateway.access.body_memory import HeldBody
from gateway.config.attempts import Retries
from gateway.endpoints.request_body import body_memory, read_whole_body
from gateway.exchange.context import ExchangeContext
from gateway.exchange.exchange import Exchange
from gateway.exchange.planned import PlannedRequest, as_prepared
from gateway.exchange.requested_plan import allowed_plan
from gateway.http.headers import PLAIN_KEYS, Headers
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response
from gateway.relay.answers import AnswerFilter, NullReader, PassedAnswer, ResponseReader
from gateway.relay.endpoint_defaults import endpoint_default, marked_default
from gateway.relay.endpoint_plans import endpoint_plan
from gateway.relay.outputs import OUTPUTS, OutputReader, read_safely
from gateway.relay.spool import SpoolAccount
from gateway.request.narrowing import join_plans, narrow
from gateway.request.parse import NO_PARAMETERS, Incoming, PathParameters, read_non_conversation
from gateway.request.prepare import credential_paths, omit_paths
from gateway.request.prepared import NO_OUTPUT, Preparation, Prepared, RequestedOutput
from gateway.request.routing_options import NO_OPTIONS, read_headers
from gateway.request.wire import MediaTypes
from gateway.routing.plan import Plan
from gateway.routing.target import Omissions, Target
from gateway.serving.incoming_request import PiecesRequest, ignore_arrived, too_large
from gateway.upstream.request import UploadedBody
from providers.apis import CODECS
from providers.endpoints.endpoint import ENDPOINTS, Endpoint, EndpointName
from providers.endpoints.model_types import bare_name
from providers.errors.answer_form import FORMS
from providers.errors.answer_form import JSON as JSON_OBJECT
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft, Edit
from streams.errors import GatewayError, invalid
from streams.events import AnswerStart, ErrorInfo

if TYPE_CHECKING:
    from gateway.seams.edit_sent import RequestEdits
    from gateway.seams.open_response import Transform

JSON = "application/json"

PASSING: Final = 384 * 1024
"""The most bytes in memory of a body that is passed on: those that wait, one piece that has arrived, and one that is
being written."""


class InboundRequest:
    """A client's request to ``endpoint``, which is not a conversation, before it is planned.

    ``arrival`` is the HTTP request, ``exchange`` sends it to providers and records it."""

    def __init__(self, endpoint: EndpointName, arrival: PiecesRequest, exchange: Exchange) -> None:
        self.endpoint: Endpoint = ENDPOINTS[endpoint]
        self.arrival = arrival
        self.exchange = exchange
        self._members: RequestEdits | None = None

    def for_endpoint(self, endpoint: EndpointName) -> "InboundRequest":
        """Return the same request for another endpoint than the path's."""
        return InboundRequest(endpoint, self.arrival, self.exchange)

    @property
    def context(self) -> ExchangeContext:
        """The state that the attempts share."""
        return self.exchange.context

    @property
    def scope(self) -> RequestScope:
        return self.arrival.scope

    @property
    def headers(self) -> Headers:
        """The client's headers with lower-case names."""
        return self.arrival.headers

    def header(self, name: str) -> str | None:
        return self.context.client_request.header(name)

    # The body

    async def read_body(self) -> bytes:
        """Read the whole body, decompressed. Raises ``GatewayError``."""
        return await read_whole_body(self.context, self.arrival, self.endpoint.elements)

    def held_body(self) -> HeldBody:
        """Return the account of the memory that the body occupies."""
        return body_memory(self.context, self.arrival)

    def spool_account(self) -> SpoolAccount:
        """Return the account of the disk space that the body occupies."""
        service, client_request = self.context.service, self.context.client_request
        admission = service.admission
        holder = admission.holder(client_request.client, client_request.headers)
        return SpoolAccount(admission.shares.spooled, admission.spool, holder, service.settings.limits.spool)

    def arriving_pieces(self) -> AsyncIterator[bytes]:
        """Return the pieces of the body, to be passed on as they arrive.

        The memory in which they wait for a slow provider counts for the client, as the memory of other bodies does.
        Raises ``GatewayError`` (413, 415, 429, 503)."""
        if (coding := self.header("content-encoding")) not in (None, "", "identity"):
            message = f"uploads with content-encoding: {coding} are not supported: send the upload uncompressed"
            raise GatewayError("invalid_request", message, status=415)
        most, length = self.max_body, self.stated_length
        if length is not None and length > most:
            raise too_large(most)
        self.held_body().arrive(PASSING if length is None else min(length, PASSING))
        return self.arrival.pieces(most)

    @property
    def max_body(self) -> int:
        """The limit in bytes for a body that is passed on as it arrives."""
        return self.context.service.settings.limits.body_on(self.endpoint.most)

    @property
    def stated_length(self) -> int | None:
        """The body's length by ``content-length``, if the client sent it."""
        length = self.header("content-length") or ""
        return int(length) if length.isdecimal() else None

    async def read_json(self, path: PathParameters = NO_PARAMETERS) -> Incoming:
        """Read the body as a JSON object; ``path`` may set its model and ``stream``. Raises ``GatewayError``.

        A deployment in the client's path sets the model."""
        body = await self.read_body()
        if self.context.client_request.path.replaces_model:
            path = self.context.client_request.path
        incoming = await offload(len(body) // 2, read_non_conversation, self.context.codec.api, body, path)
        for forms in self.context.service.hooks.request_forms:
            incoming = await forms.without_own_members(incoming)
        return self.record_request(incoming)

    def unread_request(
        self, model: str | None, stream: bool, fields: Mapping[str, str] = MappingProxyType({})
    ) -> Incoming:
        """Record and return a request whose body stays unread, with the given model and ``stream``. The ``fields`` of
        its form may label it."""
        members = {name: msgspec.Raw(msgspec.json.encode(text)) for name, text in fields.items()}
        incoming = self.record_request(Incoming(self.context.codec.api, b"", members, model, stream))
        return attrs.evolve(incoming, members={})

    async def bodiless_request(self) -> Incoming:
        """Discard the body, and return a request without one."""
        await self.arrival.read(ignore_arrived)
        return self.unread_request(None, False)

    def record_request(self, incoming: Incoming) -> Incoming:
        """Note the model, ``stream``, size and labels of ``incoming`` in the record, and return it.

        Raises ``GatewayError`` (403) for a blocked end user."""
        record = self.context.record
        for forms in self.context.service.hooks.request_forms:
            record.labels = forms.label(self.context.client_request, incoming)
        record.requested_model, record.stream, record.bill.request_size = incoming.model, incoming.stream, incoming.size
        return incoming

    # The target

    def model_of(self, incoming: Incoming) -> str:
        """Return the model of ``incoming``, else the endpoint's default. Raises ``GatewayError`` (400)."""
        context = self.context
        return incoming.model or endpoint_default(context.service.router, self.endpoint.name, context.may_use)

    @property
    def default_model(self) -> str | None:
        """The endpoint's configured default for requests that should have a model, if any."""
        return marked_default(self.context.service.router, self.endpoint.name, self.context.may_use)

    def plan(self, model: str | None, shapes: Collection[str] = ("openai",)) -> Plan:
        """Return the plan for ``model``; targets in one of ``shapes`` are in the byte lane.

        Raises ``GatewayError``, also if the client may not use the model or no entry has the endpoint for it."""
        service, options = self.context.service, read_headers(self.context.client_request)
        names = options.names
        plans = [self._plan_for(name, frozenset(shapes), at) for at, name in names or [("", model)]]
        plan = join_plans(plans, service.router.several) if names else plans[0]
        if options is not NO_OPTIONS:
            plan = narrow(plan, options)
        deadline, slow = plan.retries.deadline, self.endpoint.first_byte
        self.exchange.deadline = slow if slow is not None and deadline == Retries().deadline else deadline
        plan = service.balancer.arrange(plan, None, service.health.clock())
        record, first = self.context.record, plan.first
        record.route, record.requested_model = None if plan.route is None else plan.route.name, first.requested_name
        record.target, record.model, record.provider_api = first.name, first.model, first.api
        match self.endpoint.fallback:
            case "same_model":
                same = bare_name(first.model)
                plan = plan.with_candidates(
                    tuple(one for one in plan.candidates if bare_name(one.target.model) == same)
                )
            case "never":
                plan = plan.with_candidates(plan.candidates[:1])
        return plan if plan.route is None else attrs.evolve(plan, route=attrs.evolve(plan.route, hedge=None))

    def _plan_for(self, model: str | None, shapes: frozenset[str], listed_in: str) -> Plan:
        """Return the plan for one model. Raises ``GatewayError``, with the header that lists it, if any."""
        router, may = self.context.service.router, self.context.may_use
        try:
            return allowed_plan(self.context, endpoint_plan(router, model, self.endpoint.name, shapes, may))
        except GatewayError as error:
            if not listed_in:
                raise
            raise invalid(f"{listed_in}: {error.info.message}", listed_in) from None

    # The request

    async def locate(self, incoming: Incoming, plan: Plan) -> tuple[Incoming, Plan]:
        """Return ``incoming`` with the provider's ids of the client's files, and the targets that store them.

        Raises ``GatewayError``: 404 for an id of another owner, 400 if no target has the files."""
        for kept in self.context.service.hooks.kept:
            client = self.context.client_request.client
            if (located := await kept.locate(self.context.holder, client, incoming)) is not None:
                return located.incoming, located.restrict(plan)
        return incoming, plan

    async def apply_edits(self, incoming: Incoming, plan: Plan) -> Incoming:
        """Return ``incoming`` with the masks of the client's steps, then the configured members of its key, its group
        and the alias.

        Raises ``GatewayError``: 400 for invalid JSON text or a refusal, 403 for content that steps cannot check."""
        for checks in self.context.service.hooks.request_checks:
            incoming = await checks.check_json(self, incoming, plan)
        for begin_edits in self.context.service.hooks.begin_edits:
            self._members = edits = begin_edits(self.context.client_request.client, plan, self.endpoint.name)
            incoming = await offload(incoming.size, edits.apply, incoming)
        return incoming

    def plan_json(self, incoming: Incoming, plan: Plan, prepare: Preparation) -> PlannedRequest:
        """Return ``incoming`` as a planned JSON request. Budgets also cover the output that its body requests.

        The configured members of entries follow after ``prepare``."""
        if self._members is not None:
            prepare = self._members.with_entry_members(prepare)
        media, read = MediaTypes(JSON, self.header("accept") or "*/*"), OUTPUTS[self.endpoint.name]
        output = partial(_with_output, prepare, read)
        return PlannedRequest(incoming, plan, output, suffix="", media=media, members=self._members)

    def plan_upload(
        self, incoming: Incoming, target: Target, upload: UploadedBody, kind: str, output: RequestedOutput = NO_OUTPUT
    ) -> PlannedRequest:
        """Return a planned request whose body is sent once, as it arrives.

        ``kind`` is its content type, ``output`` the output that it allows."""
        media = MediaTypes(kind, self.header("accept") or "*/*")
        prepare = as_prepared(Prepared(Outgoing(b""), output=output))
        return PlannedRequest(incoming, Plan.once(target), prepare, suffix="", media=media, upload=upload)

    def unchanged_filters(self, reading: Callable[[], ResponseReader] = NullReader) -> Callable[[Target], AnswerFilter]:
        """Return a function that makes filters of unchanged responses, each with a new ``reading``."""
        limit, form = self.context.service.settings.limits.event, FORMS.get(self.endpoint.name, JSON_OBJECT)
        return lambda target: PassedAnswer(reading(), limit, form=form)


def _with_output(prepare: Preparation, read: OutputReader, target: Target, omissions: Omissions) -> Prepared:
    prepared = prepare(target, omissions)
    if prepared.output is not None:
        return prepared
    return attrs.evolve(prepared, output=read_safely(read, prepared.outgoing.body))


def replace_model(incoming: Incoming, target: Target, omissions: Omissions) -> Prepared:
    """Return ``incoming`` with the target's model if it states one: a ``Preparation`` after its first argument."""
    draft = Draft(incoming.json)
    if incoming.model != target.model and "model" in incoming.members:
        draft.put("model", target.model)
    return without_rejected(draft, target, omissions)


def set_model(incoming: Incoming, target: Target, omissions: Omissions) -> Prepared:
    """Return ``incoming`` with the target's model, also if it has no model: the provider's default may differ."""
    draft = Draft(incoming.json)
    if incoming.model != target.model:
        draft.put("model", target.model)
    return without_rejected(draft, target, omissions)


def without_rejected(draft: Draft, target: Target, omissions: Omissions, edits: tuple[Edit, ...] = ()) -> Prepared:
    """Return the request in ``draft`` without credentials of the client and without the members that its provider has
    rejected, after ``edits``."""
    omit_paths(draft, credential_paths(target), "provider")
    if omissions.paths:
        omit_paths(draft, omissions.paths, "rejected")
    return Prepared(Outgoing(draft.encode(), edits=(*edits, *draft.edits)), omissions=omissions)


def without_charset(content_type: str | None) -> str | None:
    """Return ``content_type`` without its charset, ``None`` if nothing is left.

    The gateway reads JSON as UTF-8, and the server must read the same. Express, which many MCP servers use, also reads
    UTF-7: https://github.com/expressjs/body-parser."""
    return ";".join(part for part in (content_type or "").split(";") if "charset" not in part.lower()) or None


def strip_credentials(query: str) -> str:
    """Return a client's ``query`` without the parameters in ``WITHHELD_PARAMETERS``."""
    return "&".join(pair for pair in query.split("&") if pair and pair.partition("=")[0] not in WITHHELD_PARAMETERS)


def client_credentials(headers: Headers) -> tuple[str, ...]:
    """Return the credentials in a client's ``headers``, without words such as ``Bearer``."""
    found = (value for name, value in headers if name in ("authorization", "x-trigate-key", "api-key", *PLAIN_KEYS))
    return tuple(word for value in found if (word := value.rpartition(" ")[2].strip()))


WITHHELD_PARAMETERS = frozenset(("key", "api_key", "api-key", "access_token", "provider"))
"""Query parameters that may contain a key or are for the gateway."""

LastEvent: TypeAlias = Callable[[ErrorInfo], bytes]
"""A function that returns the event that ends a failed stream, in the client's API."""


def openai_error(error: ErrorInfo) -> bytes:
    """Return the last event of a failed stream at OpenAI's endpoints: a ``LastEvent``."""
    return CODECS["chat"].last_event(error, AnswerStart(), 0)


OnComplete: TypeAlias = Callable[[], Awaitable[object]]
"""A callback for a complete response: before a short one is sent to the client, or after a long one's last piece.

It never raises."""


@attrs.frozen(eq=False)
class RelayedRequest:
    """A request to an endpoint, ready for its providers.

    - ``filter`` makes a new filter for each attempt's response; it takes the responses to all of its requests.
    - ``last_event`` ends a failed stream; other failed responses are cut off.
    - ``on_complete`` runs when the response is complete.
    - ``outlives_client``: once the provider has the whole request, its response is read even after the client has
      left, because it reports the created object or its cost. The function returns for how many seconds.
    - ``transform`` makes the transform of each attempt's response, by default that of the exchange's checks."""

    planned: PlannedRequest
    filter: Callable[[Target], AnswerFilter]
    last_event: LastEvent = openai_error
    on_complete: OnComplete | None = None
    outlives_client: Callable[[], float] | None = None
    transform: "Callable[[], Transform] | None" = None


ReadRequest: TypeAlias = Callable[[InboundRequest, Mapping[str, str]], Awaitable[RelayedRequest | Response]]
"""A function that reads a request, given its path's variables (``{"id": …}``).

It returns the response instead if no provider is needed. Raises ``GatewayError``."""
