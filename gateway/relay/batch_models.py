"""The models in a batch's requests: their account, the permission to use them, and their expected costs."""

from collections.abc import Mapping
from functools import partial
from typing import Final

import attrs
import msgspec

from gateway.allowances.expected import RequestedOutput, expected_usage, requested_output
from gateway.allowances.refusals import check_priced
from gateway.endpoints.inference import ROUTES
from gateway.exchange.planning import allowed_plan
from gateway.exchange.reserving import SEARCHED_SIZE, expected_tokens
from gateway.kept_objects.accounts import Account
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.relay.completions import CompletionWanted
from gateway.relay.images import asked_pictures, wanted_pictures
from gateway.relay.kept import KeptRequest
from gateway.relay.relaying import NO_OUTPUT
from gateway.request.further_models import further_models
from gateway.request.members import check_members
from gateway.request.parse import Incoming
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from providers.catalog.prices import BATCH, cost_of
from providers.endpoints.embeddings.calling import check_token_ids
from providers.endpoints.endpoint import ENDPOINTS, EndpointName
from providers.neutral.draft import Draft
from streams.errors import invalid

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

_ENDPOINTS: Final[Mapping[str, EndpointName]] = {
    path: name for name, row in ENDPOINTS.items() for path in row.paths if "{" not in path
}


_PICTURES: Final = frozenset(("image_generations", "image_edits"))

MOST_NAMED: Final = 100
"""Models of a batch's file that are checked again when a batch is created."""


class BatchNote(msgspec.Struct, frozen=True):
    """A summary of a batch's requests: the first models with their paths, and the expected tokens and nano-dollars."""

    named: tuple[tuple[str, str], ...]
    tokens: int = 0
    usd: int = 0


_NOTE: Final = msgspec.json.Decoder(BatchNote | tuple[tuple[str, str], ...])


def read_note(body: bytes) -> BatchNote:
    """Return the summary stored for a file; older ones have only the models."""
    found = _NOTE.decode(body)
    return found if isinstance(found, BatchNote) else BatchNote(found)


class BatchModels:
    """The one account for all requests of a batch: the ``named`` one, else that of the first model.

    Models resolve as in other requests; ``note`` summarises all requests."""

    def __init__(self, request: KeptRequest, named: Account | None, usable: tuple[Account, ...]) -> None:
        self.account = named
        self._named: dict[tuple[str, str], None] = {}
        self._tokens = self._usd = 0
        self._request = request
        self._usable = usable

    @property
    def note(self) -> BatchNote:
        return BatchNote(tuple(self._named), self._tokens, self._usd)

    def resolve(self, model: str, url: str, body: bytes) -> str:
        """Return the provider's name for ``model``: a ``ResolveModel``."""
        if len(self._named) < MOST_NAMED:
            self._named[model, url] = None
        plan = self._plan(model, url)
        incoming = Incoming(ROUTES.get(url, "chat"), body, _MEMBERS.decode(body), model, False)
        self._check(incoming, plan.first)
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
        allowances, record = self._request.service.allowances, self._request.relaying.context.record
        check_priced(allowances, self._request.client, target, allowances.now(), record.run)
        if allowances.batch_reserves.is_wanted:
            self._expect(incoming, target, url)
        return target.model

    def _expect(self, incoming: Incoming, target: Target, url: str) -> None:
        """Add the expected usage of a response of ``target``, as reserved for other requests, at batch prices."""
        allowances, body = self._request.service.allowances, incoming.body
        asked = _asked(incoming, url)
        given = len(body) // CHARACTERS_PER_TOKEN if len(body) <= SEARCHED_SIZE else expected_tokens(body, 0)
        reserve, outputs, client = allowances.reserve, allowances.outputs, self._request.client
        expected = expected_usage(reserve, outputs, client, target, asked, max(1, given))
        usage = attrs.evolve(expected, tier=BATCH)
        self._tokens += usage.prompt + usage.output
        self._usd += 0 if target.price is None else cost_of(target.price, usage).nanos

    def _check(self, incoming: Incoming, first: Target) -> None:
        """Check a body like any other request's: for duplicate members, and for additional models."""
        check_members(incoming.body, incoming.members)
        authenticator, client = self._request.service.authenticator, self._request.client
        if authenticator.is_limited(client):
            for at, name in further_models(incoming):
                authenticator.check_additional_model(client, at, name, first.entry)

    def _plan(self, model: str, url: str) -> Plan:
        context = self._request.relaying.context
        router, may = context.service.router, partial(context.service.authenticator.can_use, self._request.client)
        if (api := ROUTES.get(url)) is not None:
            return allowed_plan(context, router.plan(model, api, may))
        if (endpoint := _ENDPOINTS.get(url)) is None:
            raise invalid(f"batches do not support {url[:200]!r}", "url")
        return allowed_plan(context, router.endpoint_plan(model, endpoint, frozenset(("openai",)), may))


def _asked(incoming: Incoming, url: str) -> RequestedOutput:
    """Return the output that a line's request allows."""
    if url in ROUTES:
        return requested_output(incoming)
    endpoint = _ENDPOINTS.get(url)
    if endpoint == "completions":
        return CompletionWanted.of(incoming, "openai").output
    return asked_pictures(wanted_pictures(Draft(incoming.json))) if endpoint in _PICTURES else NO_OUTPUT
