"""The state that all attempts of one exchange share, and the log of the attempts."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import attrs

from gateway.config.model_entry import ModelEntry
from gateway.exchange.service import Service
from gateway.ledger.bill import AttemptOutcome, AttemptRecord, Bill, Cause
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.request.routing_options import STRICT, read_switch, refuse_requested_steps
from gateway.routing.target import LaneName, Target
from gateway.seams.observers import UNOBSERVED, Observers
from providers.auth.signer import BearerToken, is_subscription_token
from providers.neutral.codec import Codec
from streams.events import ErrorInfo

if TYPE_CHECKING:
    from gateway.seams.open_response import ExchangeChecks


class AttemptLog:
    """Writes the attempts of an exchange to its ``record``, in the order in which they ended."""

    def __init__(self, record: Record) -> None:
        self.places: set[str] = set()
        """The names (``Target.place``) of the targets of all attempts so far."""
        self.requests = 0
        """The number of requests that were sent to providers."""
        self._record = record
        self._tried: tuple[AttemptRecord, ...] = ()

    def count_request(self) -> None:
        """Count a request that is sent to a provider."""
        self.requests += 1
        self._record.attempts = self.requests

    def add(self, attempt: AttemptRecord, replaced: AttemptRecord | None = None) -> None:
        """Add a record, or put it in place of ``replaced``, the earlier record of the same attempt."""
        before = self._tried if replaced is None else tuple(one for one in self._tried if one is not replaced)
        self._tried = self._record.bill.attempt_records = (*before, attempt)
        self.places.add(attempt.target)


def attempt_record(
    target: Target, reason: AttemptOutcome, lane: LaneName, cause: Cause = "first", **more: Any
) -> AttemptRecord:
    """Return the record of an attempt at ``target``, or of a cached response. ``more`` are other attributes of
    ``AttemptRecord``."""
    return AttemptRecord(
        target.place, target.entry.provider.id, target.api, lane, reason, cause, model=target.name, price=target.price,
        **more,
    )  # fmt: skip


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class ExchangeContext:
    """The shared state of one exchange.

    ``codec`` belongs to the client's API. ``record`` is only written: no decision depends on it, besides ``id``,
    ``endpoint`` and ``bill``, which it has from the start. ``attempt_log`` writes the attempts to it. ``observers``
    learn about the exchange. ``checks`` are the operator's steps."""

    service: Service
    codec: Codec
    client_request: ClientRequest
    record: Record
    observers: Observers = UNOBSERVED
    checks: "ExchangeChecks | None" = None
    attempt_log: AttemptLog = attrs.field(default=attrs.Factory(lambda self: AttemptLog(self.record), takes_self=True))

    def with_checks(self, checks: "ExchangeChecks") -> "ExchangeContext":
        """Return the context with the operator's steps."""
        return ExchangeContext(  # for each request; ``attrs.evolve`` takes several times as long
            self.service, self.codec, self.client_request, self.record, self.observers, checks,
            self.attempt_log,
        )  # fmt: skip

    def own_reason(self, error: ErrorInfo) -> AttemptOutcome:
        """Return the reason of an attempt that the gateway, and no provider, ended with ``error``."""
        return "refused" if self.checks is not None and self.checks.is_refusal(error) else "internal"

    def outliving_client(self) -> AbstractContextManager[None]:
        """Return a context in which the operator's steps continue if the client disconnects."""
        return nullcontext() if self.checks is None else self.checks.outliving_client()

    @property
    def id(self) -> str:
        """The request's id."""
        return self.record.id

    @property
    def endpoint(self) -> str:
        """The name of an endpoint other than conversations, otherwise ""."""
        return self.record.endpoint or ""

    @property
    def bill(self) -> Bill:
        """The usage that the exchange pays for."""
        return self.record.bill

    @property
    def strict(self) -> bool:
        """Whether strict mode is on: a target that would lose a part of the request is rejected."""
        value = self.client_request.header(STRICT)
        return self.service.settings.strict if value is None else read_switch(STRICT, value)

    @property
    def holder(self) -> str:
        """The name under which the client's requests count and its state is stored."""
        return self.service.admission.holder(self.client_request.client, self.client_request.headers)

    async def admit_endpoint(self, endpoint: str, route: tuple[str, str] = ("", "")) -> None:
        """Raise ``GatewayError`` for a request to ``endpoint`` whose text must be checked and cannot be read (403), and
        for a check that the client requests and cannot have (400). ``route`` is its method and path."""
        checks = self.service.hooks.request_checks
        for each in checks:
            await each.admit_endpoint(self, endpoint, route)
        if not checks:
            refuse_requested_steps(self.client_request)

    def may_use(self, name: str) -> bool:
        """Return whether the client may use the model or entry ``name``."""
        return self.service.authenticator.can_use(self.client_request.client, name)

    def check_additional_model(self, at: str, name: str, entry: ModelEntry) -> None:
        """Check that the client may use the model ``name``, which it states at ``at`` for the provider of ``entry``.

        Raises ``GatewayError`` (403)."""
        self.service.authenticator.check_additional_model(self.client_request.client, at, name, entry)

    def forwarded_credential(self, target: Target) -> str | None:
        """Return the client's own credential if requests to ``target`` forward it, otherwise ``None``."""
        return self.client_request.credential if target.entry.passthrough_auth else None

    def credential_for(self, target: Target) -> str | BearerToken | None:
        """Return the credential that signs requests to ``target``, unless it has to be fetched first."""
        if not target.entry.passthrough_auth:
            return target.credential(None)
        return target.credential(self.client_request.credential, as_bearer=self.client_request.has_bearer)

    def with_subscription_mark(self, target: Target) -> Target:
        """Return ``target``, marked if the client's credential belongs to a subscription."""
        if target.entry.passthrough_auth and is_subscription_token(self.client_request.credential):
            return attrs.evolve(target, on_subscription=True)
        return target

    def with_strictness(self, strict: bool) -> "ExchangeContext":
        """Return the context, in strict mode if ``strict`` is true."""
        if not strict or self.strict:
            return self
        client_request = attrs.evolve(self.client_request, headers=(*self.client_request.headers, (STRICT, "1")))
        return attrs.evolve(self, client_request=client_request)
