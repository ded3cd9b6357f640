"""The thread that reads texts for spans: no client takes the turns or the room of others."""

import threading
from collections.abc import Callable

from gateway.features.tracing.reading import TextReader
from gateway.features.tracing.spans import Attributes

MOST = 8 * 1024


class Readings:
    """A reader whose first text is read until ``release``, and the ends of all texts in their order."""

    def __init__(self) -> None:
        self.reader = TextReader(MOST)
        self.ends: list[tuple[str, bool]] = []
        self._released = threading.Event()
        self.reader.submit("first", 1, self._read_first, self.end_of("first"))

    def end_of(self, name: str) -> Callable[[Attributes], object]:
        return lambda attributes: self.ends.append((name, bool(attributes)))

    def _read_first(self) -> Attributes:
        self._released.wait()
        return {"text": "first"}

    def submit(self, client: str, size: int) -> None:
        self.reader.submit(client, size, lambda: {"text": client}, self.end_of(client))

    async def release(self) -> None:
        self._released.set()
        await self.reader.aclose()


async def test_clients_take_turns():
    readings = Readings()
    for client in ("mallory", "mallory", "mallory", "bob"):
        readings.submit(client, 1024)
    await readings.release()
    assert [name for name, _ in readings.ends] == ["first", "mallory", "bob", "mallory", "mallory"]


async def test_without_room_the_client_with_the_most_has_spans_without_texts():
    readings = Readings()
    readings.submit("bob", 1024)
    for _ in range(10):
        readings.submit("mallory", 2048)
    readings.submit("greta", 1)
    assert readings.ends == [("mallory", False)] * 7
    await readings.release()
    assert sorted(readings.ends[7:]) == [
        ("bob", True), ("first", True), ("greta", True), *[("mallory", True)] * 3,
    ]  # fmt: skip


async def test_texts_beyond_the_whole_room_end_their_spans_and_no_others():
    readings = Readings()
    readings.submit("bob", 1024)
    readings.submit("mallory", MOST + 1)
    assert readings.ends == [("mallory", False)]
    await readings.release()
    assert readings.ends[1:] == [("first", True), ("bob", True)]
