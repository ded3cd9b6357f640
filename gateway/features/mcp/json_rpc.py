"""Errors of JSON-RPC 2.0 (https://www.jsonrpc.org/specification, section 5.1), which clients of MCP servers get."""

from collections.abc import Mapping
from typing import Final

import attrs
import msgspec

from streams.events import ErrorInfo

NO_ID: Final = b"null"
"""The id in an error about a message whose id is unknown."""

PARSE_ERROR: Final = "parse_error"
HEADER_MISMATCH: Final = "header_mismatch"

_CODES: Final[Mapping[str, int]] = {PARSE_ERROR: -32700, HEADER_MISMATCH: -32020}
"""By the code of an error. MCP assigns -32020 (revision 2026-07-28, "Streamable HTTP")."""

_CODES_BY_KIND: Final[Mapping[str, int]] = {"invalid_request": -32600, "internal": -32603}
_OTHER: Final = -32000
"""The code of errors that a server defines."""


def error_body(error: ErrorInfo, id: bytes = NO_ID) -> bytes:
    """Return the JSON-RPC error about the message whose id, as JSON, is ``id``."""
    code = _CODES.get(error.code or "", _CODES_BY_KIND.get(error.kind, _OTHER))
    body = {"jsonrpc": "2.0", "id": msgspec.Raw(id), "error": {"code": code, "message": error.message}}
    return msgspec.json.encode(body)


def with_body(error: ErrorInfo, id: bytes = NO_ID) -> ErrorInfo:
    """Return ``error`` with its JSON-RPC form as its body."""
    return attrs.evolve(error, body=error_body(error, id))
