"""Viewers of the live view, which receive its events."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import attrs

from tests.support.harness import PATIENCE, Gateway


@attrs.frozen
class Viewer:
    """A viewer that reads events until one matches."""

    response: http.client.HTTPResponse

    def hear(self, wanted: Any) -> Any:
        name = ""
        for line in iter(self.response.readline, b""):
            field, _, value = line.decode().strip().partition(": ")
            if field == "event":
                name = value
            if field == "data" and (found := wanted(name, json.loads(value))):
                return found
        raise AssertionError("the view has ended")


@contextlib.contextmanager
def viewing(process: Gateway, path: str = "/ui/events", key: str | None = None) -> Iterator[Viewer]:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=PATIENCE)
    connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
    try:
        yield Viewer(connection.getresponse())
    finally:
        connection.close()


def rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(data["columns"], row, strict=True)) for row in data["streams"]]
