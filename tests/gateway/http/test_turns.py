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


async def test_callers_continue_in_order():
    order: list[int] = []

    async def caller(number: int) -> None:
        for _ in range(3):
            await take_turn()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(caller, number)
    assert order[:4] == order[4:8] == order[8:]
    assert sorted(order[:4]) == [0, 1, 2, 3]
