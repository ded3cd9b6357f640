"""The texts of batch files, line by line, and error lines in place of refused results."""

from typing import Any

import attrs
import msgspec

from gateway.features.steps.request_texts import MOST_TEXTS, RequestTexts
from gateway.features.steps.shapes import ECHO
from gateway.features.steps.tables import table_for
from streams.errors import GatewayError
from streams.surrogates import any_json, decode_or


def line_texts(line: bytes) -> RequestTexts:
    """Return the texts of one request in a batch file. Raises ``NotJson``."""
    return RequestTexts.of("batch_line", line, most=MOST_TEXTS)


def result_texts(line: bytes) -> RequestTexts:
    """Return the texts of one result. Raises ``NotJson``."""
    return RequestTexts.of("batch_result", line)


def member_texts(endpoint: str, body: bytes) -> RequestTexts:
    """Return the texts of a new batch besides those of its requests. Raises ``NotJson``."""
    table = table_for(endpoint)
    shape = attrs.evolve(table.shape, members={**(table.shape.members or {}), "requests": ECHO})
    return RequestTexts(attrs.evolve(table, shape=shape), body)


def refused_line(line: bytes, error: GatewayError) -> bytes:
    """Return ``line``, a result, as the line of a failed request with the message of ``error``."""
    info = error.info
    value: Any = decode_or(any_json, line, {})
    kept = {name: value[name] for name in ("id", "custom_id", "key") if isinstance(value, dict) and name in value}
    failure: dict[str, Any]
    if "key" in kept:
        failure = {"error": {"code": info.status, "message": info.message, "status": "INVALID_ARGUMENT"}}
    elif isinstance(value, dict) and "result" in value:
        inner = {"type": "invalid_request_error", "code": info.code, "message": info.message}
        failure = {"result": {"type": "errored", "error": {"type": "error", "error": inner}}}
    else:
        failure = {"response": None, "error": {"code": info.code, "message": info.message}}
    return msgspec.json.encode({**kept, **failure})
