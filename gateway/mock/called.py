"""Requests to endpoints of the stand-in other than conversations."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from providers.endpoints.multipart import MultipartData, MultipartHead, MultipartParser, parse_boundary
from streams.errors import invalid
from streams.surrogates import NOT_JSON

_TYPE: Final = re.compile(rb"(?im)^content-type:[ \t]*([^\r\n]*[^\r\n \t])")


@attrs.frozen
class UploadedFile:
    """An uploaded file in a form. ``type`` is its media type."""

    name: str
    content: bytes
    type: str = "application/octet-stream"


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
    is_from_anthropic_client: bool = False
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

    def objects(self, member: str) -> list[Mapping[str, Any]]:
        """Return the JSON objects in ``member``. Raises ``GatewayError`` (400)."""
        value = self.members.get(member, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise invalid(f"{member} must be a list of JSON objects", member)
        return value

    def number(self, member: str, default: int, most: int) -> int:
        try:
            return max(1, min(most, int(self.members.get(member) or default)))
        except (TypeError, ValueError):
            raise invalid(f"{member} must be a whole number", member) from None


def _input_text(value: Any) -> str:
    """Return an input of any shape as text: ``{"text"}``, parts of Gemini and Cohere, token ids."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        inner = next(
            (value[name] for name in ("text", "content", "parts", "image", "inline_data") if name in value), ""
        )
        return _input_text(inner)
    return " ".join(map(_input_text, value)) if isinstance(value, list) else str(value)


def read_call(body: bytes, content_type: str, path_parameters: Mapping[str, str], path: str) -> EndpointCall:
    """Parse the JSON or form in ``body``. Raises ``GatewayError`` (400)."""
    if content_type.startswith("multipart/"):
        members, files = _read_form(body, content_type)
        return EndpointCall(members, files, path_parameters, path)
    if not body:
        return EndpointCall({}, path_parameters=path_parameters, path=path)
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        raise invalid("the request body is not valid JSON") from None
    if not isinstance(value, dict):
        raise invalid("the request body must be a JSON object")
    return EndpointCall(value, {}, path_parameters, path)


def _read_form(body: bytes, content_type: str) -> tuple[dict[str, Any], dict[str, list[UploadedFile]]]:
    parser = MultipartParser(parse_boundary(content_type))
    parts: list[tuple[MultipartHead, list[bytes]]] = []
    for event in parser.feed(body):
        if isinstance(event, MultipartHead):
            parts.append((event, []))
        elif isinstance(event, MultipartData):
            parts[-1][1].append(event.raw)
    parser.close()
    members: dict[str, Any] = {}
    files: dict[str, list[UploadedFile]] = {}
    for head, pieces in parts:
        content = b"".join(pieces)
        type = _TYPE.search(head.raw)
        if head.file_name is not None or type is not None:  # Anthropic's SDK sends bytes without a name
            named = "application/octet-stream" if type is None else type[1].decode("latin-1")
            files.setdefault(head.name, []).append(UploadedFile(head.file_name or "upload", content, named))
        else:
            members[head.name] = content.decode(errors="replace")
    return members, files
