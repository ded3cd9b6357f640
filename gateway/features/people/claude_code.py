"""The paths that Claude Code requests after ``/login``, besides those of the APIs: its managed settings, and
its telemetry, which is discarded. They exist only for a configuration with issuers.

Source: the pages "Claude apps gateway" (code.claude.com) and ``GET /protocol`` of Claude Code 2.1.207.
"""

import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from gateway.config.settings import Config
from gateway.endpoints.plain_answers import NOSNIFF, PRIVATE
from gateway.endpoints.unknown_paths import unknown_path_error
from gateway.exchange.responding import error_response, open_record
from gateway.exchange.service import Service
from gateway.features.people.directory import SENDER, session_sender
from gateway.features.people.managed_settings import merged_settings
from gateway.features.people.settings import people_keys
from gateway.http.response import JSON_HEADERS, Response
from gateway.seams.route import HttpRoute
from gateway.serving.incoming_request import PiecesRequest
from streams.errors import GatewayError

SETTINGS: Final = "/managed/settings"
TELEMETRY: Final = ("/v1/metrics", "/v1/logs", "/v1/traces")
MOST_TELEMETRY: Final = 8 * 1024 * 1024
"""Bytes of one report."""

_NONE: Final = "this gateway has no managed settings for you: its configuration has no `claude_code`"


def claude_code_routes(config: Config, service: Service) -> Iterator[HttpRoute]:
    """Yield these paths."""
    yield HttpRoute(SETTINGS, partial(_answer, service, partial(_show_settings, config, service)))
    for path in TELEMETRY:
        yield HttpRoute(path, partial(_answer, service, partial(_discard, service)), ("POST",))


async def _answer(
    service: Service, work: Callable[[PiecesRequest], Awaitable[Response]], incoming: PiecesRequest
) -> Response:
    try:
        return await work(incoming)
    except GatewayError as error:
        return error_response(open_record("messages", service.ledger, incoming.scope, served=False), error.info)


async def _show_settings(config: Config, service: Service, incoming: PiecesRequest) -> Response:
    """Return the settings of the caller, or 304 if it has them. Raises ``GatewayError`` (401, 404)."""
    service.admission.admit(incoming)
    sender = SENDER.get()
    rule = None if sender is None else sender.known.rule.claude_code
    if people_keys(config).claude_code is None and rule is None:
        raise GatewayError("not_found", _NONE, code="no_managed_settings")
    body, etag = managed_settings(merged_settings(people_keys(config).claude_code or {}, rule or {}))
    headers = (("etag", etag), *PRIVATE, ("x-request-id", incoming.scope.id))
    if any(name == "if-none-match" and etag in value for name, value in incoming.headers):
        return Response(304, headers)
    return Response(200, (*JSON_HEADERS, *headers), body)


async def _discard(service: Service, incoming: PiecesRequest) -> Response:
    """Read and discard a report of a session. For other callers the path does not exist. Raises ``GatewayError``."""
    service.admission.admit(incoming)
    if session_sender() is None:
        path = incoming.asgi["path"]
        raise GatewayError.of(unknown_path_error("POST", path, incoming.headers, incoming.asgi, ()))
    async for _ in incoming.pieces(MOST_TELEMETRY):
        pass
    is_json = any(name == "content-type" and "json" in value for name, value in incoming.headers)
    kind = JSON_HEADERS if is_json else (("content-type", "application/x-protobuf"),)
    return Response(200, (*kind, NOSNIFF, ("x-request-id", incoming.scope.id)), b"{}" if is_json else b"")


_NAMESPACE: Final = uuid.UUID("9b0c1c5e-7a35-5b0e-9d1a-3f6a1f0f2f55")


def managed_settings(settings: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return the response with ``settings``, and its ``etag``. Equal settings have equal responses, in every process.

    Its form, with a checksum by which Claude Code recognises unchanged settings, is in BerriAI/litellm-docs#1563."""
    written = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    checksum = f"sha256:{hashlib.sha256(written.encode()).hexdigest()}"
    content = {"uuid": str(uuid.uuid5(_NAMESPACE, checksum)), "checksum": checksum, "settings": settings}
    return json.dumps(content, ensure_ascii=False).encode(), f'"{checksum}"'
