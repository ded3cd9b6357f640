"""Blocks that outlive the nursery of their request once the provider may have all of it."""

import contextlib
import math

import pytest
import trio
import trio.testing

from gateway.config_files.loading import from_mapping
from gateway.exchange.watched_upload import watch_upload
from gateway.relay.deferred_survival import DeferredSurvival
from gateway.routing.router import Router
from gateway.routing.target import Target
from gateway.upstream.request import UploadedBody
from streams.pipe import Watch
from streams.timeouts import Timeouts
from tests.support.each_row import each_row


@pytest.fixture
def target() -> Target:
    config = from_mapping({"version": "v0.3.0", "model_providers": [{"model": "openai/m", "access_key": "k"}]})
    return Router(config).resolve("openai/m", "chat")


@pytest.mark.parametrize(
    ("before", "after", "limit"), [(1, 0, 60), (1, 1, math.inf), (2, 2, 60), (0, 0, 60), (0, 2, 60), (1, 1, 0)]
)
async def test_a_block_that_survives_a_disconnect_continues_to_run(target, before, after, limit):
    """It asks to survive ``before`` times, then its client leaves, and it asks ``after`` more times."""
    ended, left = False, []
    async with trio.open_nursery() as nursery:
        survival = DeferredSurvival(nursery, target, lambda: limit)
        with survival.outlive_client(lambda: left.append(True)):
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(before):
                survival.begin()
            nursery.cancel_scope.cancel()
            for _ in range(after):
                survival.begin()
            await trio.testing.wait_all_tasks_blocked()
            ended = True
    assert ended is (before > 0 and limit > 0)
    assert left or not ended


@each_row("length", [5, 3, None])
async def test_the_end_of_an_upload_is_noted_once_and_before_its_last_piece(length):
    noted: list[int] = []
    taken = 0

    async def pieces():
        yield b"abc"
        if length != 3:
            yield b"de"

    body = watch_upload(UploadedBody(pieces(), length), Watch(Timeouts()), lambda: noted.append(taken))
    async for _ in body.pieces:
        taken += 1
    with contextlib.suppress(StopAsyncIteration):
        await anext(body.pieces)
    assert noted == [{5: 1, 3: 0, None: 2}[length]]


@each_row("length", [3, None])
async def test_a_client_that_uploads_slowly_spends_no_time_until_the_first_content(autojump_clock, length):
    """It got a 504 during its upload, as if the provider were silent."""

    async def pieces():
        for _ in range(3):
            await trio.sleep(5)
            yield b"x"

    watch = Watch(Timeouts(first_byte=9), content_timeout=2)
    with watch.scope:
        async for _ in watch_upload(UploadedBody(pieces(), length), watch).pieces:
            await trio.sleep(0.5)  # the provider takes a piece
        await trio.sleep_forever()
    assert watch.seconds == pytest.approx(15 + 2)
    assert "begin its answer within 2 s" in watch.failure().message


async def test_a_slow_upload_ends_at_the_limit_of_the_whole_response(autojump_clock):
    async def pieces():
        await trio.sleep_forever()
        yield b"x"

    watch = Watch(Timeouts(total=20), content_timeout=2)
    with watch.scope:
        await anext(watch_upload(UploadedBody(pieces()), watch).pieces)
    assert watch.seconds == pytest.approx(20)
