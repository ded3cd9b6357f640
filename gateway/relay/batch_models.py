"""The models in a batch's requests: their account, the permission to use them, and their expected costs."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import attrs
import msgspec

from gateway.allowances.expected import RequestSize, dearest_nanos, expected_usage
from gateway.allowances.reservation import check_priced
from gateway.endpoints.inference import ROUTES
from gateway.exchange.planning import allowed_plan
from gateway.exchange.reserving import SEARCHED_SIZE, expected_tokens
from gateway.kept_objects.accounts import Account
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.relay.kept import KeptRequest
from gateway.relay.outputs import OUTPUTS, read_safely
from gateway.request.further_models import ANY, further_models
from gateway.request.members import check_members
from gateway.request.parse import Incoming
from gateway.request.prepared import NO_OUTPUT, RequestedOutput, requested_output
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from providers.catalog.prices import BATCH
from providers.endpoints.batch_lines import with_model
from providers.endpoints.embeddings.calling import check_token_ids
from providers.endpoints.endpoint import ENDPOINTS, EndpointName
from providers.neutral.draft import Draft
from streams.errors import invalid

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

_ENDPOINTS: Final[Mapping[str, EndpointName]] = {
    path: name for name, row in ENDPOINTS.items() for path in row.paths if "{" not in path
}


_PICTURE_ENDPOINTS: Final = frozenset(("image_generations", "image_edits"))

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


_NOTE: Final = msgspec.json.Decoder(BatchSummary | tuple[tuple[str, str], ...])


def read_summary(body: bytes) -> BatchSummary:
    """Decode the summary stored for a batch file; older versions stored only the models."""
    found = _NOTE.decode(body)
    return found if isinstance(found, BatchSummary) else BatchSummary(found)


class BatchModels:
    """A resolver of the models in a batch's requests, which must all be in one account.

    The account is ``named``, else that of the first model. ``summary`` describes the requests so far."""

    def __init__(
        self, request: KeptRequest, chosen_account: Account | None, usable_accounts: tuple[Account, ...]
    ) -> None:
        self.account = chosen_account
        self._named: dict[tuple[str, str], None] = {}
        self._tokens = self._usd = 0
        self._request = request
        self._usable = usable_accounts

    @property
    def summary(self) -> BatchSummary:
        return BatchSummary(tuple(self._named), self._tokens, self._usd)

    def rewrite(self, model: str, url: str, body: bytes) -> bytes:
        """Check one request of the batch, and return its body for the provider: a ``RewriteRequest``.

        ``url`` is the path of the request. Raises ``GatewayError``."""
        if len(self._named) < MAX_RECORDED_MODELS:
            self._named[model, url] = None
        plan, incoming, target = self._find_target(model, url, body)
        incoming = self._with_members(incoming, plan, target, url)
        if self._request.service.allowances.batch_reserves.is_wanted:
            self._add_expected_usage(incoming, target, url)
        if target.model == model or "model" not in incoming.members:
            return incoming.body
        return with_model(incoming.body, incoming.members, target.model)

    def _with_members(self, incoming: Incoming, plan: Plan, target: Target, url: str) -> Incoming:
        wire = ROUTES.get(url) or _ENDPOINTS.get(url)
        if (configured := self._request.service.request_members) is None or wire is None:
            return incoming
        body = configured.edits_of(self._request.client, plan, wire).edit_line(incoming, target)
        return attrs.evolve(incoming, body=body, members=_MEMBERS.decode(body))

    def name_of(self, model: str, url: str) -> str:
        """Check a model that the batch names outside its requests, and return the provider's name for it.

        Raises ``GatewayError``."""
        return self._find_target(model, url, b"{}")[2].model

    def check_provider_choice(self, member: str) -> None:
        """Check that the client may send ``member``, such as an agent, by which the provider chooses the model.

        Raises ``GatewayError``."""
        request = self._request
        if request.service.authenticator.is_limited(request.client):
            account = self.account or (self._usable[0] if self._usable else None)
            if account is not None:
                request.service.authenticator.check_additional_model(request.client, member, ANY, account.entry)
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
        allowances, record = self._request.service.allowances, self._request.inbound.context.record
        check_priced(allowances, self._request.client, target, allowances.now(), record.run)
        return plan, incoming, target

    def _add_expected_usage(self, incoming: Incoming, target: Target, url: str) -> None:
        """Add the expected usage of one request to ``target``, at batch prices."""
        allowances, body = self._request.service.allowances, incoming.body
        asked = _requested_output(incoming, url)
        given = len(body) // CHARACTERS_PER_TOKEN if len(body) <= SEARCHED_SIZE else expected_tokens(body, 0)
        reserve, outputs, client = allowances.reserve, allowances.outputs, self._request.client
        expected = expected_usage(reserve, outputs, client, target, RequestSize(max(1, given), asked))
        usage = attrs.evolve(expected, tier=BATCH)
        self._tokens += usage.prompt + usage.output
        self._usd += dearest_nanos(target, asked, usage)

    def _check_body(self, incoming: Incoming, first: Target) -> None:
        """Reject duplicate members, and additional models that the client may not use."""
        check_members(incoming.body, incoming.members)
        authenticator, client = self._request.service.authenticator, self._request.client
        if authenticator.is_limited(client):
            for at, name in further_models(incoming):
                authenticator.check_additional_model(client, at, name, first.entry)

    def _plan(self, model: str, url: str) -> Plan:
        context = self._request.inbound.context
        router, may = context.service.router, partial(context.service.authenticator.can_use, self._request.client)
        if (api := ROUTES.get(url)) is not None:
            return allowed_plan(context, router.plan(model, api, may))
        if (endpoint := _ENDPOINTS.get(url)) is None:
            raise invalid(f"batches do not support {url[:200]!r}", "url")
        return allowed_plan(context, router.endpoint_plan(model, endpoint, frozenset(("openai",)), may))


def _requested_output(incoming: Incoming, url: str) -> RequestedOutput:
    if url in ROUTES:
        return requested_output(ROUTES[url], incoming.body)
    endpoint = _ENDPOINTS.get(url)
    return NO_OUTPUT if endpoint is None else read_safely(OUTPUTS[endpoint], incoming.body)
