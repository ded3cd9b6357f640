"""``--otlp`` and ``--remote-write``: metrics are sent every few seconds, and once more at the end.

All of them are cumulative, so what a receiver missed comes with the next: a push that fails is not tried again, and
counted. Neither it nor a receiver that takes its time holds up the load.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from time import time
from typing import Final, TypeAlias
from urllib.parse import unquote

import attrs
import trio

from loadtest.plan.scenario import shown
from loadtest.reports import otlp, remote_write
from loadtest.reports.metrics_data import MetricSeries, MetricsSoFar

EVERY: Final = 5.0  # seconds between two pushes
PATIENCE: Final = 3.0  # for one, also for the last, which a command waits for

OTLP_HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"

Encoder: TypeAlias = Callable[[Iterable[MetricSeries], float, float], bytes]
"""The body for these series, with the load's begin and now, in seconds since 1970."""

Post: TypeAlias = Callable[[str, Sequence[tuple[str, str]], bytes], Awaitable[str]]
"""Posts a body with headers to a URL; the reason why it was not taken, "" if it was."""


@attrs.define
class Receiver:
    """One receiver, and what came of the pushes to it. ``url`` may hold a password."""

    name: str
    url: str = attrs.field(repr=False)
    headers: Sequence[tuple[str, str]] = attrs.field(repr=False)
    encode: Encoder
    sent: int = 0
    lost: int = 0
    failure: str = ""

    def remark(self) -> str | None:
        """What a reader of the report has to know of it."""
        if not self.lost:
            return None
        where, pushes = shown(self.url), self.sent + self.lost
        return f"Of {pushes} pushes of metrics to {where} ({self.name}) {self.lost} were lost: {self.failure}."


def otlp_receiver(url: str, env: Mapping[str, str] = os.environ) -> Receiver:
    """A collector; the headers that it wants are where OpenTelemetry's own exporters have them."""
    pairs = (pair.partition("=") for pair in env.get(OTLP_HEADERS, "").split(",") if "=" in pair)
    headers = [(name.strip().lower(), unquote(value.strip())) for name, _, value in pairs]
    return Receiver("OTLP", otlp.url_of(url), (*otlp.HEADERS, *headers), otlp.body)


def remote_write_receiver(url: str) -> Receiver:
    """Prometheus, or what takes the same."""

    def encode(series: Iterable[MetricSeries], began: float, now: float) -> bytes:
        return remote_write.body(series, now)

    return Receiver("remote write", remote_write.url_of(url), remote_write.HEADERS, encode)


@contextlib.asynccontextmanager
async def exporting(
    metrics: MetricsSoFar,
    receivers: Sequence[Receiver],
    post: Post,
    *,
    every: float = EVERY,
    patience: float = PATIENCE,
) -> AsyncIterator[None]:
    """Send until the end of the block, and what came last behind it. No push takes more than ``patience``."""
    began = time()

    async def push(receiver: Receiver) -> None:
        body = receiver.encode(metrics.series(), began, time())
        failure = f"no answer within {patience:g} s"
        with trio.move_on_after(patience):
            failure = await post(receiver.url, receiver.headers, body)
        receiver.sent += not failure
        receiver.lost += bool(failure)
        receiver.failure = failure or receiver.failure

    async def repeat(receiver: Receiver) -> None:
        while True:
            await trio.sleep(every)
            await push(receiver)

    async with trio.open_nursery() as nursery:
        for receiver in receivers:
            nursery.start_soon(repeat, receiver)
        yield
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        for receiver in receivers:
            nursery.start_soon(push, receiver)
