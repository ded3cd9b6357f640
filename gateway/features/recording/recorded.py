"""Writes recorded exchanges to disk: a folder for each API with a few files for each recording.

``NAME.request.json`` is the body of a request. ``NAME.response.sse``, ``NAME.response.eventstream`` (Amazon's frames)
or ``NAME.response.json`` (also a stream that is one JSON array) is the body of its response. ``NAME.meta.json``
describes them, and ``INDEX.tsv`` has a line for each. An exchange has up to two recordings: between client and gateway,
and between gateway and provider."""

import contextlib
import fcntl
import os
import re
import secrets as random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

import attrs
import msgspec

from gateway import __version__
from gateway.http.headers import Headers
from gateway.http.redaction import LONGEST_ERROR, REDACTED, Secrets, redact, redact_answer, redact_spelled
from gateway.stores.planted_files import refuse_planted
from providers.apis import CODECS
from providers.framings import events_in, framing_of, text_of
from providers.neutral.invoked import INVOKED
from providers.recordings import (
    ERROR_FOLDER,
    FRAMINGS,
    META,
    PART_SUFFIX,
    REQUEST,
    SUFFIXES,
    WHOLE,
    api_folders,
    recording_name,
    stream_framing,
)
from streams.event_stream import EVENT_STREAM
from streams.events import Api
from streams.surrogates import NOT_JSON

TOTAL: Final = 2**30
"""Bytes of the recordings in a folder that this program wrote; beyond it the oldest are removed."""
ROOM: Final = TOTAL // 10
"""Bytes removed together."""
LOOK: Final = 64
"""Recordings between two checks of the folder, to which other processes write, too."""

INDEX: Final = "INDEX.tsv"
LONGEST: Final = 1000
"""Characters of a cell of the index: the name of a model in a request may have megabytes."""
COLUMNS: Final = (
    "name", "api", "stream", "status", "provider", "model", "provenance", "framing", "features", "source", "licence",
)  # fmt: skip
OURS: Final = "trigate."

LOCK: Final = ".lock"


@attrs.define
class Side:
    """The client's or the provider's side of a recorded exchange. ``notes`` describe the changes."""

    side: Literal["client", "provider"]
    api: Api
    path: str = ""
    request: bytes = b""
    response: bytes | bytearray = b""
    status: int | None = None
    content_type: str | None = None
    request_headers: Headers = ()
    response_headers: Headers = ()
    provider: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_streamed(self) -> bool:
        return stream_framing(self.api, self.content_type, bytes(self.response)) is not None

    @property
    def suffix(self) -> str:
        """The suffix of the response's file."""
        return next((end for end, framing in FRAMINGS.items() if framing.matches_type(self.content_type)), WHOLE)

    @property
    def folder(self) -> str:
        return ERROR_FOLDER if self.status is not None and self.status >= 400 else CODECS[self.api].wire.label


@attrs.frozen
class RecordedFiles:
    """The files of one side by their suffix, and its row of the index."""

    folder: str
    stem: str
    files: Mapping[str, bytes]
    row: bytes


def files_of_sides(sides: Sequence[Side], line: Mapping[str, Any], secrets: Secrets) -> Iterator[RecordedFiles]:
    """Yield the files of each side of an exchange with the log ``line``, without ``secrets``."""
    mark, stamp = random.token_hex(3), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    model = redact(str(line.get("model", "none")).encode(), secrets).decode()
    for side in sides:
        stem = f"{OURS}{stamp}-{_slug(model)}-{side.side}.{mark}"
        request, response = redact(side.request, secrets), redact_stream(bytes(side.response), secrets)
        changed = (request, response) != (side.request, side.response)
        meta = _meta(side, line, changed)
        described = redact_spelled(msgspec.json.format(msgspec.json.encode(meta), indent=1), secrets)
        files = {REQUEST: request, side.suffix: response, META: described}
        values = {**meta, "name": f"{side.folder}/{stem}", "features": " ".join(meta["features"])}
        row = redact(("\t".join(_cell(values[column]) for column in COLUMNS) + "\n").encode(), secrets)
        yield RecordedFiles(side.folder, stem, {suffix: data for suffix, data in files.items() if data}, row)


class Folder:
    """A folder of recordings that only this user can read. Several processes may write to it. All methods block, and
    raise ``OSError``."""

    writers: Final = 1

    def __init__(self, path: Path) -> None:
        self._path = path
        refuse_planted(path)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._size = 0
        self._until_look = 0

    def write(self, sides: Sequence[Side], line: Mapping[str, Any], secrets: Secrets) -> list[Path]:
        """Write an exchange with the log ``line``, without ``secrets``, and return the paths of its meta files."""
        with self._lock():
            written = [self._write(one) for one in files_of_sides(sides, line, secrets)]
            self._until_look -= 1
            if self._size > TOTAL or self._until_look <= 0:
                self._make_room()
        return written

    def _write(self, recorded: RecordedFiles) -> Path:
        folder, stem = self._path / recorded.folder, recorded.stem
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            for suffix, data in recorded.files.items():
                self._put(folder, stem, suffix, data)
            self._append(recorded.row)
        except OSError:
            _remove(folder, stem)
            raise
        return folder / (stem + META)

    def _put(self, folder: Path, stem: str, suffix: str, data: bytes) -> None:
        part = folder / (stem + PART_SUFFIX)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        part.rename(folder / (stem + suffix))
        self._size += len(data)

    def _append(self, row: bytes) -> None:
        fd = os.open(self._path / INDEX, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(fd, "ab", buffering=0) as file:
            end = file.tell()
            left = memoryview(row if end else ("\t".join(COLUMNS) + "\n").encode() + row)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(end)
                raise

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with open(os.open(self._path / LOCK, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self) -> None:
        """Remove the oldest recordings of this program if there are too many. Names sort by time."""
        sizes: dict[tuple[str, str], int] = {}
        for name in (*api_folders(), ERROR_FOLDER):
            for file in os.scandir(self._path / name) if (self._path / name).is_dir() else ():
                if file.name.startswith(OURS):
                    key = recording_name(file.name), name
                    sizes[key] = sizes.get(key, 0) + file.stat().st_size
        self._size, self._until_look = sum(sizes.values()), LOOK
        if self._size <= TOTAL:
            return
        left = sorted(sizes, reverse=True)
        while left and self._size > TOTAL - ROOM:
            stem, name = oldest = left.pop()
            self._size -= sizes[oldest]
            _remove(self._path / name, stem)
        self._keep_rows({f"{name}/{stem}" for stem, name in left})

    def _keep_rows(self, names: set[str]) -> None:
        index = self._path / INDEX
        head, *rows = index.read_bytes().splitlines(keepends=True)
        named = ((row, row.partition(b"\t")[0].decode(errors="replace")) for row in rows)  # of any program
        kept = [row for row, name in named if name in names or f"/{OURS}" not in name]
        new = self._path / (INDEX + ".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines([head, *kept])
        new.replace(index)


_MASKED = f"credentials were replaced by {REDACTED.decode()}"


def _meta(side: Side, line: Mapping[str, Any], masked: bool) -> dict[str, Any]:
    model = line.get("model")
    features = [
        f"side:{side.side}", "stream" if side.is_streamed else "not_stream", f"ended:{line['ended']}",
        *(f"{name}:{line[name]}" for name in ("lane", "reason", "error") if name in line),
        *([f"provider:{side.provider}"] if side.provider else []),
        *([f"status:{side.status}"] if side.status is not None and side.status >= 400 else []),
    ]  # fmt: skip
    return {
        "source": f"trigate {__version__}", "commit": None, "licence": "none", "interaction": 0,
        "api": CODECS[side.api].wire.label, "provider": side.provider, "path": side.path, "status": side.status,
        "content_type": side.content_type, "stream": side.is_streamed,
        "model": _model(side.request) or _model_in(side.path, side.api) or model, "response_model": None,
        "provenance": "recorded", "framing": "recorded", "bytes_exact": not (masked or side.notes),
        "has_request": bool(side.request), "request_headers": dict(side.request_headers),
        "response_headers": dict(side.response_headers),
        "notes": [*side.notes, *([_MASKED] if masked else [])],
        "features": features, "exchange": dict(line),
    }  # fmt: skip


def _model(request: bytes) -> str | None:
    try:
        model = msgspec.json.decode(request, type=dict[str, msgspec.Raw]).get("model")
        return None if model is None else msgspec.json.decode(model, type=str)
    except NOT_JSON:
        return None


def _model_in(path: str, api: Api) -> str | None:
    """Return the model in a path, for an API whose requests have it there."""
    before, marked, _ = CODECS[api].wire.path.partition("{model}")
    ends = "|".join(re.escape(route.path.rpartition("{model}")[2]) for route in CODECS[api].wire.routes())
    found = re.search(f"{re.escape(before)}(.+)(?:{ends})$", path) if marked else None
    return None if found is None else unquote(found[1])


def _cell(value: Any) -> str:
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"[\x00-\x1f]+", " ", text[:LONGEST])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "none"


def _remove(folder: Path, stem: str) -> None:
    for suffix in (*SUFFIXES, PART_SUFFIX):
        Path(folder, stem + suffix).unlink(missing_ok=True)


def redact_stream(data: bytes, secrets: Secrets) -> bytes:
    """Return ``data`` without credentials, also as errors spell them. Frames stay valid, with new checksums."""
    if framing_of(data) is EVENT_STREAM:
        return redact(b"".join(_redact_raw(raw, secrets) for raw in events_in(data)), secrets)
    if len(data) > LONGEST_ERROR:
        data = b"".join(redact_answer(raw, secrets) for raw in events_in(data))
    return redact_answer(data, secrets)


def _redact_raw(raw: bytes, secrets: Secrets) -> bytes:
    said = text_of(raw)
    if redact_answer(said, secrets) == said:
        return raw
    plain = EVENT_STREAM.change_payload(raw, lambda payload: redact_spelled(payload, secrets))
    if plain != raw and redact_answer(text_of(plain), secrets) == text_of(plain):
        return plain
    return INVOKED.change_payload(raw, lambda event: redact_spelled(event, secrets))
