"""The requests of ``trigate compare``: those of recordings, those of a log in JSON Lines, or built-in samples."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import msgspec

from gateway.commands.probing import PROBES, Probe, probe_request, written_request
from gateway.commands.server_requests import ServerRequest
from providers.apis import CODECS, answer_endings, api_of_path
from providers.neutral.request import Request, Tool
from providers.recordings import (
    META,
    NotRepeatable,
    RecordedRequest,
    UnreadableRecording,
    answer_path,
    check_repeatable,
    client_meta_files,
    read_client_request,
    recording_name,
    repeatable_body,
)
from providers.request_api import possible_apis
from streams.events import Api
from streams.surrogates import NOT_JSON, decode_or

LIST_OF_MODELS: Final = ServerRequest("list of models", "/v1/models", method="GET")
UNKNOWN_MODEL: Final = "trigate-compare-no-such-model"
WRONG_KEY: Final = "sk-trigate-compare-wrong-key"

LOG_ENDINGS: Final = (".json", ".jsonl", ".ndjson", ".log")
"""The endings of files with requests; other files belong to recordings."""

_PASSED_HEADERS: Final = ("anthropic-beta", "anthropic-version", "openai-beta")
"""The recorded headers that change an answer. No other header is sent, because it may be a credential."""


def read_sources(paths: Sequence[Path], api: Api | None = None) -> tuple[Sequence[ServerRequest], Mapping[str, int]]:
    """Return the requests in ``paths``, and the number of skipped ones by reason.

    Paths are directories of recordings, single recordings, and logs in JSON Lines. ``api`` is that of bodies in a log
    without a path. Raises ``UnreadableRecording``."""
    found: list[ServerRequest] = []
    skipped: Counter[str] = Counter()
    for path in paths:
        for one in _read_source(path, api):
            if isinstance(one, ServerRequest):
                found.append(one)
            else:
                skipped[one] += 1
    if not found:
        reasons = "".join(f"; {count} skipped: {why}" for why, count in skipped.items())
        expected = "give a directory written by trigate serve --record DIR, or a log with requests in JSON Lines"
        raise UnreadableRecording(f"{', '.join(map(str, paths))}: no requests found{reasons}; {expected}")
    return found, skipped


def _read_source(path: Path, api: Api | None) -> Iterator[ServerRequest | str]:
    """Yield each request, or the reason why it is skipped. Raises ``UnreadableRecording``."""
    if path.is_dir():
        for file in client_meta_files(path):
            yield from _read_recording(file)
    elif path.suffix in LOG_ENDINGS and recording_name(path.name) == path.name:
        yield from _read_log(path, api)
    else:
        meta = path.with_name(recording_name(path.name) + META)
        if not meta.exists():
            raise UnreadableRecording(f"{path}: no recording found; a log must end in {', '.join(LOG_ENDINGS)}")
        yield from _read_recording(meta)


# Recordings


def _read_recording(file: Path) -> Iterator[ServerRequest | str]:
    request = read_client_request(file)
    if request is None:
        return
    try:
        yield _from_recording(request, repeatable_body(request))
    except NotRepeatable as error:
        yield str(error)


def _from_recording(request: RecordedRequest, body: bytes) -> ServerRequest:
    path = request.path or answer_path(request.api, request.model, request.stream)
    ours = CODECS[request.api].wire
    known = any(ending in path for ending in answer_endings(request.api))
    headers = tuple((name.lower(), value) for name, value in request.headers if name.lower() in _PASSED_HEADERS)
    stream = request.stream if ours.stream_member is None else _flag(body, ours.stream_member)
    return ServerRequest(request.name, path, body, request.api if known else None, stream, headers=headers)


def _flag(body: bytes, member: str) -> bool:
    return msgspec.json.decode(body).get(member) is True


# Logs


def _read_log(file: Path, api: Api | None) -> Iterator[ServerRequest | str]:
    """Yield the requests in a log, in the formats of ``_from_line``. Raises ``UnreadableRecording``."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UnreadableRecording(f"{file}: {error.strerror}") from None
    for number, value in _values(file, data):
        try:
            yield _from_line(f"{file.name}:{number}", value, api)
        except NotRepeatable as error:
            yield str(error)


def _values(file: Path, data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number and value of each line, or of each item of a JSON list. Raises ``UnreadableRecording``."""
    try:
        whole = msgspec.json.decode(data)
    except NOT_JSON:
        pass
    else:
        yield from enumerate(whole if isinstance(whole, list) else [whole], 1)
        return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line)
            except NOT_JSON:
                raise UnreadableRecording(f"{file}, line {number}: not JSON; expected JSON Lines") from None


def _from_line(name: str, value: Any, api: Api | None) -> ServerRequest:
    """Return the request of a line: ``path`` or ``url`` with ``body``, LiteLLM's ``proxy_server_request``, or a body.

    Raises ``NotRepeatable``."""
    if not isinstance(value, dict):
        raise NotRepeatable("the line is not a JSON object")
    if (logged := value.get("proxy_server_request")) is not None:
        value = _decode_member(logged)
    body = _decode_member(next((value[name] for name in ("body", "request") if name in value), None))
    path = _path(value.get("path") or value.get("url"))
    if body is None:
        body, path = value, None
    if not isinstance(body, dict) or (path is None and "model" not in body):
        raise NotRepeatable("the line has no request body; trigate serve --record DIR records bodies")
    check_repeatable(body)
    method = value.get("method") if path and isinstance(value.get("method"), str) else "POST"
    if path is None:
        if (api := api or next(iter(possible_apis(body)), None)) is None:
            raise NotRepeatable("the API of the body is unknown: set it with --api")
        path = answer_path(api, body.get("model"), body.get("stream") is True)
    spoken = api_of_path(path)
    stream = ":streamGenerateContent" in path or path.endswith("-stream") or body.get("stream") is True
    return ServerRequest(name, path, msgspec.json.encode(body), spoken, stream, str(method).upper())


def _decode_member(value: Any) -> Any:
    """Return a member that may be JSON in a string, as in an export of a table."""
    if not isinstance(value, str):
        return value
    return decode_or(msgspec.json.decode, value, None)


def _path(url: Any) -> str | None:
    if not isinstance(url, str) or not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return (parts.path if parts.path.startswith("/") else f"/{parts.path}") + (f"?{parts.query}" if parts.query else "")


# Samples


def sample_requests(apis: Sequence[Api], models: Sequence[str]) -> Sequence[ServerRequest]:
    """Return built-in requests: in each API, ``PROBES`` and a tool's result for each model, and three errors."""
    found = [LIST_OF_MODELS]
    for api in apis:
        for model in models:
            found += [
                written_request(f"{api} {name} ({model})", api, model, probe_request(probe, api, model))
                for name, probe in PROBES.items()
            ]
            found.append(written_request(f"{api} tool result ({model})", api, model, _second_turn(api, model)))
        found += _errors(api, models[0])
    return found


_PLACE: Final = Tool("get_place", "The place where the user is", {"type": "object", "properties": {}})


def _second_turn(api: Api, model: str) -> Request:
    """Return the request with the result of a tool, which a program sends after the tool call.

    The call has no arguments: APIs write them with different spaces, which a stand-in might repeat."""
    call = {"id": "call_1", "type": "function", "function": {"name": _PLACE.name, "arguments": "{}"}}
    said = [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "Where am I?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Oslo, in Norway"},
    ]
    asked = CODECS["chat"].read_request({"model": model, "messages": said})
    plain = probe_request(Probe("", lambda _: "", stream=True), api, model)
    return attrs.evolve(plain, messages=asked.messages, tools=(_PLACE,))


def _errors(api: Api, model: str) -> Iterator[ServerRequest]:
    good = written_request("", api, model, probe_request(PROBES["chat"], api, model))
    unknown = written_request(
        f"{api} unknown model", api, UNKNOWN_MODEL, probe_request(PROBES["chat"], api, UNKNOWN_MODEL)
    )
    yield unknown
    yield attrs.evolve(good, name=f"{api} body that is not JSON", body=b'{"model": ')
    yield attrs.evolve(good, name=f"{api} wrong key", key=WRONG_KEY)
