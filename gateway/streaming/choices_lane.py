"""The lane of a stream of several choices that a transform releases: one writer a choice, joined into one stream."""

import math
from collections.abc import Callable, Iterator

import msgspec

from gateway.streaming.lane import MapError, StreamProgress, count_characters, too_large
from gateway.streaming.released import LENGTH, RELEASED, UNFINISHED, events_by_choice
from providers.neutral.choices import MEMBERS, set_choice
from providers.neutral.codec import Writer, complete_usage
from streams.events import AnswerEnd, Api, ErrorInfo, Event, Usage
from streams.framing import Framing
from streams.sse import dump


class ChoicesLane:
    """Writes the events of several choices in a client's API that has them.

    ``make_writer`` returns the writer of one choice. ``input_estimate`` are the tokens of the request, for a provider
    that reports no usage."""

    source = RELEASED

    def __init__(
        self,
        api: Api,
        framing: Framing,
        make_writer: Callable[[], Writer],
        map_error: MapError,
        max_characters: int | None,
        input_estimate: int,
    ) -> None:
        self.progress = StreamProgress()
        self._api = api
        self._framing = framing
        self._make_writer = make_writer
        self._map_error = map_error
        self._max_characters = math.inf if max_characters is None else max_characters
        self._input_estimate = input_estimate
        self._frames = RELEASED.splitter(0)
        self._characters = 0  # of all choices
        self._writers: dict[int, Writer] = {}
        self._id: str | None = None

    def feed(self, data: bytes) -> bytes:
        return b"".join(self._write_all(frame) for frame in self._frames.feed(data))

    def end(self, error: ErrorInfo | None = None) -> bytes:
        return b"" if self.progress.over else self._write_failure(error or UNFINISHED[0])

    def trailing_bytes(self) -> bytes:
        return b""

    def ping(self) -> bytes:
        """Return a keep-alive."""
        return b"" if self.progress.over else self._framing.comment

    def _write_all(self, frame: bytes) -> bytes:
        """Return the client's bytes for the events of one frame, which has the ends of all choices or of none."""
        ends: dict[int, AnswerEnd] = {}
        out: list[bytes] = []
        for choice, events in events_by_choice(frame[LENGTH:]).items():
            for event in events:
                if self.progress.over:
                    return b"".join(out)
                if isinstance(event, ErrorInfo):
                    out.append(self._write_failure(event))
                elif isinstance(event, AnswerEnd):
                    ends[choice] = event
                else:
                    out.append(self._write(choice, event))
        return b"".join([*out, *self._write_ends(ends)])

    def _write(self, choice: int, event: Event) -> bytes:
        if choice == 0:
            self.progress.add(event)
        else:
            self.progress.add_other(event)
        self._characters += count_characters(event)
        if self._characters > self._max_characters:
            return self._write_failure(too_large(int(self._max_characters)))
        return (
            b"" if isinstance(event, Usage) else b"".join(self._events_of(choice, self._writer_of(choice).send(event)))
        )

    def _write_ends(self, ends: dict[int, AnswerEnd]) -> Iterator[bytes]:
        """Yield the end of each choice. The usage and the terminator of the API follow the last one."""
        if not ends:
            return
        usage = complete_usage(self.progress.usage, self._input_estimate, self._characters)
        self.progress.usage = usage  # the bill and the client count the same
        for choice in sorted(ends):
            writer = self._writer_of(choice)
            writer.send(usage)
            is_last = choice == max(ends)
            yield from self._events_of(choice, writer.send(ends[choice]), others=is_last)
        self.progress.add(ends[min(ends)])

    def _write_failure(self, error: ErrorInfo) -> bytes:
        error = self._map_error(error)
        data = self._writer_of(0).send(error)
        self.progress.add(error)
        return data

    def _writer_of(self, choice: int) -> Writer:
        if choice not in self._writers:
            self._writers[choice] = self._make_writer()
        return self._writers[choice]

    def _events_of(self, choice: int, data: bytes, *, others: bool = True) -> Iterator[bytes]:
        """Yield the events in ``data`` as those of ``choice``. ``others``: with events that belong to no choice."""
        for raw in self._framing.splitter(len(data) + 1).feed(data):
            parsed = self._framing.parse(raw)
            if parsed is None or not parsed[1].startswith(b"{"):
                if others:
                    yield raw
                continue
            value = msgspec.json.decode(parsed[1])
            self._id = set_choice(self._api, value, choice, self._id)
            if others or value.get(MEMBERS[self._api]):
                yield raw.replace(parsed[1], dump(value), 1)
