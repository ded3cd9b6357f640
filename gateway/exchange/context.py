"""The state that all attempts of one exchange share, and the log of the attempts."""

from typing import Any, Final

import attrs

from gateway.exchange.service import Service
from gateway.ledger.bill import Cause, Tried, TriedReason
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.routing.target import LaneName, Target
from gateway.telemetry.observer import NO_RECORDING, UNOBSERVED, CallObserver, CallObservers, ExchangeRecording
from providers.auth.credential import BearerToken, is_subscription_token
from providers.neutral.codec import Codec


class TriedLog:
    """Writes the attempts of an exchange to its ``record``, in the order in which they ended."""

    def __init__(self, record: Record) -> None:
        self.places: set[str] = set()
        """The names of the targets that were tried (``Target.place``)."""
        self._record = record
        self._tried: tuple[Tried, ...] = ()

    def sent(self) -> None:
        """Count a request that is sent to a provider."""
        self._record.attempts += 1

    def add(self, tried: Tried, instead: Tried | None = None) -> None:
        """Add ``tried``, or put it in place of ``instead``, the earlier record of the same attempt."""
        before = self._tried if instead is None else tuple(one for one in self._tried if one is not instead)
        self._tried = self._record.bill.tried = (*before, tried)
        self.places.add(tried.target)


def tried_at(target: Target, reason: TriedReason, lane: LaneName, cause: Cause = "first", **more: Any) -> Tried:
    """Return the record of an attempt at ``target``, or of a cached response. ``more`` are other attributes of
    ``Tried``."""
    return Tried(
        target.place, target.entry.provider.id, target.api, lane, reason, cause, model=target.name, price=target.price,
        **more,
    )  # fmt: skip


STRICT: Final = "x-trigate-strict"


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class ExchangeContext:
    """The shared state of one exchange.

    ``codec`` belongs to the client's API. ``record`` is only written: no decision depends on it; ``tried`` writes the
    attempts to it. ``observer`` observes the calls to providers, ``recording`` everything else that is recorded."""

    service: Service
    codec: Codec
    asked: ClientRequest
    record: Record
    observer: CallObserver = UNOBSERVED
    recording: ExchangeRecording = NO_RECORDING
    tried: TriedLog = attrs.field(default=attrs.Factory(lambda self: TriedLog(self.record), takes_self=True))

    @property
    def strict(self) -> bool:
        """Whether strict mode is on: a target that would lose a part of the request is rejected."""
        wish = self.asked.header(STRICT)
        return self.service.strict if wish is None else wish in ("1", "true")

    def forwarded_credential(self, target: Target) -> str | None:
        """Return the client's own credential if requests to ``target`` forward it, otherwise ``None``."""
        return self.asked.credential if target.entry.passthrough_auth else None

    def credential_for(self, target: Target) -> str | BearerToken | None:
        """Return the credential that signs requests to ``target``, unless it has to be fetched first."""
        if not target.entry.passthrough_auth:
            return target.credential(None)
        return target.credential(self.asked.credential, as_bearer=self.asked.has_bearer)

    def with_subscription_mark(self, target: Target) -> Target:
        """Return ``target``, marked if the client's credential belongs to a subscription."""
        if target.entry.passthrough_auth and is_subscription_token(self.asked.credential):
            return attrs.evolve(target, on_subscription=True)
        return target

    def with_recording(self, recording: ExchangeRecording) -> "ExchangeContext":
        """Return the context that also reports to ``recording``."""
        if recording is NO_RECORDING:
            return self
        return attrs.evolve(self, recording=recording, observer=CallObservers((self.observer, recording)))

    def with_strictness(self, strict: bool) -> "ExchangeContext":
        """Return the context, in strict mode if ``strict`` is true."""
        if not strict or self.strict:
            return self
        asked = attrs.evolve(self.asked, headers=(*self.asked.headers, (STRICT, "1")))
        return attrs.evolve(self, asked=asked)
