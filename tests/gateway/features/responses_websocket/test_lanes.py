"""The lanes of one connection, without its socket."""

import weakref

import pytest
import trio
import trio.testing

from gateway.features.responses_websocket.envelopes import CREATE, LaneFrame, read_lane
from gateway.features.responses_websocket.lanes import MAX_OPEN, MAX_RUNNING, OPEN_SECONDS, WAITING, Lanes
from streams.errors import GatewayError
from tests.support.each_row import each_row


def frame(stream_id: str | None = None, text: str = "") -> LaneFrame:
    return LaneFrame(text, CREATE, stream_id)


async def at_once(frame: LaneFrame) -> None:
    return


async def never(frame: LaneFrame) -> None:
    await trio.sleep_forever()


async def test_a_lane_closes_five_minutes_after_its_last_response(autojump_clock):
    async with trio.open_nursery() as nursery:
        lanes = Lanes(nursery, at_once)
        for number in range(MAX_OPEN):
            lanes.add(frame(str(number)))
        await trio.sleep(OPEN_SECONDS - 1)
        with pytest.raises(GatewayError):
            lanes.add(frame("new"))
        lanes.add(frame("0"))
        await trio.sleep(1)
        for number in range(MAX_OPEN - 1):
            lanes.add(frame(f"new-{number}"))
        with pytest.raises(GatewayError):
            lanes.add(frame("one more"))
        lanes.add(frame("0"))
        lanes.close()


async def test_at_most_16_lanes_run_and_each_in_order(autojump_clock):
    running, most, done = set[str | None](), 0, list[tuple[str | None, str]]()

    async def answer(frame: LaneFrame) -> None:
        nonlocal most
        assert frame.stream_id not in running
        running.add(frame.stream_id)
        most = max(most, len(running))
        await trio.sleep(1)
        running.remove(frame.stream_id)
        assert isinstance(frame.text, str)
        done.append((frame.stream_id, frame.text))

    async with trio.open_nursery() as nursery:
        lanes = Lanes(nursery, answer)
        ids = (None, *map(str, range(MAX_OPEN - 1)))
        for text in "abc":
            for id in ids:
                lanes.add(frame(id, text))
        assert not lanes.is_idle
        lanes.close()
    assert most == MAX_RUNNING
    assert lanes.is_idle
    for id in ids:
        assert [text for lane, text in done if lane == id] == ["a", "b", "c"]


async def test_an_open_lane_holds_no_answered_frame():
    """Its text may be as long as a request body, in each of the lanes, and no limit counts it any longer."""
    async with trio.open_nursery() as nursery:
        lanes = Lanes(nursery, at_once)
        answered = []
        for number in range(MAX_OPEN):
            lanes.add(sent := frame(str(number)))
            answered.append(weakref.ref(sent))
        del sent
        await trio.testing.wait_all_tasks_blocked()
        assert lanes.is_idle
        assert [held for held in answered if held() is not None] == []
        lanes.close()


async def test_only_so_many_frames_wait_in_a_lane():
    async with trio.open_nursery() as nursery:
        lanes = Lanes(nursery, never)
        for _ in range(WAITING):
            lanes.add(frame("a"))
        with pytest.raises(trio.WouldBlock):
            lanes.add(frame("a"))
        lanes.add(frame("b"))
        nursery.cancel_scope.cancel()


@each_row(
    "text",
    [None, b"{}", "", "{", "[]", "[" * 100_000, "\ud800", '{"type":' + "[" * 5000 + "]" * 5000 + "}"],
)
def test_any_frame_has_a_lane_or_none(text):
    found = read_lane(text)
    assert found.text == text
    assert found.stream_id is None


def test_ids_and_types_are_read():
    assert read_lane('{"type":"response.create","stream_id":"\\u0061","input":[1]}').stream_id == "a"
    assert read_lane('{"stream_id":5,"type":["x"]}') == LaneFrame('{"stream_id":5,"type":["x"]}')
    assert read_lane('{"type":"' + "x" * 10_000 + '"}').kind is None
