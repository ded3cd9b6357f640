"""What batches cost, out of what their providers say of them: the whole batch's usage, or that of each line of its
results. Providers take half the price for them (https://platform.openai.com/docs/guides/batch,
https://platform.claude.com/docs/en/build-with-claude/batch-processing)."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from gateway.config.settings import ModelEntry
from gateway.http.headers import Headers
from gateway.relay.answers import KEPT
from gateway.relay.native_usage import NativeUsage, plain_usage
from providers.catalog.prices import Price, cost_of, price_of
from providers.endpoints.batch_lines import LONGEST_LINE
from streams.events import Api, Usage

FINAL: Final = frozenset(("completed", "expired", "cancelled", "failed"))
"""The states in which a batch of OpenAI's stays."""

_SHARE: Final = 2  # of the price


@attrs.frozen
class EndedBatch:
    """A batch of OpenAI's that has come to its end: what it used and cost, ``None`` where its object does not say it,
    and the file of its results, if it has one."""

    id: str
    usage: Usage | None
    output: str | None


def ended_batch(body: bytes, entries: Iterable[ModelEntry]) -> EndedBatch | None:
    """The batch of which ``body`` is the object; ``None`` where it has not come to its end."""
    try:
        value = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    id, usage = value.get("id"), plain_usage(value.get("usage"))
    if value.get("status") not in FINAL or not isinstance(id, str):
        return None
    if usage is not None:
        usage = priced(usage, _text(value.get("model")), tuple(entries))
    return EndedBatch(id, usage, _text(value.get("output_file_id")))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def priced(usage: Usage, model: str | None, entries: tuple[ModelEntry, ...]) -> Usage:
    """``usage`` with what it cost in a batch, as far as the price of ``model`` is known."""
    price = None if model is None else _price(model, entries)
    if price is None:
        return usage
    return attrs.evolve(usage, told_nanos=-(-cost_of(price, usage).nanos // _SHARE))


def _price(model: str, entries: tuple[ModelEntry, ...]) -> Price | None:
    own = next((entry.price for entry in entries if entry.model == model and entry.price is not None), None)
    return own or next((found for entry in entries if (found := price_of(entry.provider.id, model)) is not None), None)


class ResultLines:
    """The ``AnswerFilter`` of a batch's results: they pass as they come, and what each line used is added up."""

    held = 0
    ping = b""

    def __init__(self, entries: Iterable[ModelEntry]) -> None:
        self._entries = tuple(entries)
        self._held: list[bytes] = []
        self._size = 0
        self._usage = Usage()
        self._unpriced = False
        self.lines = 0

    @property
    def usage(self) -> Usage | None:
        if not self.lines:
            return None
        return attrs.evolve(self._usage, told_nanos=None) if self._unpriced else self._usage

    def head(self, status: int, headers: Headers) -> Headers:
        return tuple(pair for pair in headers if pair[0] in KEPT)

    def take(self, piece: bytes) -> bytes:
        *whole, rest = piece.split(b"\n")
        for one in whole:
            self._hold(one)
            self._read()
        self._hold(rest)
        return piece

    def close(self) -> bytes:
        self._read()
        return b""

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= LONGEST_LINE:  # a longer one only passes
            self._held.append(piece)
        else:
            self._held.clear()

    def _read(self) -> None:
        line, self._held, self._size = b"".join(self._held), [], 0
        found = line_usage(line)
        if found is None:
            return
        model, used = found
        used = priced(used, model, self._entries)
        self._unpriced = self._unpriced or used.told_nanos is None
        self.lines += 1
        total = self._usage
        self._usage = Usage(
            input=total.input + used.input, cache_read=total.cache_read + used.cache_read,
            cache_write=total.cache_write + used.cache_write, output=total.output + used.output,
            told_nanos=(total.told_nanos or 0) + (used.told_nanos or 0),
        )  # fmt: skip


def line_usage(line: bytes) -> tuple[str | None, Usage] | None:
    """What a line of results says that it used, and of which model; ``None`` for one that failed, or is none."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(value, dict):
        return None
    answer, api = _answer(value)
    if not isinstance(answer, dict):
        return None
    reading = NativeUsage(api)
    reading.whole(answer)
    if reading.usage is None:
        return None
    model = answer.get("model")
    return (model if isinstance(model, str) else None), reading.usage


def _answer(value: Mapping[str, Any]) -> tuple[Any, Api]:
    """The answer in a line of OpenAI's results or of Anthropic's."""
    result, response = value.get("result"), value.get("response")
    if isinstance(result, dict):
        return result.get("message"), "messages"
    body = response.get("body") if isinstance(response, dict) else None
    return body, "responses" if isinstance(body, dict) and body.get("object") == "response" else "chat"
