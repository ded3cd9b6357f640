"""The last ended exchanges of the live view: a bounded number, in which no client takes the room of others."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from gateway.features.live_view.prompts import KeptPrompt
from gateway.features.live_view.transcripts import Transcript
from gateway.http.redaction import Secrets
from gateway.shared.owned_entries import OwnedEntries

if TYPE_CHECKING:
    from gateway.seams.observe import ViewerTexts

RECENT: Final = 300
"""Ended exchanges that are stored."""

Line: TypeAlias = dict[str, Any]


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class EndedExchange:
    """An ended exchange: its log line, its start, both sides of a stream, and the request if it was stored.

    ``texts`` are those at the difference that broke its prompt's cache, ``None`` if they are switched off."""

    line: Line
    began: float
    transcript: Transcript | None = None
    secrets: Callable[[], Secrets] = tuple
    prompt: KeptPrompt | None = None
    texts: "ViewerTexts | None" = None

    @property
    def client(self) -> str | None:
        return self.line.get("client")


class EndedExchanges:
    """The last ``RECENT`` ended exchanges in order. Without room, the client with the most loses its oldest one."""

    def __init__(self) -> None:
        self._exchanges: dict[EndedExchange, None] = {}
        self._removed: list[EndedExchange] = []
        self._by_client: OwnedEntries[str | None, EndedExchange, EndedExchange] = OwnedEntries(
            RECENT, on_drop=self._removed.append
        )

    def __iter__(self) -> Iterator[EndedExchange]:
        return iter(self._exchanges)

    def add(self, ended: EndedExchange) -> EndedExchange | None:
        """Add an exchange, and return the one that made room for it, if any."""
        self._exchanges[ended] = None
        self._by_client.put(ended.client, ended, ended)
        removed = self._removed.pop() if self._removed else None
        if removed is not None:
            del self._exchanges[removed]
        return removed
