"""Parses the metrics page of a gateway."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from gateway.exchange.service import Service
from tests.support.harness import (
    Gateway,
    eventually,
)

if TYPE_CHECKING:
    from gateway.features.metrics.metrics import Metrics

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Numbers:
    """A parsed metrics page."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """Return the sum of all series of ``name`` with ``labels``."""
        return sum(one.value for one in self._samples if one.name == name and labels.items() <= one.labels.items())

    def labels(self, name: str) -> list[Mapping[str, str]]:
        return [one.labels for one in self._samples if one.name == name]

    @property
    def counters(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return all values that must never decrease."""
        ends = ("_total", "_bucket", "_count", "_sum")
        return {
            (one.name, frozenset(one.labels.items())): one.value for one in self._samples if one.name.endswith(ends)
        }


def metrics_of(service: Service) -> "Metrics":
    """Return the metrics of a gateway in the test's process."""
    from gateway.features.metrics.opening import RunningMetrics  # a feature, without which the parser serves others

    running = service.opened.features["metrics"]
    assert isinstance(running, RunningMetrics)
    return running.metrics


def numbers(gateway: Gateway, **headers: str) -> Numbers:
    reply = gateway.request("GET", "/metrics", headers=headers)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Numbers(reply.body.decode())


def reaching(gateway: Gateway, expected: float, name: str, **labels: str) -> Numbers:
    """Return the page once ``name`` is ``expected``, because an exchange counts when its last task has ended."""

    def there() -> Numbers | None:
        return now if (now := numbers(gateway))(name, **labels) == expected else None

    found: Numbers = eventually(there, what=f"{name} {labels} {expected}")
    return found


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "by-hand", "choices": [choice]}
    data = b"data: " + json.dumps(value).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def page_of(metrics: "Metrics") -> str:
    """Return the page of one process, with its numbers so far."""
    metrics.write()
    return metrics.page().decode()
