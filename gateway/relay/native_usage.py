"""What an answer in the form of a wire API, or of an endpoint, says that it has taken, read along as it passes."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from providers.apis import CODECS
from providers.endpoints.usage import read_usage
from streams.errors import GatewayError
from streams.events import Api, Event, Usage

if TYPE_CHECKING:
    from providers.neutral.codec import Reader


class NativeUsage:
    """An ``AnswerReading`` of ``api``'s answers, and of others that have a member ``usage``. It judges none."""

    def __init__(self, api: Api) -> None:
        self.usage: Usage | None = None
        self._api = api
        self._reader: Reader | None = None

    def event(self, name: str, data: bytes) -> None:
        if self._reader is None:
            self._reader = CODECS[self._api].reader(keeps=0)
        self._see(self._reader.take(name, data))

    def whole(self, value: object) -> None:
        if not isinstance(value, Mapping):
            return
        try:
            self._see(CODECS[self._api].read_answer(msgspec.json.encode(value), texts=False, checked=False))
        except GatewayError:
            self.usage = None
        self.usage = self.usage or read_usage(value.get("usage"))

    def close(self, *, streamed: bool) -> None:
        return

    def _see(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Usage):
                self.usage = event
