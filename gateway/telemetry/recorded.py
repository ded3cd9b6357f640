"""Recorded exchanges on disk: a folder for each API, and in it a few files for each recording.

``NAME.request.json`` is a request's body, ``NAME.response.sse``, ``NAME.response.eventstream`` (Amazon's frames) or
``NAME.response.json`` (also a stream that is one JSON array) its answer's, and ``NAME.meta.json`` says what they are;
``INDEX.tsv`` has a line for each. One exchange leaves up to two recordings: what passed between the client and the
gateway, and what passed between the gateway and the provider.
"""

import contextlib
import fcntl
import os
import re
import secrets as random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, unquote

import attrs
import msgspec

from gateway import __version__
from gateway.config.redaction import REDACTED, Secrets, redact
from gateway.http.headers import Headers
from gateway.telemetry.stream_text import redact_stream
from providers.apis import CODECS
from streams.event_stream import EVENT_STREAM
from streams.events import Api
from streams.framing import Framing
from streams.sse import SSE
from streams.surrogates import NOT_JSON

TOTAL: Final = 2**30
"""Bytes of all recordings of ours in a folder; beyond it the oldest are removed."""
ROOM: Final = TOTAL // 10
"""As much is removed at once."""
LOOK: Final = 64
"""Recordings between two looks at what is there: other processes write there, too."""

ERRORS: Final = "error_responses"
INDEX: Final = "INDEX.tsv"
LONGEST: Final = 1000
"""Characters of a cell of the index: a client may ask for a model by a name of megabytes."""
COLUMNS: Final = (
    "name", "api", "stream", "status", "provider", "model", "provenance", "framing", "features", "source", "licence",
)  # fmt: skip
OURS: Final = "trigate."

REQUEST, META, LOCK = ".request.json", ".meta.json", ".lock"
STREAM, FRAMES, WHOLE = ".response.sse", ".response.eventstream", ".response.json"
_FRAMINGS: Final[Mapping[str, Framing]] = {STREAM: SSE, FRAMES: EVENT_STREAM}
PART: Final = ".part"
"""A file that is being written; whole, it gets its own name."""
_SUFFIXES = (REQUEST, STREAM, FRAMES, WHOLE, META)


@attrs.frozen
class Side:
    """The client's or the provider's side of a recorded exchange. ``notes`` say what is not as it was."""

    side: Literal["client", "provider"]
    api: Api
    path: str
    request: bytes
    response: bytes
    status: int | None
    content_type: str | None
    request_headers: Headers
    response_headers: Headers
    provider: str | None
    notes: tuple[str, ...] = ()

    @property
    def streamed(self) -> bool:
        return stream_framing(self.api, self.content_type, self.response) is not None

    @property
    def suffix(self) -> str:
        """That of the answer's file."""
        return next((end for end, framing in _FRAMINGS.items() if framing.announced_by(self.content_type)), WHOLE)

    @property
    def folder(self) -> str:
        return ERRORS if self.status is not None and self.status >= 400 else CODECS[self.api].wire.label


class Folder:
    """A folder of recordings, of which only this user can read any. Several processes may write to it. All methods
    block, and raise ``OSError``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._size = 0
        self._until_look = 0

    def write(self, sides: Sequence[Side], line: Mapping[str, Any], secrets: Secrets) -> list[Path]:
        """Write an exchange down, without ``secrets``: the meta files' paths. ``line`` is its line of the log."""
        mark, stamp = random.token_hex(3), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        with self._locked():
            written = [self._write(side, line, secrets, stamp, mark) for side in sides]
            self._until_look -= 1
            if self._size > TOTAL or self._until_look <= 0:
                self._make_room()
        return written

    def _write(self, side: Side, line: Mapping[str, Any], secrets: Secrets, stamp: str, mark: str) -> Path:
        folder = self._path / side.folder
        folder.mkdir(mode=0o700, exist_ok=True)
        model = redact(str(line.get("model", "none")).encode(), secrets).decode()
        stem = f"{OURS}{stamp}-{_slug(model)}-{side.side}.{mark}"
        request, response = redact(side.request, secrets), redact_stream(side.response, secrets)
        changed = (request, response) != (side.request, side.response)
        meta = _meta(side, line, changed)
        files = {
            REQUEST: request,
            side.suffix: response,
            META: redact(msgspec.json.format(msgspec.json.encode(meta), indent=1), secrets),
        }
        try:
            for suffix, data in files.items():
                if data:
                    self._put(folder, stem, suffix, data)
            self._append(redact(_row(f"{side.folder}/{stem}", meta).encode(), secrets))
        except OSError:
            _remove(folder, stem)
            raise
        return folder / (stem + META)

    def _put(self, folder: Path, stem: str, suffix: str, data: bytes) -> None:
        part = folder / (stem + PART)
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
    def _locked(self) -> Iterator[None]:
        with open(os.open(self._path / LOCK, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self) -> None:
        """Look what there is of ours, and remove the oldest if it is too much. Names sort by time."""
        sizes: dict[tuple[str, str], int] = {}
        for name in (*_folders(), ERRORS):
            for file in os.scandir(self._path / name) if (self._path / name).is_dir() else ():
                if file.name.startswith(OURS):
                    key = _stem(file.name), name
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
        named = ((row, row.partition(b"\t")[0].decode(errors="replace")) for row in rows)  # others' may be anything
        kept = [row for row, name in named if name in names or f"/{OURS}" not in name]
        new = self._path / (INDEX + ".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.writelines([head, *kept])
        new.replace(index)


_MASKED = f"credentials were replaced by {REDACTED.decode()}"


def _meta(side: Side, line: Mapping[str, Any], masked: bool) -> dict[str, Any]:
    model = line.get("model")
    features = [
        f"side:{side.side}", "stream" if side.streamed else "not_stream", f"ended:{line['ended']}",
        *(f"{name}:{line[name]}" for name in ("lane", "reason", "error") if name in line),
        *([f"provider:{side.provider}"] if side.provider else []),
        *([f"status:{side.status}"] if side.status is not None and side.status >= 400 else []),
    ]  # fmt: skip
    return {
        "source": f"trigate {__version__}", "commit": None, "licence": "none", "interaction": 0,
        "api": CODECS[side.api].wire.label, "provider": side.provider, "path": side.path, "status": side.status,
        "content_type": side.content_type, "stream": side.streamed,
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
    """The model in the path of an API whose requests say it there."""
    before, marked, _ = CODECS[api].wire.path.partition("{model}")
    ends = "|".join(re.escape(route.path.rpartition("{model}")[2]) for route in CODECS[api].wire.routes())
    found = re.search(f"{re.escape(before)}(.+)(?:{ends})$", path) if marked else None
    return None if found is None else unquote(found[1])


def _row(name: str, meta: Mapping[str, Any]) -> str:
    values = {**meta, "name": name, "features": " ".join(meta["features"])}
    return "\t".join(_cell(values[column]) for column in COLUMNS) + "\n"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return re.sub(r"[\x00-\x1f]+", " ", text[:LONGEST])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "none"


def _remove(folder: Path, stem: str) -> None:
    for suffix in (*_SUFFIXES, PART):
        Path(folder, stem + suffix).unlink(missing_ok=True)


def _stem(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in (*_SUFFIXES, PART) if name.endswith(suffix)), name)


# Reading


class Unreadable(ValueError):
    """There is no recording, or it is none that can be used. The message says which and why."""


@attrs.frozen
class Recorded:
    """A recording as it stands there, also one that others have made. ``request`` and ``response`` may be missing."""

    name: str
    api: Api
    request: bytes | None
    response: bytes | None
    status: int
    content_type: str
    headers: Headers
    model: str | None = None
    stream: bool = False


def read(file: Path) -> Recorded:
    """The recording that ``file`` belongs to: any of its files, or their common name. Raises ``Unreadable``."""
    stem = file.parent / _stem(file.name)
    parts = {suffix: _bytes(Path(f"{stem}{suffix}")) for suffix in _SUFFIXES}
    if not any(parts.values()):
        raise Unreadable(f"{file}: no recording: none of {stem.name}{{{','.join(_SUFFIXES)}}} is there")
    meta = _read_meta(Path(f"{stem}{META}"), parts[META] or b"{}")
    suffix = next((suffix for suffix in _FRAMINGS if parts[suffix] is not None), WHOLE)
    whole = suffix == WHOLE
    api = _api(meta.api or stem.parent.name, file)
    return Recorded(
        name=stem.name,
        api=api,
        request=parts[REQUEST],
        response=parts[suffix],
        status=meta.status or 200,
        content_type=meta.content_type or ("application/json" if whole else _FRAMINGS[suffix].media_type),
        headers=tuple((meta.response_headers or {}).items()),
        model=meta.model,
        stream=bool(meta.stream) or not whole or _asks_for_stream(api, meta.path or ""),
    )


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class _Meta(msgspec.Struct):
    """The members of a meta file that are read."""

    api: str | None = None
    path: str | None = None
    model: str | None = None
    stream: bool | None = None
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    content_type: str | None = None
    response_headers: dict[str, str] | None = None


def _read_meta(file: Path, data: bytes) -> _Meta:
    """Raises ``Unreadable`` for a file that is damaged, or holds what no answer can have."""
    try:
        meta = msgspec.json.decode(data, type=_Meta)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(f"{file}: the recording is damaged: {error}") from None
    except RecursionError:
        raise Unreadable(f"{file}: the recording is damaged: nested too deeply") from None
    for name, value in (("content-type", meta.content_type or ""), *(meta.response_headers or {}).items()):
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise Unreadable(f"{file}: the recording is damaged: {name[:100]!a} is no header with this value")
    return meta


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror}") from None


def _api(name: str, file: Path) -> Api:
    for api, codec in CODECS.items():
        if name == codec.wire.label:
            return api
    raise Unreadable(f"{file}: {name!r} is none of the APIs that can be replayed: {', '.join(_folders())}")


def _asks_for_stream(api: Api, path: str) -> bool:
    """Whether the path says it, whatever was answered."""
    ending = CODECS[api].wire.operations["answer"].streamed
    return ending is not None and path.endswith(ending.partition("?")[0])


def _folders() -> list[str]:
    """The folders of recordings, one for each API."""
    return [codec.wire.label for codec in CODECS.values()]


def stream_framing(api: Api, content_type: str | None, body: bytes) -> Framing | None:
    """The framing of an answer that is a stream, also one of a hosting or in one array; ``None`` if it is none."""
    wire = CODECS[api].wire
    if found := next((one for one in (wire.framing, *_FRAMINGS.values()) if one.announced_by(content_type)), None):
        return found
    array = None if wire.unless_asked is None else wire.unless_asked[1]
    return array if array and array.announced_by(content_type) and body.lstrip().startswith(b"[") else None


def asked_path(api: Api, model: str | None = None, stream: bool = False) -> str:
    """The path at which clients of ``api`` ask for an answer of ``model``, with the query that a stream needs."""
    wire = CODECS[api].wire
    path = wire.root + wire.path + wire.suffix("answer", stream)
    return path if model is None else path.replace("{model}", quote(model, safe=":"))
