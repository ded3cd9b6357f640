"""How many answers were refusals: where all are, the load is wrong as a whole."""

from typing import Final

import attrs

from loadtest.exchange.record import ExchangeRecord

MANY: Final = 20  # refusals and nothing else; what such a load would still ask is of no use
STATUSES: Final = (400, 401, 403, 404)


@attrs.define
class RefusedAnswers:
    """How many answers were ``refused`` and how many ``others`` there were, in the warm-up too. ``said`` is what the
    first refusal said."""

    refused: int = 0
    others: int = 0
    said: str = ""

    def add(self, record: ExchangeRecord) -> None:
        if record.end == "interrupted":
            return
        if record.status not in STATUSES:
            self.others += 1
            return
        self.refused += 1
        if not self.said and record.problem is not None:
            self.said = f"{record.problem.kind}: {record.problem.detail}"

    def merge(self, other: "RefusedAnswers") -> None:
        """Add those that another process has seen."""
        self.refused += other.refused
        self.others += other.others
        self.said = self.said or other.said

    @property
    def are_all(self) -> bool:
        return self.refused >= MANY and not self.others
