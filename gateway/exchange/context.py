"""The sides of one exchange that all its attempts share."""

from typing import TYPE_CHECKING

import attrs

from gateway.exchange.service import Service
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from providers.neutral.codec import Codec

if TYPE_CHECKING:
    from gateway.telemetry.recording import Recording


@attrs.frozen(eq=False, slots=False)  # made with fewer calls, and there is one of it for a request
class ExchangeContext:
    """``codec`` is that of the client's API. ``record`` is only written: what is done never depends on it."""

    service: Service
    codec: Codec
    asked: ClientRequest
    record: Record
    recording: "Recording | None" = None

    @property
    def strict(self) -> bool:
        """Nothing may be left out that may change the answer."""
        wish = self.asked.header("x-trigate-strict")
        return self.service.strict if wish is None else wish in ("1", "true")
