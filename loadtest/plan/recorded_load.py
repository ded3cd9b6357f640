"""Requests that ``trigate serve --record`` has recorded: their bodies, order and start times."""

import functools
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from configfile.document import ConfigError, Mistake
from loadtest.plan.traces import LoadTrace, load_trace
from providers.recordings import (
    NotRepeatable,
    RecordedRequest,
    UnreadableRecording,
    client_meta_files,
    read_client_request,
    repeatable_body,
)

TOLD: Final = 10  # mistakes, each by the name of its recording
MOST: Final = 2**29  # bytes of all bodies

_REPEATABLE_STATUSES: Final = frozenset((408, 429, 499))  # statuses of a client's error that are worth repeating


@attrs.frozen
class RecordedLoad:
    """The recorded requests in ``folder`` that can be sent again, in order.

    The ``bodies`` are kept in memory, because a gateway that still records removes the oldest files. ``left_out``
    counts the other recordings by reason.
    """

    folder: Path
    requests: Sequence[RecordedRequest] = attrs.field(repr=False)
    bodies: Sequence[bytes] = attrs.field(repr=False)
    left_out: Mapping[str, int]

    def describe(self) -> str:
        """Return a summary for the user."""
        skipped = "".join(f"; {count:,} skipped: {why}" for why, count in self.left_out.items())
        return f"{self.folder.name}: {len(self.requests):,} recorded request{'s' * (len(self.requests) != 1)}{skipped}"

    def trace(self) -> LoadTrace:
        """Return the recorded start times as a trace. Raises ``ConfigError`` if some are missing."""
        untimed = [request for request in self.requests if request.began is None]
        if untimed:
            expected = "set --rate or --concurrency: then they are sent in their order"
            raise _mistakes_error(
                self.folder, [(request.name, "the time of its request is missing", expected) for request in untimed]
            )
        begins = [request.began or 0.0 for request in self.requests]
        nothing = array("q", bytes(8 * len(begins)))
        times = array("d", [began - begins[0] for began in begins])
        return LoadTrace(self.folder.name, "recordings", "seconds", times, nothing, nothing, (), self.left_out)


def is_recorded(path: Path | None) -> bool:
    """Return whether ``path`` is a directory, which has recordings, and not a file."""
    return path is not None and path.is_dir()


def trace_of(path: Path) -> LoadTrace:
    """Return the start times of a trace or of recordings. Raises ``ConfigError``."""
    return recorded_load(path).trace() if is_recorded(path) else load_trace(path)


@functools.lru_cache(maxsize=4)
def recorded_load(folder: Path) -> RecordedLoad:
    """Return the client requests in ``folder``, which is read once.

    Raises ``ConfigError`` with the unreadable recordings.
    """
    found: list[tuple[RecordedRequest, bytes]] = []
    size = 0
    left_out: Counter[str] = Counter()
    mistakes: list[tuple[str, str, str]] = []
    for meta in client_meta_files(folder):
        try:
            request = read_client_request(meta)
            if request is not None:
                found.append((request, _accepted_body(request)))
                size += len(found[-1][1])
        except NotRepeatable as error:
            left_out[str(error)] += 1
        except UnreadableRecording as error:
            mistakes.append((meta.name, str(error).removeprefix(f"{meta}: "), "remove it, or record it again"))
        if size > MOST:
            expected = "give a directory with fewer recordings: they are kept in memory"
            raise ConfigError((Mistake(str(folder), "", f"the requests are larger than {MOST >> 20} MiB", expected),))
    if mistakes:
        raise _mistakes_error(folder, mistakes)
    if not found:
        told = "".join(f"; {count} skipped: {why}" for why, count in left_out.items())
        expected = "give a directory written by trigate serve --record DIR"
        raise ConfigError((Mistake(str(folder), "", f"the directory has no client requests{told}", expected),))
    found.sort(key=lambda pair: (pair[0].began or 0.0, pair[0].name))
    requests, bodies = zip(*found, strict=True)
    return RecordedLoad(folder, requests, bodies, left_out)


def _accepted_body(request: RecordedRequest) -> bytes:
    """Return the body of a request that its server accepted. Raises as ``repeatable_body``."""
    rejected = 400 <= request.status < 500 and request.status not in _REPEATABLE_STATUSES
    if rejected and not request.cut:
        raise NotRepeatable("the server rejected the request")
    return repeatable_body(request)


def _mistakes_error(folder: Path, found: Sequence[tuple[str, str, str]]) -> ConfigError:
    told = [Mistake(str(folder), *one) for one in found[:TOLD]]
    if len(found) > TOLD:
        told.append(Mistake(str(folder), "", f"{len(found) - TOLD} more recordings like these", found[0][2]))
    return ConfigError(tuple(told))
