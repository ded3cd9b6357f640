"""The attributes of an exchange's spans, named by OpenTelemetry's semantic conventions for generative AI, and otherwise
with the prefix ``trigate.``."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from gateway.http.headers import first_paths
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.record import Record
from streams.events import AnswerStart
from streams.surrogates import decode_or

Attributes: TypeAlias = dict[str, Any]

OPERATIONS: Final = {"embeddings": "embeddings", "completions": "text_completion"}
"""The conventions' names of endpoints; all others keep their own."""

PROVIDERS: Final[Mapping[str, str]] = {
    "amazon_bedrock": "aws.bedrock", "azure_openai": "azure.ai.openai", "gemini": "gcp.gemini", "mistral": "mistral_ai",
    "xai": "x_ai",
}  # fmt: skip
"""The conventions' names of providers that differ from this project's."""

LIMITS: Final[Mapping[str, tuple[str, type[int] | type[float]]]] = {
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "max_output_tokens": ("gen_ai.request.max_tokens", int),
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "top_k": ("gen_ai.request.top_k", float),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "n": ("gen_ai.request.choice.count", int),
}
"""Numeric members of requests to providers, of all APIs. Text members may be confidential."""

_SETTINGS: Final = ("generation_config", "generationConfig", "inferenceConfig")
"""The members that contain the limits in Interactions, Gemini and Converse."""

_SETTING_NAMES: Final[Mapping[str, str]] = {
    "maxOutputTokens": "max_output_tokens", "maxTokens": "max_tokens", "topP": "top_p", "topK": "top_k",
    "frequencyPenalty": "frequency_penalty", "presencePenalty": "presence_penalty", "candidateCount": "n",
}  # fmt: skip
"""The names there that differ from those in ``LIMITS``."""

_MEMBERS: Final = msgspec.json.Decoder(
    msgspec.defstruct("_Limits", [(name, Any, None) for name in (*LIMITS, *_SETTINGS)])
)
_LARGEST: Final = 2**63  # an attribute's integers have 64 bits: a larger one would lose the whole batch
LONGEST_NAME: Final = 1000  # characters of a model's name from a client
_LONGEST: Final = 256  # characters of an id or a name from a provider

_LINE_FIELDS: Final = (
    "request_id", "client", "target", "lane", "ended", "attempts", "upstream_request_id", "cost_usd", "cost_grade",
)  # fmt: skip


class AttemptTimes:
    """The times (``time.perf_counter``) of one request to a provider."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.began = time.perf_counter()
        self.placed: float | None = None
        self.connected: float | None = None
        self.first_byte: float | None = None
        self.status: int | None = None

    def mark_sent(self, waited: bool) -> None:
        """Note that the request has its slot, for which it may have waited."""
        self.placed = time.perf_counter() if waited else self.began

    def mark_connected(self) -> None:
        """Note that a new connection was opened for the request."""
        self.connected = time.perf_counter()

    def mark_answered(self, status: int) -> None:
        self.first_byte, self.status = time.perf_counter(), status

    def phases(self, end: float) -> Iterator[tuple[str, float, float]]:
        """Yield the name, the start and the end of each phase up to ``end``."""
        if self.placed != self.began:
            yield "queue", self.began, self.placed or end
        if self.placed is None:
            return
        if self.connected is not None:
            yield "connect", self.placed, self.connected
        sent = self.connected or self.placed
        yield "wait for the first byte", sent, self.first_byte or end
        if self.first_byte is not None:
            yield "stream", self.first_byte, end


def exchange_attributes(record: Record, line: Mapping[str, Any]) -> Attributes:
    """Return the attributes of the client's request and its response."""
    own = {f"trigate.{name}": line.get(name) for name in _LINE_FIELDS}
    return _without_none(
        {
            **own,
            "client.address": record.address,
            "http.response.status_code": line["status"],
            "trigate.model": line.get("model"),
            "trigate.dropped": first_paths(record.dropped) or None,
        }
    )


def request_attributes(body: bytes) -> Attributes:
    """Return the limits in a provider's request."""
    if (members := decode_or(_MEMBERS.decode, body, None)) is None:
        return {}
    found: Attributes = {}
    values: dict[str, Any] = {name: getattr(members, name) for name in LIMITS}
    for settings in (getattr(members, name) for name in _SETTINGS):
        if isinstance(settings, dict):
            values |= {_SETTING_NAMES.get(name, name): value for name, value in settings.items()}
    for name, (attribute, kind) in LIMITS.items():
        value = values[name]
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            found[attribute] = kind(value)
    return found


def operation_of(record: Record) -> str:
    """Return the operation by its name in the conventions, if it has one."""
    return OPERATIONS.get(record.endpoint or "", record.endpoint or "chat")


def call_attributes(record: Record, attempts: Sequence[AttemptTimes]) -> Attributes:
    """Return the attributes of the call to the provider, with all its attempts."""
    provider = (record.target or "").partition("/")[0]
    usage, estimated = record.bill.usage_or_estimate()
    where, opening = urlsplit(attempts[-1].url), record.answer_start or AnswerStart()
    tokens = {} if usage is None else {
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write,
        # Its name before open-telemetry/semantic-conventions-genai#440, for existing dashboards.
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }  # fmt: skip
    return _without_none(
        {
            "gen_ai.operation.name": operation_of(record),
            "gen_ai.provider.name": PROVIDERS.get(provider, provider),
            "gen_ai.request.model": record.model and record.model[:LONGEST_NAME],
            "gen_ai.request.stream": record.stream,
            "gen_ai.response.id": opening.id[:_LONGEST] or None,
            "gen_ai.response.model": opening.model[:_LONGEST] or None,
            "gen_ai.response.finish_reasons": _finish_reasons(record, attempts[-1]),
            "gen_ai.response.time_to_first_chunk": record.first_write,
            **tokens,
            **{f"trigate.units.{unit}": number for unit, number in (() if usage is None else usage.units)},
            "trigate.usage_estimated": estimated or None,
            "server.address": where.hostname,
            "server.port": where.port or {"https": 443, "http": 80}[where.scheme],
            "http.response.status_code": attempts[-1].status,
        }
    )


def attempt_attributes(times: AttemptTimes, attempt_record: AttemptRecord | None) -> Attributes:
    """Return the attributes of one of several attempts, with its record ``attempt_record``."""
    where = urlsplit(times.url)
    own = {} if attempt_record is None else {
        "trigate.attempt.target": attempt_record.target[:LONGEST_NAME],
        "trigate.attempt.cause": attempt_record.cause,
        "trigate.attempt.reason": attempt_record.reason,
        "trigate.attempt.lane": attempt_record.lane,
    }  # fmt: skip
    return _without_none({**own, "server.address": where.hostname, "http.response.status_code": times.status})


def _finish_reasons(record: Record, attempt: AttemptTimes) -> tuple[str, ...] | None:
    """Return the finish reasons; ``error`` for a response with a success status that did not end well."""
    if record.reason is not None:
        return (record.reason,)
    begun = attempt.status is not None and attempt.status < 300
    return ("error",) if begun and record.error is not None else None


def _without_none(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
