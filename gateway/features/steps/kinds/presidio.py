"""The kind ``presidio``: an analyzer of Microsoft Presidio. It finds personal data, and the gateway masks it.

See https://microsoft.github.io/presidio/api-docs/api-docs.html"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, TypeAlias

import attrs

from configfile.keys import Kind, setting
from configfile.kinds import HeaderName, Secret, Url, any_of, read_amount, text_shape
from configfile.wording import Wrong, describe
from gateway.features.steps.kinds import KindContext
from gateway.features.steps.kinds.services import CheckingService, SentPiece
from gateway.features.steps.runner import UncheckedText
from trigate.steps import Check, Finding

PATH: Final = "/analyze"


def _read_score(value: Any) -> float:
    expected = "expected a number from 0 to 1"
    if (score := read_amount(value, {"": 1.0}, expected)) > 1:
        raise Wrong(describe(value), expected)
    return score


Score: TypeAlias = Annotated[
    float,
    Kind(
        "number from 0 to 1",
        _read_score,
        any_of({"type": "number", "minimum": 0, "maximum": 1}, text_shape(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?")),
    ),
]


@attrs.frozen(repr=False)
class PresidioSettings:
    """The settings of a ``presidio`` step."""

    url: Url = setting(f"The address of the analyzer. The gateway adds `{PATH}`.")
    language: str = setting("The language of the texts.", "en")
    score: Score | None = setting("The minimum confidence of a finding.", None, shown="the analyzer's")
    headers: dict[HeaderName, Secret] = setting("Headers for the analyzer.", factory=dict, secret=True)


class PresidioStep(CheckingService):
    """A step that finds personal data with a Presidio analyzer. Its labels are Presidio's entities: those under
    ``action``, or all."""

    def __init__(self, settings: PresidioSettings, context: KindContext) -> None:
        super().__init__(settings.url.rstrip("/").removesuffix(PATH) + PATH, settings.headers, context)
        options = {"language": settings.language, "score_threshold": settings.score, "entities": context.labels}
        self._options = {name: value for name, value in options.items() if value not in (None, ())}

    async def check_batch(self, check: Check, batch: Sequence[SentPiece]) -> Sequence[Finding]:
        if not (sent := [one for one in batch if one.text]):
            return ()
        texts = [one.text for one in sent]
        return [*_findings(sent, await self.post({"text": texts, **self._options}, sum(map(len, texts))))]


def _findings(pieces: Sequence[SentPiece], reply: Any) -> Iterator[Finding]:
    """Yield the findings of a reply: a list for each text. Raises ``UncheckedText``."""
    if not isinstance(reply, list) or len(reply) != len(pieces):
        raise UncheckedText("malformed", "the analyzer returned no list for each text")
    for piece, results in zip(pieces, reply, strict=True):
        if not isinstance(results, list):
            raise UncheckedText("malformed", "the analyzer returned no list for each text")
        for result in results:
            yield _finding(piece, result)


def _finding(piece: SentPiece, result: Any) -> Finding:
    """Return the finding of one result, whose positions count code points."""
    names = ("entity_type", "start", "end")
    label, start, end = (result.get(name) for name in names) if isinstance(result, dict) else (None, None, None)
    if not isinstance(label, str) or not label or type(start) is not int or type(end) is not int:
        raise UncheckedText("malformed", "the analyzer returned a result without an entity or a position")
    if not 0 <= start <= end <= len(piece.text):
        raise UncheckedText("malformed", "the analyzer returned a position outside the text")
    return Finding(label, piece.passage, piece.start + start, piece.start + end)
