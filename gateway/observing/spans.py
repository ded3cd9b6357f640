"""What the spans of an exchange say of it, in the words of OpenTelemetry's semantic conventions for generative AI, and
in words of our own (``trigate.``) where those have none."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from gateway.ledger import Record

Attributes: TypeAlias = dict[str, Any]

PROVIDERS: Final[Mapping[str, str]] = {
    "amazon_bedrock": "aws.bedrock", "azure_openai": "azure.ai.openai", "gemini": "gcp.gemini", "mistral": "mistral_ai",
    "xai": "x_ai",
}  # fmt: skip
"""Providers whose name there is another than here."""

_OF_THE_LINE: Final = ("request_id", "client", "target", "lane", "ended", "attempts", "upstream_request_id")


class Attempt:
    """One request to the provider, by the moments (``time.perf_counter``) of its life."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.began = time.perf_counter()
        self.placed: float | None = None
        self.connected: float | None = None
        self.answered: float | None = None
        self.status: int | None = None

    def goes_out(self, waited: bool) -> None:
        """It has its place among those under way, for which it may have waited."""
        self.placed = time.perf_counter() if waited else self.began

    def connects(self) -> None:
        """There is a connection, made for this."""
        self.connected = time.perf_counter()

    def answers(self, status: int) -> None:
        self.answered, self.status = time.perf_counter(), status

    def phases(self, end: float) -> Iterator[tuple[str, float, float]]:
        """Name, beginning and end of each part, up to ``end``."""
        if self.placed != self.began:
            yield "queue", self.began, self.placed or end
        if self.placed is None:
            return
        if self.connected is not None:
            yield "connect", self.placed, self.connected
        sent = self.connected or self.placed
        yield "wait for the first byte", sent, self.answered or end
        if self.answered is not None:
            yield "stream", self.answered, end


def exchange_attributes(record: Record, line: Mapping[str, Any]) -> Attributes:
    """Of the client's request and its answer."""
    own = {f"trigate.{name}": line.get(name) for name in _OF_THE_LINE}
    return _given(
        {
            **own,
            "http.response.status_code": line["status"],
            "trigate.model": line.get("model"),
            "trigate.dropped": record.dropped or None,
        }
    )


def call_attributes(record: Record, attempts: Sequence[Attempt]) -> Attributes:
    """Of the call to the provider, with all its attempts."""
    provider = (record.target or "").partition("/")[0]
    usage, estimated = record.counted()
    where = urlsplit(attempts[-1].url)
    tokens = {} if usage is None else {
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }  # fmt: skip
    return _given(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDERS.get(provider, provider),
            "gen_ai.request.model": record.model,
            "gen_ai.request.stream": record.stream,
            "gen_ai.response.finish_reasons": None if record.reason is None else (record.reason,),
            "gen_ai.response.time_to_first_chunk": record.first_write,
            **tokens,
            "trigate.usage_estimated": estimated or None,
            "server.address": where.hostname,
            "server.port": where.port or {"https": 443, "http": 80}[where.scheme],
            "http.response.status_code": attempts[-1].status,
        }
    )


def _given(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
