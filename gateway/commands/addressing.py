"""The requests of ``trigate doctor``, ``compare`` and ``replay``, with their addresses and credentials."""

from typing import Final
from urllib.parse import urlsplit

import attrs
import msgspec

from providers.apis import CODECS
from providers.catalog.providers import STANDARD_AUTH
from providers.recordings import UnreadableRecording, answer_path
from streams.events import Api
from streams.surrogates import NOT_JSON

HERE: Final = "http://127.0.0.1:12000"
KEY: Final = "TRIGATE_API_KEY"
"""The environment variable with the default key."""


@attrs.frozen
class ServerRequest:
    """A request to a server. ``api`` is ``None`` for other endpoints than answers.

    ``key`` replaces the user's key for the server, to test a wrong one."""

    name: str
    path: str
    body: bytes = attrs.field(default=b"", repr=False)
    api: Api | None = None
    stream: bool = False
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    key: str | None = attrs.field(default=None, repr=False)

    def headers_for(self, key: str | None) -> dict[str, str]:
        """Return the headers for a server, with the user's ``key`` for it."""
        credential = credential_headers(self.api or "chat", key if self.key is None else self.key)
        fields = {"user-agent": "trigate", **credential, **dict(self.headers)}
        if self.method != "GET":
            fields["content-type"] = "application/json"
        return fields


def check_url(url: str, option: str) -> None:
    """Check that ``url``, given with ``option``, is the URL of a server. Raises ``UnreadableRecording``."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # an invalid host or port
        good = False
    if not good:
        raise UnreadableRecording(f"{option} {url}: expected a URL, such as {HERE}")


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


def credential_headers(api: Api, key: str | None) -> dict[str, str]:
    """Return the headers with the version that ``api`` requires and with ``key``, where its clients send a key."""
    version = {"anthropic-version": "2023-06-01"} if api == "messages" else {}
    if not key:
        return version
    name, value = STANDARD_AUTH[api].header(key)
    return {**version, name: value}
