"""Credentials are kept out of whatever is shown or written: servers like to repeat the key that they refuse, and the
path that they do not know."""

from collections.abc import Iterable
from typing import Final

import attrs

from gateway.loadtest.exchange.record import ExchangeRecord
from gateway.loadtest.plan.scenario import Scenario, secrets

SECRET: Final = 8  # characters from which on a word of a header or a URL may be a credential: Bearer is none


@attrs.frozen
class SecretWords:
    """Words that may be credentials, the longest first."""

    words: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def of(cls, scenario: Scenario, target: str, key: str | None) -> "SecretWords":
        """Those of the load on one target."""
        values = [key or "", *(value for _, value in scenario.headers), *secrets(scenario.targets[target])]
        return cls.among(values)

    @classmethod
    def among(cls, values: Iterable[str]) -> "SecretWords":
        """Those in these values."""
        words = {word for value in values for word in value.split() if len(word) >= SECRET}
        return cls(tuple(sorted(words, key=len, reverse=True)))

    def masked(self, text: str) -> str:
        """The text without them."""
        for word in self.words:
            text = text.replace(word, "***")
        return text

    def masked_record(self, record: ExchangeRecord) -> ExchangeRecord:
        """The record without them in anything that the server said."""
        problem = record.problem
        return attrs.evolve(
            record,
            problem=problem and attrs.evolve(problem, kind=self._cut(problem.kind), detail=self._cut(problem.detail)),
            finish=self._cut(record.finish),
            request_id=self._cut(record.request_id),
            route=tuple((self._cut(name), self._cut(value)) for name, value in record.route),
        )

    def _cut(self, text: str) -> str:
        """The text without them, nor what is left of one that is cut off where the text ends."""
        text = self.masked(text)
        for word in self.words:
            left = next((n for n in range(len(word) - 1, SECRET - 1, -1) if text.endswith(word[:n])), 0)
            text = f"{text[:-left]}***" if left else text
        return text
