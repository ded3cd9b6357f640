"""The stand-in's MCP server at ``/mcp`` ("Streamable HTTP", without sessions): its tools show whose token arrives."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from gateway.http.response import JSON_HEADERS, Response
from gateway.mock.called import read_call
from gateway.mock.issuer import POST, Claims, StandInIssuer
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.route_table import RouteTable
from streams.errors import GatewayError, invalid

PATH: Final = "/mcp"
AUDIENCE: Final = "stand-in"
"""The audience of tokens that the server accepts."""

_TEXT: Final = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS: Final = (
    {
        "name": "get_person",
        "description": "Return the person whose token the server received.",
        "inputSchema": {"type": "object"},
    },
    {"name": "echo", "description": "Return a text.", "inputSchema": _TEXT},
)


def add_mcp_server(routes: RouteTable, issuer: StandInIssuer) -> None:
    """Add the server to ``routes``. It accepts keys of any text, and tokens of ``issuer``."""
    routes.add(PATH, partial(_respond, issuer), POST)


async def _respond(issuer: StandInIssuer, incoming: IncomingRequest) -> Response:
    status = 401
    try:
        person = _person_of(issuer, dict(incoming.headers).get("authorization", ""))
        status = 400
        message = read_call(await incoming.read(ignore_arrived)).members
    except GatewayError as error:
        return _json(status, None, _error(-32000, f"the stand-in refuses this: {error}"))
    if "id" not in message:
        return Response(202, ())
    return _json(200, message["id"], _answer(person, message.get("method"), message.get("params")))


def _person_of(issuer: StandInIssuer, authorization: str) -> Claims | None:
    """Return the claims of the person's token, ``None`` for another key. Raises ``GatewayError``."""
    key = authorization.partition(" ")[2]
    if not key:
        raise invalid("it has no bearer token")
    claims = issuer.read("token", key) if key.count(".") == 2 else None
    if claims is not None and claims["aud"] != AUDIENCE:
        raise invalid(f"the token's audience is not {AUDIENCE}")
    return claims


def _answer(person: Claims | None, method: Any, params: Any) -> dict[str, Any]:
    match method, params:
        case "initialize", {"protocolVersion": str(version)}:
            about = {"name": "trigate-mock", "version": "1"}
            return {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}}
        case "tools/list", _:
            return {"result": {"tools": TOOLS}}
        case "tools/call", {"name": "get_person"}:
            return _text("no person: a key" if person is None else f"{person['sub']} ({person['email']})")
        case "tools/call", {"name": "echo", "arguments": {"text": str(text)}}:
            return _text(text)
        case "tools/call", _:
            return _error(-32602, "the stand-in has the tools get_person, and echo with a `text`")
        case _:
            return _error(-32601, "the stand-in has only initialize, tools/list and tools/call")


def _text(text: str) -> dict[str, Any]:
    return {"result": {"content": [{"type": "text", "text": text}]}}


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _json(status: int, id: Any, answer: Mapping[str, Any]) -> Response:
    return Response(status, JSON_HEADERS, msgspec.json.encode({"jsonrpc": "2.0", "id": id, **answer}))
