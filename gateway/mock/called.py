"""Requests to endpoints of the stand-in other than conversations."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import attrs
import msgspec
from werkzeug.formparser import MultiPartParser

from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from providers.endpoints.multipart import parse_boundary
from streams.errors import invalid
from streams.surrogates import NOT_JSON


@attrs.frozen
class UploadedFile:
    """An uploaded file in a form."""

    name: str
    content: bytes


@attrs.frozen
class EndpointCall:
    """A parsed request to an endpoint.

    ``members`` are those of its JSON or form, ``files`` the form's files by field, ``query`` the parameters in its
    URL. ``origin`` is the server's address, such as ``http://127.0.0.1``."""

    members: Mapping[str, Any]
    files: Mapping[str, Sequence[UploadedFile]] = attrs.field(factory=dict)
    path_parameters: Mapping[str, str] = attrs.field(factory=dict)
    path: str = ""
    origin: str = "http://127.0.0.1"
    query: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def model(self) -> str:
        return str(self.path_parameters.get("model") or self.members.get("model") or "mock-small")

    @property
    def stream(self) -> bool:
        return self.members.get("stream") in (True, "true")

    def texts(self, member: str) -> list[str]:
        """Return the texts in ``member``, which is a text, a list or token ids."""
        value = self.members.get(member, "")
        if not isinstance(value, list) or (value and all(isinstance(one, int) for one in value)):
            value = [value]
        return [_input_text(one) for one in value]

    def number(self, member: str, default: int, most: int) -> int:
        try:
            return max(1, min(most, int(self.members.get(member) or default)))
        except (TypeError, ValueError):
            raise invalid(f"{member} must be a whole number", member) from None


def _input_text(value: Any) -> str:
    """Return an input of any shape as text: ``{"text"}``, parts, Gemini's requests, token ids."""
    if isinstance(value, dict):
        return _input_text(next((value[name] for name in ("text", "content", "parts") if name in value), ""))
    return " ".join(map(_input_text, value)) if isinstance(value, list) else str(value)


async def read_incoming(incoming: IncomingRequest, named: Mapping[str, str]) -> EndpointCall:
    """Read a request, with the ``named`` parts of its URL. Raises ``GatewayError`` (400)."""
    headers = dict(incoming.headers)
    return attrs.evolve(
        read_call(await incoming.read(ignore_arrived), headers.get("content-type", "")),
        path_parameters=named,
        path=incoming.asgi["path"],
        origin=f"{incoming.asgi['scheme']}://{headers['host']}",
        query=dict(parse_qsl(incoming.query, keep_blank_values=True)),
    )


def read_call(body: bytes, content_type: str = "") -> EndpointCall:
    """Parse the JSON or form in ``body``. Raises ``GatewayError`` (400)."""
    if content_type.startswith("multipart/"):
        parser = MultiPartParser(lambda *_, **__: BytesIO())
        try:
            form, uploads = parser.parse(BytesIO(body), parse_boundary(content_type), len(body))
        except ValueError:
            raise invalid("the request body is not a valid form") from None
        files = {name: [UploadedFile(one.filename or "", one.read()) for one in each] for name, each in uploads.lists()}
        return EndpointCall(form.to_dict(), files)
    try:
        value = msgspec.json.decode(body or b"{}")
    except NOT_JSON:
        raise invalid("the request body is not valid JSON") from None
    if not isinstance(value, dict):
        raise invalid("the request body must be a JSON object")
    return EndpointCall(value)
