"""The requests of ``trigate compare``: those of recordings, those of a log in JSON Lines, or built-in samples."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import msgspec

from configfile.users_files import read_file
from gateway.commands.probing import PROBES, Probe, probe_request, written_request
from gateway.commands.server_requests import ServerRequest
from providers.apis import CODECS, answer_endings, api_of_path
from providers.neutral.request import Request, Tool
from providers.neutral.values import as_object, as_string
from providers.recordings import (
    NotRepeatable,
    RecordedExchange,
    UnreadableRecording,
    answer_path,
    client_meta_files,
    read_recording,
    repeatable_body,
)
from providers.request_api import possible_apis
from streams.events import Api
from streams.surrogates import NOT_JSON, decode_or

LIST_OF_MODELS: Final = ServerRequest("list of models", "/v1/models", method="GET")
UNKNOWN_MODEL: Final = "trigate-compare-no-such-model"
WRONG_KEY: Final = "sk-trigate-compare-wrong-key"

_LOGS: Final = (".jsonl", ".ndjson", ".log")
"""The endings of files with a request in each line; other files belong to recordings."""

_PASSED_HEADERS: Final = ("anthropic-beta", "anthropic-version", "openai-beta")
"""The recorded headers that change an answer. No other header is sent, because it may be a credential."""


def read_sources(paths: Sequence[Path]) -> tuple[Sequence[ServerRequest], Mapping[str, int]]:
    """Return the requests in ``paths``, and the number of skipped ones by reason.

    Paths are directories of recordings, single recordings, and logs in JSON Lines. Raises ``UnreadableRecording``."""
    found: list[ServerRequest] = []
    skipped: Counter[str] = Counter()
    for path in paths:
        for one in _read_source(path):
            if isinstance(one, ServerRequest):
                found.append(one)
            else:
                skipped[one] += 1
    if not found:
        reasons = "".join(f"; {count} skipped: {why}" for why, count in skipped.items())
        expected = "give a directory written by trigate serve --record DIR, or a log with requests in JSON Lines"
        raise UnreadableRecording(f"{', '.join(map(str, paths))}: no requests found{reasons}; {expected}")
    return found, skipped


def _read_source(path: Path) -> Iterator[ServerRequest | str]:
    """Yield each request, or the reason why it is skipped. Raises ``UnreadableRecording``."""
    recordings = map(read_recording, client_meta_files(path) if path.is_dir() else (path,))
    for recorded in _read_log(path) if path.suffix in _LOGS and path.is_file() else recordings:
        if recorded.is_of_client:
            try:
                yield _from_recording(recorded, repeatable_body(recorded))
            except NotRepeatable as error:
                yield str(error)


def _read_log(file: Path) -> Iterator[RecordedExchange]:
    """Yield the requests in a log, without a body for lines that have none. Raises ``UnreadableRecording``."""
    try:
        lines = read_file(file).splitlines()
    except OSError as error:
        raise UnreadableRecording(f"{file}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _from_line(f"{file.name}:{number}", msgspec.json.decode(line))
            except NOT_JSON:
                raise UnreadableRecording(f"{file}, line {number}: not JSON; expected JSON Lines") from None


def _from_line(name: str, value: Any) -> RecordedExchange:
    """Return a line's request: ``body`` with ``path`` or ``url``, LiteLLM's ``proxy_server_request``, or a body."""
    line = as_object(value)
    line = _decode_object(line.get("proxy_server_request")) or line
    url, body = as_string(line.get("path") or line.get("url")), _decode_object(line.get("body"))
    path = decode_or(lambda text: urlsplit(text)._replace(scheme="", netloc="").geturl(), url, "")
    if not body:
        body, path = line, ""
    api = (api_of_path(path) or "chat") if path else next(iter(possible_apis(body)), None)
    has_body = path or (api is not None and "model" in body)
    stream = ":streamGenerateContent" in path or path.endswith("-stream") or body.get("stream") is True
    written, model = msgspec.json.encode(body) if has_body else None, as_string(body.get("model"))
    return RecordedExchange(name, api or "chat", written, None, 200, "", model, stream, path)


def _decode_object(value: Any) -> Mapping[str, Any]:
    """Return an object that may be JSON in a string, as in an export of a table; ``{}`` for anything else."""
    return as_object(decode_or(msgspec.json.decode, value, None) if isinstance(value, str) else value)


def _from_recording(request: RecordedExchange, body: bytes) -> ServerRequest:
    path = request.path or answer_path(request.api, request.model, request.stream)
    ours = CODECS[request.api].wire
    known = any(ending in path for ending in answer_endings(request.api))
    headers = tuple((name.lower(), value) for name, value in request.headers if name.lower() in _PASSED_HEADERS)
    stream = request.stream if ours.stream_member is None else _flag(body, ours.stream_member)
    return ServerRequest(request.name, path, body, request.api if known else None, stream, headers=headers)


def _flag(body: bytes, member: str) -> bool:
    return msgspec.json.decode(body).get(member) is True


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
