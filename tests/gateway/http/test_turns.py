"""Turns of connections with tiny frames: hundreds of them delay others no longer than one does."""

import trio

from gateway.http.turns import take_turn

CALLERS, TURNS = 50, 20


async def test_one_caller_continues_in_each_turn_of_the_loop():
    taken, most = 0, 0

    async def caller() -> None:
        nonlocal taken
        for _ in range(TURNS):
            await take_turn()
            taken += 1

    async with trio.open_nursery() as nursery:
        for _ in range(CALLERS):
            nursery.start_soon(caller)
        while taken < CALLERS * TURNS:
            before = taken
            await trio.lowlevel.checkpoint()
            most = max(most, taken - before)
    assert most == 1
