"""The requests of new batches: their account, the permission to use their models, and their expected costs.

In the body of a request that creates a batch of OpenAI's form, every model, agent and file is checked.

Providers have members of their own: Mistral's jobs (https://docs.mistral.ai/api/endpoint/batch) have several files, or
the requests themselves, and a model or an agent for all of them. A member that is not listed here could name another
model, or another client's file, so only clients without any limit may send one."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.allowances.expected import RequestSize, dearest_nanos, expected_usage
from gateway.allowances.reservation import check_priced
from gateway.endpoints.inference import ROUTES
from gateway.exchange.requested_plan import allowed_plan
from gateway.exchange.reserving import SEARCHED_SIZE, expected_tokens
from gateway.features.files.kept import KeptRequest
from gateway.features.files.kept_ids import refuse_native_ids
from gateway.http.paths import canonical
from gateway.kept_objects.accounts import Account
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.relay.endpoint_plans import endpoint_plan
from gateway.relay.outputs import OUTPUTS, read_safely
from gateway.request.further_models import ANY, further_models
from gateway.request.members import TEXT, check_members, decode_member
from gateway.request.parse import Incoming
from gateway.request.prepared import NO_OUTPUT, RequestedOutput, requested_output
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from providers.catalog.prices import BATCH
from providers.endpoints.batch_lines import with_model
from providers.endpoints.embeddings.calling import check_token_ids
from providers.endpoints.endpoint import ENDPOINTS, EndpointName
from providers.neutral.draft import Draft
from streams.errors import GatewayError, invalid
from streams.surrogates import NOT_JSON

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

_ENDPOINTS: Final[Mapping[str, EndpointName]] = {
    path: name for name, row in ENDPOINTS.items() for path in row.paths if "{" not in path
}

MAX_RECORDED_MODELS: Final = 100
"""Models of a batch's file that are checked again when a batch is created."""


class BatchSummary(msgspec.Struct, frozen=True):
    """A stored summary of a batch's requests: the first models, each with its path, and the expected usage.

    ``tokens`` and ``usd`` (nano-dollars) are sums over all requests. ``steps`` are the operator's that checked them."""

    named: tuple[tuple[str, str], ...]
    tokens: int = 0
    usd: int = 0
    steps: tuple[str, ...] = ()

    def __add__(self, other: "BatchSummary") -> "BatchSummary":
        return BatchSummary((*self.named, *other.named), self.tokens + other.tokens, self.usd + other.usd)


read_summary: Final = msgspec.json.Decoder(BatchSummary).decode
"""Decodes the summary stored for a batch file."""


class BatchModels:
    """A resolver of the models in a batch's requests, which must all be in one account.

    The account is ``chosen_account``, else that of the first model. ``summary`` describes the requests so far."""

    def __init__(self, request: KeptRequest, chosen_account: Account | None) -> None:
        self.account = chosen_account
        self._named: dict[tuple[str, str], None] = {}
        self._tokens = self._usd = 0
        self._request = request
        self._usable = request.usable_accounts()

    @property
    def summary(self) -> BatchSummary:
        return BatchSummary(tuple(self._named), self._tokens, self._usd)

    def rewrite(self, model: str, url: str, body: bytes) -> bytes:
        """Check one request of the batch, and return its body for the provider: a ``RewriteRequest``.

        ``url`` is the path of the request; Azure's clients leave out ``/v1``. Raises ``GatewayError``."""
        url = canonical(url)
        if len(self._named) < MAX_RECORDED_MODELS:
            self._named[model, url] = None
        plan, incoming, target = self._find_target(model, url, body)
        refuse_native_ids(self._request.stored.accounts, self._request.owner, self._request.client, incoming)
        incoming = self._with_members(incoming, plan, target, url)
        if self._request.service.allowances.batch_reserves.is_wanted:
            self._add_expected_usage(incoming, target, url)
        if target.model == model or "model" not in incoming.members:
            return incoming.body
        return with_model(incoming.body, incoming.members, target.model)

    def rewrite_at(self, path: str, model: str, url: str, body: bytes) -> bytes:
        """Return the body of a request as ``rewrite`` does. A ``GatewayError`` names ``path``, which is the body's."""
        try:
            return self.rewrite(model, url, body)
        except GatewayError as error:
            message = f"{path.rpartition('.')[0]}: {error.info.message}"
            raise GatewayError.of(attrs.evolve(error.info, message=message, param=f"{path}.model")) from None

    def _with_members(self, incoming: Incoming, plan: Plan, target: Target, url: str) -> Incoming:
        wire = ROUTES.get(url) or _ENDPOINTS.get(url)
        hooks = self._request.service.hooks
        if not hooks.begin_edits or wire is None:
            return incoming
        (begin_edits,) = hooks.begin_edits
        body = begin_edits(self._request.client, plan, wire).edit_line(incoming, target)
        return attrs.evolve(incoming, body=body, members=_MEMBERS.decode(body))

    def name_of(self, model: str, url: str) -> str:
        """Check a model that the batch names outside its requests, and return the provider's name for it.

        Raises ``GatewayError``."""
        return self._find_target(model, canonical(url), b"{}")[2].model

    def check_provider_choice(self, member: str) -> None:
        """Check that the client may send ``member``, such as an agent, by which the provider chooses the model.

        Raises ``GatewayError``."""
        request = self._request
        if (account := self.account or (self._usable[0] if self._usable else None)) is not None:
            request.inbound.context.check_additional_model(member, ANY, account.entry)
        if request.has_budget:
            raise invalid(
                f"{member} selects a model of unknown cost, but this batch has a budget: send a model", member
            )

    def _find_target(self, model: str, url: str, body: bytes) -> tuple[Plan, Incoming, Target]:
        """Return the plan of one request of the batch, the request, and its target in the batch's account.

        Raises ``GatewayError``."""
        plan = self._plan(model, url)
        incoming = Incoming(ROUTES.get(url, "chat"), body, _MEMBERS.decode(body), model, False)
        self._check_body(incoming, plan.first)
        if _ENDPOINTS.get(url) == "embeddings":
            first = plan.first
            check_token_ids(Draft(incoming.json), first.model, first.entry.embeddings_of(first.model))
        targets = plan.targets
        found = [(account, one) for one in targets for account in self._usable if one.entry in account.entries]
        if not found:
            raise invalid(f"no provider of the model {model[:200]!r} that this key may use supports batches", "model")
        if self.account is None:
            self.account = found[0][0]
        target = next((one for account, one in found if account.mark == self.account.mark), None)
        if target is None:
            raise invalid(
                (
                    f"the model {model[:200]!r} is at {found[0][0].entry.name}, but the batch goes to "
                    f"{self.account.entry.name}: create a batch for each provider"
                ), "model",
            )  # fmt: skip
        allowances = self._request.service.allowances
        check_priced(allowances, self._request.client, target, allowances.now(), None)
        return plan, incoming, target

    def _add_expected_usage(self, incoming: Incoming, target: Target, url: str) -> None:
        """Add the expected usage of one request to ``target``, at batch prices."""
        allowances, body = self._request.service.allowances, incoming.body
        requested = _requested_output(incoming, url)
        input_tokens = len(body) // CHARACTERS_PER_TOKEN if len(body) <= SEARCHED_SIZE else expected_tokens(body)
        reserve, outputs, client = allowances.reserve, allowances.outputs, self._request.client
        expected = expected_usage(reserve, outputs, client, target, RequestSize(max(1, input_tokens), requested))
        usage = attrs.evolve(expected, tier=BATCH)
        self._tokens += usage.prompt + usage.output
        self._usd += dearest_nanos(target, requested, usage)

    def _check_body(self, incoming: Incoming, first: Target) -> None:
        """Reject duplicate members, and additional models that the client may not use."""
        check_members(incoming.body, incoming.members)
        context = self._request.inbound.context
        if context.service.authenticator.is_limited(self._request.client):
            for at, name in further_models(incoming):
                context.check_additional_model(at, name, first.entry)

    def _plan(self, model: str, url: str) -> Plan:
        context = self._request.inbound.context
        router, may = context.service.router, context.may_use
        if (api := ROUTES.get(url)) is not None:
            return allowed_plan(context, router.plan(model, api, may))
        if (endpoint := _ENDPOINTS.get(url)) is None:
            raise invalid(f"batches do not support {url[:200]!r}", "url")
        return allowed_plan(context, endpoint_plan(router, model, endpoint, frozenset(("openai",)), may))


def _requested_output(incoming: Incoming, url: str) -> RequestedOutput:
    if url in ROUTES:
        return requested_output(ROUTES[url], incoming.body)
    endpoint = _ENDPOINTS.get(url)
    return NO_OUTPUT if endpoint is None else read_safely(OUTPUTS[endpoint], incoming.body)


MemberKind: TypeAlias = Literal["files", "model", "agent", "requests", "endpoint", "plain"]
"""The content of a member: ids of input files, a model or an agent for all requests, the requests, their path, or
something that selects nothing."""

MEMBERS: Final[Mapping[str, MemberKind]] = {
    "input_file_id": "files",
    "input_files": "files",  # Mistral
    "input_file_ids": "files",
    "model": "model",  # Mistral, LiteLLM
    "model_id": "model",  # Together
    "agent_id": "agent",  # Mistral
    "requests": "requests",  # Mistral
    "endpoint": "endpoint",
    "completion_window": "plain",
    "metadata": "plain",
    "name": "plain",  # xAI
    "output_expires_after": "plain",
    "priority": "plain",  # Together
    "timeout_hours": "plain",  # Mistral
}
"""The members of a new batch at all providers of OpenAI's form."""

_REQUEST_MEMBERS: Final = frozenset(("custom_id", "body"))

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TEXTS: Final = msgspec.json.Decoder(str | list[str])


@attrs.frozen(eq=False, repr=False)
class NewBatch:
    """The members of a request that creates a batch.

    ``models`` and ``agents`` are by member, for all requests. ``files`` are the ids of input files. ``requests`` are
    those in the body, ``endpoint`` is their path."""

    members: Mapping[str, msgspec.Raw]
    files: tuple[str, ...]
    models: Mapping[str, str]
    agents: tuple[str, ...]
    requests: tuple[msgspec.Raw, ...]
    endpoint: str | None

    @classmethod
    def of(cls, body: bytes) -> "NewBatch":
        """Read ``body``, a JSON object. Raises ``GatewayError`` (400) for an unknown member, or one of another type."""
        members = {name: raw for name, raw in _MEMBERS.decode(body).items() if bytes(raw) != b"null"}
        for name in members:
            if name not in MEMBERS:
                raise invalid(f"the gateway does not know the member {name[:100]!r} of a batch: remove it", name[:100])
        files = [decode_member(members, name, _TEXTS, "an id or a list of ids") for name in _names("files", members)]
        models = {name: decode_member(members, name, TEXT, "a string") or "" for name in _names("model", members)}
        if len(set(models.values())) > 1:
            raise invalid(f"{' and '.join(models)} name different models: send one of them", next(iter(models)))
        endpoint = [decode_member(members, name, TEXT, "a string") for name in _names("endpoint", members)]
        requests = [decode_member(members, name, _LIST, "a list of requests") for name in _names("requests", members)]
        return cls(
            members,
            tuple(file for found in files for file in ([found] if isinstance(found, str) else found or ())),
            models,
            _names("agent", members),
            tuple(one for found in requests for one in found or ()),
            next(iter(endpoint), None),
        )

    @property
    def model(self) -> str | None:
        """The model of all requests, if the batch names one."""
        return next(iter(self.models.values()), None)

    def with_checked_models(self, models: BatchModels) -> bytes:
        """Return the body with the provider's names of its models, which ``models`` has checked. Raises
        ``GatewayError``."""
        for member in self.agents:
            models.check_provider_choice(member)
        changed: dict[str, Any] = dict(self.members)
        if self.model is not None:
            name = models.name_of(self.model, self._url)
            changed |= dict.fromkeys(self.models, name)
        if self.requests:
            changed["requests"] = [
                msgspec.Raw(self._rewrite_request(bytes(one), f"requests[{at}]", models))
                for at, one in enumerate(self.requests)
            ]
        return msgspec.json.encode(changed)

    def check_file(self, summary: BatchSummary, models: BatchModels) -> None:
        """Check that the lines of an input file may be used, and agree with the batch. Raises ``GatewayError``.

        The batch's own model and path replace those of the lines at some providers."""
        own = None if self.model is None else models.name_of(self.model, self._url)
        for model, url in summary.named:
            name = models.name_of(model, url)
            if own is not None and name != own:
                raise invalid(f"the batch is for {self.model!r}, but a line of its file has {model!r}", "model")
            if self.endpoint is not None and url != canonical(self.endpoint):
                raise invalid(f"the batch is for {self.endpoint[:100]}, but a line has the url {url[:100]}", "endpoint")

    @property
    def _url(self) -> str:
        if self.endpoint is None:
            raise invalid("endpoint is missing: it is the path of the batch's requests", "endpoint")
        return self.endpoint

    def _rewrite_request(self, one: bytes, at: str, models: BatchModels) -> bytes:
        """Return a request of the batch with the provider's model name, if it names a model. Raises ``GatewayError``
        with the position ``at``."""
        try:
            members = _MEMBERS.decode(one)
            check_members(one, members)
            body = bytes(members.get("body", b"null"))
            fields = _MEMBERS.decode(body)
            named = TEXT.decode(fields["model"]) if "model" in fields else None
        except NOT_JSON:
            raise invalid(f"{at} must be an object with custom_id and body, and its model a string", at) from None
        if unknown := members.keys() - _REQUEST_MEMBERS:
            raise invalid(f"the gateway does not know the member {min(unknown)[:100]!r} of {at}: remove it", at)
        model = named if named is not None else self.model
        if model is None and not self.agents:
            raise invalid(f"{at} has no model: add it there, or to the batch", f"{at}.body.model")
        if model is None:
            return one
        if named is not None and self.model is not None and named != self.model:
            raise invalid(f"{at} has another model than the batch: remove one", f"{at}.body.model")
        rewritten = models.rewrite_at(f"{at}.body", model, self._url, body)
        return one if rewritten == body else msgspec.json.encode({**members, "body": msgspec.Raw(rewritten)})


def _names(kind: MemberKind, members: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
    return tuple(name for name in members if MEMBERS.get(name) == kind)
