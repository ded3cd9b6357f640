"""A reader of recorded exchanges on disk: a folder for each API, with a few files for each recording.

``NAME.request.json`` is a request's body, ``NAME.response.sse``, ``NAME.response.eventstream`` (Amazon's frames) or
``NAME.response.json`` (also for a stream in one JSON array) that of its response, and ``NAME.meta.json`` describes
both. ``gateway/features/recording/recorded.py`` writes them.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Final, TypeAlias
from urllib.parse import quote

import attrs
import msgspec

from configfile.users_files import read_file
from providers.apis import CODECS
from streams.event_stream import EVENT_STREAM
from streams.events import Api
from streams.framing import Framing
from streams.sse import SSE
from streams.surrogates import NOT_JSON

ERROR_FOLDER: Final = "error_responses"
"""The folder of all error responses, of every API."""

REQUEST, META = ".request.json", ".meta.json"
STREAM, FRAMES, WHOLE = ".response.sse", ".response.eventstream", ".response.json"
FRAMINGS: Final[Mapping[str, Framing]] = {STREAM: SSE, FRAMES: EVENT_STREAM}
PART_SUFFIX: Final = ".part"
"""The suffix of an incomplete file, which is renamed at the end."""
CUT_REQUEST: Final = ("the request was truncated", "the request was cut")
"""The first words of a note about a truncated request, now and in older recordings."""
PROVIDER_SIDE: Final = "-provider."
"""A part of the names of recordings on the provider's side."""
SUFFIXES: Final = (REQUEST, STREAM, FRAMES, WHOLE, META)


def recording_name(name: str) -> str:
    """Return the common part of a recording's file names."""
    return next((name.removesuffix(suffix) for suffix in (*SUFFIXES, PART_SUFFIX) if name.endswith(suffix)), name)


Headers: TypeAlias = tuple[tuple[str, str], ...]


class UnreadableRecording(ValueError):
    """The error for a missing or unusable recording, with its name and the reason."""


class NotRepeatable(Exception):
    """A valid recording that cannot be sent again. The text is the reason, the same for all such recordings."""


@attrs.frozen
class RecordedExchange:
    """A recording, possibly by another program. ``request`` and ``response`` may be missing.

    ``path`` and ``headers`` are those of the request. ``is_cut``: only a part of its body was recorded."""

    name: str
    api: Api
    request: bytes | None
    response: bytes | None
    status: int
    content_type: str
    model: str | None = None
    stream: bool = False
    path: str = ""
    headers: Headers = ()
    is_of_client: bool = True
    is_cut: bool = False


def read_recording(file: Path) -> RecordedExchange:
    """Read the recording that ``file`` belongs to; any of its files, or their common name. Raises
    ``UnreadableRecording``."""
    stem = file.parent / recording_name(file.name)
    parts = {suffix: _read_bytes(Path(f"{stem}{suffix}")) for suffix in SUFFIXES}
    if not any(parts.values()):
        names = ", ".join(f"{stem.name}{suffix}" for suffix in SUFFIXES[:-1]) + f" and {stem.name}{SUFFIXES[-1]}"
        advice = "give a file that `trigate serve --record` wrote"
        raise UnreadableRecording(f"{file}: no recording found: {names} do not exist: {advice}")
    meta = _read_meta(Path(f"{stem}{META}"), parts[META] or b"{}")
    suffix = next((suffix for suffix in FRAMINGS if parts[suffix] is not None), WHOLE)
    whole = suffix == WHOLE
    api = _find_api(meta.api or stem.parent.name, file)
    return RecordedExchange(
        name=stem.name,
        api=api,
        request=parts[REQUEST],
        response=parts[suffix],
        status=meta.status or 200,
        content_type=meta.content_type or ("application/json" if whole else FRAMINGS[suffix].media_type),
        model=meta.model,
        stream=bool(meta.stream) or not whole or _is_stream_path(api, meta.path or ""),
        path=meta.path or "",
        headers=tuple((meta.request_headers or {}).items()),
        is_of_client="side:provider" not in meta.features,
        is_cut=any(note.startswith(CUT_REQUEST) for note in meta.notes),
    )


def client_meta_files(folder: Path) -> Iterator[Path]:
    """Yield the meta files in a folder of recordings, without those on the provider's side by their names."""
    for name in (*api_folders(), ERROR_FOLDER):
        if (folder / name).is_dir():
            yield from (file for file in sorted((folder / name).glob(f"*{META}")) if PROVIDER_SIDE not in file.name)


def repeatable_body(recorded: RecordedExchange) -> bytes:
    """Return the body of a request. Raises ``NotRepeatable`` if it cannot be repeated."""
    if recorded.is_cut:
        raise NotRepeatable("the recording is truncated")
    if (body := recorded.request) is None:
        raise NotRepeatable("without a body")
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        raise NotRepeatable("the body is not a JSON object") from None
    if any(bytes(members.get(name, b"null")) != b"null" for name in _SERVER_STATE_MEMBERS):
        raise NotRepeatable("it continues from a response that only the recorded server has")
    return body


_SERVER_STATE_MEMBERS: Final = ("previous_response_id", "previous_interaction_id", "conversation")

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class _Meta(msgspec.Struct):
    """The used members of a meta file."""

    api: str | None = None
    path: str | None = None
    model: str | None = None
    stream: bool | None = None
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    content_type: str | None = None
    request_headers: dict[str, str] | None = None
    features: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _read_meta(file: Path, data: bytes) -> _Meta:
    """Read a meta file. Raises ``UnreadableRecording`` for a damaged one, or one with impossible headers."""
    try:
        meta = msgspec.json.decode(data, type=_Meta)
    except RecursionError:
        raise UnreadableRecording(f"{file}: the recording is damaged: nested too deeply") from None
    except NOT_JSON as error:
        raise UnreadableRecording(f"{file}: the recording is damaged: {error}") from None
    headers = {"content-type": meta.content_type or ""}, meta.request_headers or {}
    for name, value in chain.from_iterable(one.items() for one in headers):
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise UnreadableRecording(f"{file}: the recording is damaged: {name[:100]!a} is no header with this value")
    return meta


def _read_bytes(file: Path) -> bytes | None:
    try:
        return read_file(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableRecording(f"{file}: {error.strerror}") from None


def _find_api(name: str, file: Path) -> Api:
    for api, codec in CODECS.items():
        if name == codec.wire.label:
            return api
    raise UnreadableRecording(f"{file}: {name!r} is not an API that can be replayed: {', '.join(api_folders())}")


def _is_stream_path(api: Api, path: str) -> bool:
    """Return whether the path requests a stream."""
    ending = CODECS[api].wire.operations["answer"].streamed
    return ending is not None and path.endswith(ending.partition("?")[0])


def api_folders() -> list[str]:
    """Return the folders of recordings, one for each API."""
    return [codec.wire.label for codec in CODECS.values()]


def stream_framing(api: Api, content_type: str | None, body: bytes) -> Framing | None:
    """Return the framing of a streamed response, also of a platform's or in one array; ``None`` without a stream."""
    wire = CODECS[api].wire
    if found := next((one for one in (wire.framing, *FRAMINGS.values()) if one.matches_type(content_type)), None):
        return found
    array = None if wire.unless_asked is None else wire.unless_asked[1]
    return array if array and array.matches_type(content_type) and body.lstrip().startswith(b"[") else None


def answer_path(api: Api, model: str | None = None, stream: bool = False) -> str:
    """Return the path for answers of ``model`` in ``api``, with the query of a stream if necessary."""
    wire = CODECS[api].wire
    path = wire.root + wire.path + wire.suffix("answer", stream)
    return path if model is None else path.replace("{model}", quote(model, safe=":"))
