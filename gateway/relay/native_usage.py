"""What an answer in the form of a wire API, or of an endpoint, says that it has taken, read along as it passes."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from providers.apis import CODECS
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
        self.usage = self.usage or plain_usage(value.get("usage"))

    def close(self, *, streamed: bool) -> None:
        return

    def _see(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Usage):
                self.usage = event


def plain_usage(value: Any) -> Usage | None:
    """The tokens that a member ``usage`` counts, in OpenAI's older or newer words."""
    if not isinstance(value, Mapping):
        return None
    found = [
        _count(value, *names) for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    ]
    if found[0] is None and found[1] is None:
        total = _count(value, "total_tokens")
        return None if total is None else Usage(input=total)
    return Usage(input=found[0] or 0, output=found[1] or 0)


def _count(value: Mapping[str, Any], *names: str) -> int | None:
    return next((one for name in names if isinstance(one := value.get(name), int) and one >= 0), None)
