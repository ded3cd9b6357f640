"""The texts of a sampled exchange: its request after the steps, and its answer as observers may see it."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.conversations.resolved import refers_to_stored_object
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.ledger.record import Record
from gateway.request.repeatable import is_in_background, runs_at_providers
from gateway.routing.target import Target
from gateway.seams.observed_texts import ObservedTexts, TextRoom
from streams.errors import GatewayError


class Sample(ObservedTexts):
    """A sampled exchange of the route ``name``, for ``target``. ``submit`` gets it when the client has the answer.

    ``planned`` is the request after the steps, also after those for the entry of ``target``. It is ``None`` if these
    refuse it, or have not ended in time."""

    planned: PlannedRequest | None = None

    def __init__(
        self, name: str, target: Target, context: ExchangeContext, room: TextRoom, submit: "Callable[[Sample], None]"
    ) -> None:
        super().__init__(context.record, room, lambda client: True)
        self.name = name
        self.target = target
        self.context = context
        self._submit = submit

    async def check(self, request: PlannedRequest) -> None:
        """Set ``planned`` to ``request`` after the steps that only apply to the entry of the target."""
        assert self.context.checks is not None
        try:
            self.planned = await self.context.checks.check_copy(request, self.target)
        except GatewayError:  # it may not go there
            return

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        self.settle()
        if line["ended"] == "complete" and not self.is_lost and self.planned is not None:
            self._submit(self)


def can_be_repeated(request: PlannedRequest) -> bool:
    """Return whether a second target may process ``request``: it has no effects, and refers to nothing elsewhere."""
    incoming, turn = request.incoming, request.turn
    if not request.reports_target_health or turn.continues or turn.background is not None:
        return False
    return not (is_in_background(incoming) or runs_at_providers(incoming) or refers_to_stored_object(incoming))
