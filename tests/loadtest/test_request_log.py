"""The log of ``--log``, with a line for each exchange that ended.

Another tool's log lacked the failed requests (kubernetes-sigs/inference-perf#531).
"""

import io
import json
import os
import threading

import pytest

from loadtest.exchange.record import AnswerTokens, Problem
from loadtest.reports.request_log import HELD, RequestLog, log_line
from tests.support.load_records import exchange_record


def parsed_line(record, missed=()):
    return json.loads(json.dumps(log_line(record, missed, "a", 1_000_000.0), allow_nan=False))


def test_the_times_of_a_line_count_from_the_planned_start():
    found = parsed_line(exchange_record(tokens=AnswerTokens(7, 3, None, 2), request_id="r1"))
    assert found["planned"] == 1
    assert found["time"] == "1970-01-12T13:46:41.000+00:00"
    times = ("sent", "ttfb", "first_event", "ttft", "duration", "ended", "late", "stall", "gap")
    assert {name: found[name] for name in times} == pytest.approx({
        "sent": 0.001, "ttfb": 0.1, "first_event": 0.1, "ttft": 0.2, "duration": 0.5, "ended": 0.5,
        "late": 0, "stall": 0.15, "gap": 0.125,
    })  # fmt: skip
    assert (found["target"], found["api"], found["status"], found["end"]) == ("a", "chat", 200, "whole")
    assert (found["finish"], found["good"], found["missed"]) == ("stop", True, [])
    assert found["tokens"] == {"input": 7, "output": 3, "reasoning": None, "cached": 2, "events": 3}
    assert found["request_id"] == "r1"
    assert found["warmup"] is False
    assert parsed_line(exchange_record(planned=-1.0))["warmup"] is True


def test_missing_times_are_null_and_aborted_waits_are_marked():
    gone = Problem("timeout", "first byte", "not finished after 30 s")
    record = exchange_record(
        sent=1.0, first_byte=None, first_event=None, contents=(), end_event=None,
        ended=31.0, status=0, end="error", problem=gone,
    )  # fmt: skip
    found = parsed_line(record, ["ttft<500ms"])
    assert (found["error"], found["phase"], found["detail"]) == ("timeout", "first byte", "not finished after 30 s")
    assert (found["status"], found["gap"]) == (None, None)
    assert found["ttft"] == 30
    assert {"ttft", "ttfb", "duration"} <= set(found["censored"])
    assert (found["good"], found["missed"]) == (False, ["ttft<500ms"])
    assert parsed_line(exchange_record(end="cancelled"))["good"] is None


def test_each_line_is_written_when_its_exchange_ends():
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file, os.fdopen(reading, "rb") as lines:
        log = RequestLog(file)
        for target in ("a", "b"):
            log.add(exchange_record(finish="\x1b[2J"), (), target, 0.0)
            line = lines.readline()
            assert json.loads(line)["target"] == target
            assert line.isascii()
            assert b"\x1b" not in line
        log.close()


def test_a_slow_reader_of_the_log_does_not_delay_the_load():
    class Stuck(io.BytesIO):
        free = threading.Event()

        def write(self, data):
            self.free.wait()
            return super().write(data)

    file = Stuck()
    log = RequestLog(file)
    for _ in range(HELD + 10):
        log.add(exchange_record(), (), "a", 0.0)
    assert log.lost >= 9
    assert log.failure == "the file is too slow"
    file.free.set()
    log.close()
    assert file.getvalue().count(b"\n") + log.lost == HELD + 10


def test_a_full_disk_loses_lines_and_is_reported():
    with open("/dev/full", "wb", buffering=0) as full:
        log = RequestLog(full)
        log.add(exchange_record(), (), "a", 0.0)
        log.close()
        assert (log.lost, log.failure) == (1, "no space left on device")
