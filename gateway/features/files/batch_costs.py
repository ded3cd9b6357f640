"""The costs of batches: the usage that a provider reports for a batch or for each result line, at batch prices."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from gateway.config.model_entry import ModelEntry
from gateway.ledger.bill import Booking
from gateway.relay.answers import AnswerFilter, ApiUsageReader
from providers.apis import CODECS
from providers.catalog.prices import BATCH, USUAL_TIERS, Cost, Price, cost_of, price_of, total_cost
from providers.endpoints.batch_lines import MAX_LINE
from providers.endpoints.media_tokens import read_usage
from providers.neutral.token_usage import MOST_BATCH_TOKENS
from providers.neutral.values import text_or_none
from streams.events import Api, Usage
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON, any_json

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

_SMALL_VALUE: Final = 64 * 1024
"""Bytes of a member that is decoded in a result line with very many JSON elements."""

FINAL: Final = frozenset(("completed", "expired", "cancelled", "failed", "success", "timeout_exceeded"))
"""The final states of batches at OpenAI, and those of Mistral, in lower case."""


@attrs.frozen
class EndedBatch:
    """A finished OpenAI batch.

    ``booking`` is its usage and cost, ``None`` if its object does not report them; ``output`` the file of its results,
    if any. ``has_tools`` means that provider tools may have run, whose calls only the file's lines report."""

    id: str
    booking: Booking | None
    output: str | None
    has_tools: bool = False


def ended_batch(body: bytes, entries: Iterable[ModelEntry]) -> EndedBatch | None:
    """Read a provider's batch object; return ``None`` if the batch is not finished or the object is unreadable."""
    try:
        value = msgspec.json.decode(body, type=dict[str, Any])
    except NOT_JSON:
        return None
    id, usage, known = value.get("id"), read_usage(value.get("usage"), MOST_BATCH_TOKENS), tuple(entries)
    output = text_or_none(value.get("output_file_id")) or text_or_none(value.get("output_file"))
    status = text_or_none(value.get("status")) or ""
    is_over = status.lower() in FINAL or _ended_without_success(value)
    if not is_over or not isinstance(id, str):
        return None
    if usage is None:
        return EndedBatch(id, _booking_of_outputs(value.get("outputs"), known), output)
    price = price_in(known, text_or_none(value.get("model")) or _only_model(known), "chat")
    # Only the lines reveal long-prompt prices, and the model if the batch does not state it.
    needs_lines = price is None or any(usage.prompt > tokens for tokens, _ in price.above)
    if needs_lines and output:
        return EndedBatch(id, None, output)
    has_tools = value.get("endpoint") in ("/v1/responses", "/responses") and usage.reported_nanos is None
    return EndedBatch(id, batch_booking(price, usage), output, has_tools)


def _booking_of_outputs(outputs: object, entries: tuple[ModelEntry, ...]) -> Booking | None:
    """Return the usage and cost of the results in a batch object of Mistral, ``None`` without any."""
    if not isinstance(outputs, list):
        return None
    lines = ResultLines(entries)
    for one in outputs:
        lines.take(msgspec.json.encode(one) + b"\n")
    return lines.booking


def _only_model(entries: tuple[ModelEntry, ...]) -> str | None:
    """Return the account's model if it has only one: a batch without a model must use it."""
    return entries[0].model if len(entries) == 1 and not entries[0].wildcard else None


def _ended_without_success(batch: Mapping[str, Any]) -> bool:
    """Return whether an Anthropic batch ended without any success; any other is billed from its results."""
    counts = batch.get("request_counts")
    return batch.get("processing_status") == "ended" and isinstance(counts, dict) and counts.get("succeeded") == 0


def batch_booking(price: Price | None, usage: Usage) -> Booking:
    """Return ``usage`` with its cost at the batch tier of ``price``."""
    tier = "" if usage.tier is None or usage.tier.lower() in USUAL_TIERS else usage.tier
    if not tier.startswith(BATCH):  # Anthropic reports it
        usage = attrs.evolve(usage, tier=f"{BATCH} {tier}".rstrip())
    known = price is not None or usage.reported_nanos is not None
    return Booking(usage.with_all_steps, cost_of(price, usage) if known else None)


def price_in(entries: tuple[ModelEntry, ...], model: str | None, api: Api) -> Price | None:
    """Return the price of a provider's ``model``, from the configuration or else the price list.

    Responses contain dated model names, entries undated ones."""
    if model is None:
        return None
    fits: tuple[Callable[[ModelEntry], bool], ...] = (
        lambda one: one.model == model,
        lambda one: model.startswith((f"{one.model}-20", f"{one.model}@")),
        lambda one: one.wildcard or len(entries) == 1,  # a deployment has a name of its own
    )
    own = (next((one.price for one in entries if fit(one) and one.price is not None), None) for fit in fits)
    listed = (price_of(one.listed_as, model) for one in entries)
    price = next((found for found in (*own, *listed) if found is not None), None)
    charges = price is not None and CODECS[api].wire.charges_cache_writes
    return price.with_cache_writes if price is not None and charges else price


_RESULT_MARK: Final = b'"custom_id"'


class ResultLines(AnswerFilter):
    """A filter that returns a batch's results unchanged and adds up the usage of each line.

    With ``only_calls``, it counts only calls of provider tools, because the rest was billed."""

    def __init__(self, entries: Iterable[ModelEntry], *, only_calls: bool = False) -> None:
        self._entries = tuple(entries)
        self._only_calls = only_calls
        self._line: list[bytes] = []
        self._size = 0
        self._usage = Usage()
        self._cost: Cost | None = None
        self._has_unpriced_lines = False
        self.lines = 0

    @property
    def usage(self) -> Usage | None:
        return self._usage if self.lines else None

    @property
    def booking(self) -> Booking | None:
        """The usage and cost of all lines, ``None`` without any."""
        if not self.lines:
            return None
        cost = self._cost
        return Booking(self._usage, attrs.evolve(cost, grade="at_least") if cost and self._has_unpriced_lines else cost)

    @property
    def may_bill(self) -> bool:
        """Whether a result has been read, or its beginning."""
        return self.lines > 0 or _RESULT_MARK in b"".join(self._line)

    def size_of_work(self, piece: bytes) -> int:
        return self._size + len(piece) if b"\n" in piece else 0

    def take(self, piece: bytes) -> bytes:
        *whole, rest = piece.split(b"\n")
        for one in whole:
            self._add_to_line(one)
            self._read_line()
        self._add_to_line(rest)
        return piece

    def close(self) -> bytes:
        self._read_line()
        return b""

    def _add_to_line(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MAX_LINE:  # longer lines only pass
            self._line.append(piece)
        else:
            self._line.clear()

    def _read_line(self) -> None:
        line, self._line, self._size = b"".join(self._line), [], 0
        booked = line_booking(line, self._entries, only_calls=self._only_calls)
        if booked is None:
            return
        self._usage = booked.usage if not self.lines else self._usage + booked.usage
        self.lines += 1
        if booked.cost is None:
            self._has_unpriced_lines = True
        else:
            self._cost = total_cost((self._cost, booked.cost)) if self._cost is not None else booked.cost


def line_booking(line: bytes, entries: tuple[ModelEntry, ...], *, only_calls: bool = False) -> Booking | None:
    """Return the usage and cost of a result line, ``None`` if it failed or is invalid.

    With ``only_calls``, return only calls of tools, ``None`` without any."""
    if _RESULT_MARK not in line:  # of a file without results
        return None
    value = _decode_line(line)
    if not isinstance(value, dict):
        return None
    answer, api = _response_in(value)
    if not isinstance(answer, dict):
        return None
    reading = ApiUsageReader(api)
    reading.read_whole(answer)
    usage = reading.usage
    if usage is not None and only_calls:
        usage = Usage(calls=usage.calls) if usage.calls else None
    return None if usage is None else batch_booking(price_in(entries, text_or_none(answer.get("model")), api), usage)


def _decode_line(line: bytes) -> object:
    """Decode a result line; return ``None`` if it is not JSON.

    The value of a line with very many JSON elements, such as embeddings, lacks the large members of the response:
    decoding them would take hundreds of megabytes."""
    try:
        if not has_more_elements(line, MAX_ELEMENTS):
            return any_json(line)
        value: dict[str, Any] = {}
        for name, inner in (("result", "message"), ("response", "body")):
            outer = _MEMBERS.decode(_MEMBERS.decode(line).get(name, b"{}"))
            members = _MEMBERS.decode(outer.get(inner, b"{}"))
            small = {name: any_json(bytes(one)) for name, one in members.items() if len(one) <= _SMALL_VALUE}
            value |= {name: {inner: small}} if small else {}
        return value
    except NOT_JSON:
        return None


def _response_in(value: Mapping[str, Any]) -> tuple[Any, Api]:
    """Return the response in a line of OpenAI's or Anthropic's results, and its API."""
    result, response = value.get("result"), value.get("response")
    if isinstance(result, dict):
        return result.get("message"), "messages"
    body = response.get("body") if isinstance(response, dict) else None
    return body, "responses" if isinstance(body, dict) and body.get("object") == "response" else "chat"
