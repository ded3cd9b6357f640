"""Realtime sessions through a gateway in this process, with a provider that is a script."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import trio

from tests.support.asgi_app import eventually
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.levels import limit_level
from tests.support.websocket_server import Peer, Talk, WebSocketServer, websocket_server

KEY = "sk-client-of-the-gateway-1"
BEARER = (("authorization", f"Bearer {KEY}"),)
UPSTREAM = "sk-the-provider-s-own-key"
PATH = "/v1/realtime?model=voice"
GEMINI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
VOICE = {"model": "openai/gpt-realtime", "name": "voice"}
LIVE = {"model": "gemini/gemini-live-2.5", "name": "live"}
PRICE = {"input": 4, "output": 16}


def session_config(
    url: str, *entries: dict[str, Any], key: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a configuration of ``entries``, by default ``VOICE``, at the provider of ``url``, for one client."""
    made = [
        {"access_key": UPSTREAM, "base_url": f"{url}/v1" if entry["model"].startswith("openai/") else url, **entry}
        for entry in entries or (VOICE,)
    ]
    keys = [{"name": "one", "key": KEY, **(key or {})}]
    return {"version": "v0.4.0", "model_providers": made, "client_keys": keys, **more}


@contextlib.asynccontextmanager
async def serve_sessions(
    talk: Talk, *entries: dict[str, Any], **more: Any
) -> AsyncIterator[tuple[InProcess, WebSocketServer]]:
    """Serve sessions that the provider leads as ``talk``; none may be open at the end of the block."""
    with trio.fail_after(PATIENCE):
        async with (
            websocket_server(talk) as server,
            gateway(session_config(server.url, *entries, **more)) as running,
        ):
            yield running, server
            await eventually(lambda: running.service.upstream.stats().active == 0)


async def echo(peer: Peer) -> None:
    await peer.accept()
    while (message := await peer.receive()) is not None:
        await peer.send(message)


def budget_levels(running: InProcess) -> tuple[int, int]:
    """Return what the client's budget has used and holds."""
    level = limit_level(running.service.allowances, "")
    return level.used, level.held
