"""``trigate replay``: sends a failed or recorded request again."""

import os
import sys
from codecs import getincrementaldecoder
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import trio

from gateway.commands.client import KEY_VARIABLE
from gateway.commands.compared_answers import read_answer
from gateway.commands.fetching import FetchError, client_of, response_to
from gateway.commands.request_story import kept_story, key_for
from gateway.commands.server_requests import HERE, ServerResponse, check_url, credential_headers
from gateway.commands.terminal import say
from gateway.logs.masking import escape, escape_text
from providers.apis import CODECS
from providers.recordings import UnreadableRecording, answer_path, read_recording
from streams.errors import GatewayError
from streams.events import Api
from streams.surrogates import NOT_JSON

TIMEOUT: Final = 600.0
"""The longest silence of the server, in seconds."""

_SHOWN = (
    "content-type",
    "x-request-id",
    "x-trigate-target",
    "x-trigate-lane",
    "x-trigate-dropped",
    "x-trigate-adapted",
    "retry-after",
)


def run(file: Path, url: str | None, model: str | None, key_env: str | None) -> int:
    """Send the request of a recording, or the kept request with this id, and return the exit status."""
    try:
        if not file.exists() and len(file.parts) == 1 and not file.suffix:
            return _run_kept(str(file), url, model, key_env)
        recorded = read_recording(file)
        if recorded.request is None:
            raise UnreadableRecording(f"{recorded.name}: the recording has no request")
        body = _body_for(recorded.api, recorded.request, model)
        key = _key_in(key_env)
        address = address_of(url or HERE, recorded.api, model or recorded.model, recorded.stream)
        if not CODECS[recorded.api].wire.framing.matches_type(recorded.content_type):
            address = address.partition("?")[0]  # its request had no ?alt=sse
        return trio.run(_send, address, recorded.api, body, key)
    except UnreadableRecording as error:
        say(str(error))
    except (FetchError, trio.TooSlowError) as error:
        reason = str(error) or f"no response for {TIMEOUT:g} s"
        say(f"cannot send to {url or HERE}: {reason}; check the URL, and that the server runs")
    return 2


def _run_kept(request_id: str, url: str | None, model: str | None, key_env: str | None) -> int:
    _key_in(key_env)
    variable = key_env or KEY_VARIABLE
    story = kept_story(request_id, url, variable)
    if story is None or story.failure is None:
        return 2
    kept = story.failure
    body = _body_for(story.api, kept["request"].encode(), model)
    address = address_of(story.url, story.api, model or kept["model"], kept["stream"])
    return trio.run(_send, address, story.api, body, key_for(story.url, variable), kept["headers"])


def _body_for(api: Api, body: bytes, model: str | None) -> bytes:
    """Return ``body`` with another ``model`` if it has a model. Raises ``UnreadableRecording``."""
    return body if model is None or CODECS[api].wire.model_member is None else with_model(body, model)


def with_model(request: bytes, model: str) -> bytes:
    """Return the request with another model. Raises ``UnreadableRecording``."""
    try:
        members = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
    except NOT_JSON:
        raise UnreadableRecording(
            "--model: cannot set the model, because the recorded request is not a JSON object"
        ) from None
    members["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(members)


def address_of(url: str, api: Api, model: str | None = None, stream: bool = False) -> str:
    """Return ``url`` with the path of ``api``; ``url`` may have a part of that path. Raises ``UnreadableRecording``."""
    check_url(url, "--to")
    base, path, root = url.rstrip("/"), answer_path(api, model, stream), CODECS[api].wire.root
    if base.endswith(path.removeprefix(root)):
        return base
    return base.removesuffix(root) + path


def _key_in(variable: str | None) -> str | None:
    """Return the key in a variable, by default the usual one. Raises ``UnreadableRecording`` if another is unset."""
    key = os.environ.get(variable or KEY_VARIABLE)
    if variable is not None and not key:
        raise UnreadableRecording(f"--key-env: the environment variable {variable} is not set")
    return key


async def _send(url: str, api: Api, body: bytes, key: str | None, more: Mapping[str, str] | None = None) -> int:
    """Send ``body`` with ``more`` headers, print the response as it arrives, and return the exit status.

    On a terminal it has no control characters.

    Raises ``FetchError`` and ``trio.TooSlowError``."""
    headers = {"content-type": "application/json", **credential_headers(api, key), **(more or {})}
    with trio.fail_after(TIMEOUT) as limit:
        async with client_of(url) as client, response_to(client, "POST", url, headers, body) as response:
            say(f"{response.status_code} {url}")
            for name in _SHOWN:
                if (value := response.headers.get(name)) is not None:
                    say(f"{name}: {escape(value)}")
            decoder = getincrementaldecoder("utf-8")("replace") if sys.stdout.isatty() else None
            pieces = []
            async for piece in response.aiter_bytes():
                limit.deadline = trio.current_time() + TIMEOUT
                pieces.append(piece)
                shown = piece if decoder is None else escape_text(decoder.decode(piece)).encode()
                sys.stdout.buffer.write(shown)
                sys.stdout.buffer.flush()
            received = ServerResponse(response.status_code, tuple(response.headers.items()), b"".join(pieces))
    try:
        read_answer(api, received)
    except (GatewayError, ValueError):  # such as a stream that ends in an error
        return 1
    return 0 if received.is_success else 1
