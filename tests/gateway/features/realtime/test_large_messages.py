"""The largest messages of realtime sessions delay no other stream (CWE-400), and arrive complete."""

import json
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from gateway.features.realtime.session import MAX_MESSAGE
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import PATIENCE, config, provider
from tests.support.loop_steps import check_steps
from tests.support.realtime_sessions import PATH, echo
from tests.support.websocket_caller import calling
from tests.support.websocket_server import websocket_server

LARGE = MAX_MESSAGE - 1000

MESSAGES: dict[str, Callable[[], str | bytes]] = {
    "audio": lambda: json.dumps({"type": "input_audio_buffer.append", "audio": "QUJD" * (LARGE // 4)}),
    "text": lambda: json.dumps(
        {"type": "conversation.item.create", "item": {"text": "é" * (LARGE // 2)}}, ensure_ascii=False
    ),
    "session": lambda: json.dumps(
        {"type": "session.update", "session": {"model": "voice", "x": "word " * (LARGE // 5)}}
    ),
    "error": lambda: json.dumps({"type": "error", "error": {"message": "word " * (LARGE // 5)}}),
    "binary": lambda: bytes(range(256)) * (LARGE // 256),
}  # fmt: skip


async def _in_background(check: Callable[[Callable[[], object]], None], work: Callable[[], Awaitable[object]]) -> None:
    """Run ``check`` in a thread, with ``work``, which runs here."""
    await trio.to_thread.run_sync(check, lambda: trio.from_thread.run(work))


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "session" else pytest.mark.soak) for kind in MESSAGES]
)
async def test_the_largest_message_delays_no_stream_in_either_direction(kind):
    """Masking 16 MB for the provider took 0.2 s of the event loop, and sending them to the client took 0.1 s."""
    message = MESSAGES[kind]()
    with trio.fail_after(PATIENCE):
        async with websocket_server(echo) as server:
            entry = provider("openai/gpt-realtime", f"{server.url}/v1", name="voice")
            with gateway_thread(config([entry])) as gateway:
                async with calling(gateway.url, PATH) as caller:

                    async def pass_both_ways() -> None:
                        await caller.send(message)
                        received = await caller.receive()
                        if kind == "session":
                            assert json.loads(received)["session"]["model"] == "gpt-realtime"
                        else:
                            assert received == message

                    await _in_background(partial(check_steps, gateway), pass_both_ways)
