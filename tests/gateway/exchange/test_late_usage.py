"""Usage in a packet after a failure is reported, before any content: the attempt is counted with it."""

import types

import trio
import trio.testing

from tests.support.endpoint_provider import before, events
from tests.support.settled_lines import SettledLines

ENDED = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n'
USED = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'


async def test_usage_after_the_word_of_a_failure_is_counted():
    """OpenAI's own form has it in an event without choices."""
    async with before(lambda asked: events(ENDED, USED), "openai/m", {"name": "m"}) as (served, provider):
        lines, turns = SettledLines(served), trio.Semaphore(1)
        provider.go = types.SimpleNamespace(wait=turns.acquire)
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: served.post("/v1/chat/completions", json=body))
            await provider.begun.wait()
            await trio.testing.wait_all_tasks_blocked(0.02)
            turns.release()
        (line,) = await lines.next()
    (tried,) = line["tried"]
    assert (tried["input_tokens"], tried["output_tokens"]) == (5, 7)
