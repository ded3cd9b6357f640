"""``--log``: a line for each exchange, at its end.

What failed was lost just there in kubernetes-sigs/inference-perf#531.
"""

import errno
import io
import json
import os
import threading

import pytest

from loadtest.exchange.masking import SecretWords
from loadtest.exchange.record import AnswerTokens, Problem
from loadtest.reports.request_log import HELD, LineForm, LoggedRun, RequestLog, log_line
from tests.support.load_records import exchange_record

NOTHING = SecretWords(())
RUN = LoggedRun(2, "a", 1_000_000.0)


def said(record, missed=(), body=b"", secret=NOTHING, **form):
    return json.loads(json.dumps(log_line(record, missed, body, RUN, secret, LineForm(**form)), allow_nan=False))


def test_a_line_has_each_time_from_the_planned_begin():
    found = said(exchange_record(tokens=AnswerTokens(7, 3, None, 2), route=(("x-trigate-target", "openai/m"),),
                           request_id="r1", asked_output=9))  # fmt: skip
    assert found["planned"] == 1
    assert found["time"] == "1970-01-12T13:46:41.000Z"
    times = ("sent", "first_byte", "first_event", "ttft", "ttfo", "last_token", "duration", "ended", "late", "stall")
    assert {name: found[name] for name in times} == pytest.approx({
        "sent": 0.001, "first_byte": 0.1, "first_event": 0.1, "ttft": 0.2, "ttfo": 0.2, "last_token": 0.45,
        "duration": 0.5, "ended": 0.5, "late": 0, "stall": 0.15,
    })  # fmt: skip
    assert found["gap"]["mean"] == pytest.approx(0.125)
    assert found["tpot"] == pytest.approx(0.125)
    assert (found["run"], found["target"], found["kind"], found["api"], found["turn"]) == (2, "a", "chat m", "chat", 1)
    assert (found["status"], found["end"], found["finish"], found["good"], found["missed"]) == (
        200, "whole", "stop", True, [])  # fmt: skip
    assert found["tokens"] == {"input": 7, "output": 3, "reasoning": None, "cached": 2, "events": 3}
    assert (found["asked"], found["request_id"]) == ({"input": None, "output": 9}, "r1")
    assert found["headers"] == {"x-trigate-target": "openai/m"}
    assert found["warmup"] is False
    assert said(exchange_record(planned=-1.0))["warmup"] is True
    assert "events" not in found
    assert "body" not in found


def test_missing_times_are_null_and_aborted_waits_are_marked():
    gone = Problem("timeout", "first byte", "not finished after 30 s")
    record = exchange_record(
        sent=1.0, first_byte=None, first_event=None, contents=(), first_output=None, end_event=None,
        ended=31.0, status=0, end="error", problem=gone,
    )  # fmt: skip
    found = said(record, ["ttft<500ms"])
    assert (found["error"], found["phase"], found["detail"]) == ("timeout", "first byte", "not finished after 30 s")
    assert (found["first_byte"], found["status"], found["gap"], found["tpot"]) == (None, None, None, None)
    assert found["ttft"] == 30
    assert {"ttft", "ttfb", "duration"} <= set(found["censored"])
    assert (found["good"], found["missed"]) == (False, ["ttft<500ms"])
    assert said(exchange_record(end="cancelled"))["good"] is None


def test_times_of_events_and_bodies_come_on_demand():
    assert said(exchange_record(), events=True)["events"] == pytest.approx([0.2, 0.3, 0.45])
    failed = exchange_record(end="error", problem=Problem("cut", "stream"))
    for bodies, record, there in (
        ("failed", failed, True),
        ("failed", exchange_record(), False),
        ("all", exchange_record(), True),
    ):
        assert (said(record, body=b"data: \xff", bodies=bodies).get("body") == "data: \\xff") == there, bodies


def test_no_secret_and_no_control_character_is_in_a_line():
    secret = SecretWords.from_values(["Bearer sk-secret-key"])
    record = exchange_record(request_id="for sk-secret-key", route=(("x-trigate-note", "sk-secret-key"),),
                       finish="sk-secret-key")  # fmt: skip
    file = io.BytesIO()
    log = RequestLog(file, LineForm(bodies="all"))
    log.log_of_run("a", secret).add(record, (), "bad key sk-secret-key \x1b[2J \u202e \u0085".encode())
    log.close()
    assert file.getvalue().count(b"\n") == 1
    assert b"sk-secret-key" not in file.getvalue()
    assert file.getvalue().isascii()
    assert b"\x1b" not in file.getvalue()
    assert json.loads(file.getvalue())["body"] == "bad key *** \x1b[2J \u202e \u0085"


def test_each_line_is_there_when_its_exchange_has_ended():
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file, os.fdopen(reading, "rb") as lines:
        log = RequestLog(file)
        run, other = log.log_of_run("a", NOTHING), log.log_of_run("b", NOTHING)
        for sink, number in ((run, 1), (other, 2)):
            assert not sink.reads_bodies
            sink.add(exchange_record(number=number), (), b"")
            found = json.loads(lines.readline())
            assert (found["number"], found["run"]) == (number, number)
        log.close()


def test_a_slow_reader_of_the_log_does_not_delay_the_load():
    class Stuck(io.BytesIO):
        free = threading.Event()

        def write(self, data):
            self.free.wait()
            return super().write(data)

    file = Stuck()
    log = RequestLog(file)
    run, record = log.log_of_run("a", NOTHING), {"a": 1}
    for _ in range(HELD + 10):
        log.add(record)
    run.add(exchange_record(), (), b"")
    assert log.lost >= 9
    assert log.failure == "the file is too slow"
    file.free.set()
    log.close()
    assert file.getvalue().count(b"\n") + log.lost == HELD + 11


def test_few_lines_with_large_bodies_wait_for_a_slow_reader(monkeypatch):
    monkeypatch.setattr("loadtest.reports.request_log.HELD_BYTES", 2**20)
    free = threading.Event()

    class Stuck(io.BytesIO):
        def write(self, data):
            free.wait()
            return super().write(data)

    log = RequestLog(file := Stuck())
    for _ in range(100):
        log.add({"body": "x" * 2**17})
    assert log.lost >= 90
    free.set()
    log.close()
    assert file.getvalue().count(b"\n") + log.lost == 100
    log = RequestLog(io.BytesIO())
    log.add({"a": 1})
    log.close()
    assert not log.lost


def test_a_full_disk_loses_lines_and_is_reported():
    with open("/dev/full", "wb", buffering=0) as full:
        log = RequestLog(full)
        log.add({})
        log.close()
        assert (log.lost, log.failure) == (1, "no space left on device")


def test_a_partial_line_on_a_full_disk_is_removed():
    class Filling(io.BytesIO):
        space = 30

        def write(self, data):
            taken = super().write(data[: self.space])
            self.space -= taken
            if not taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            return taken

        def truncate(self, size=None):
            self.space += len(self.getvalue()) - (size or 0)
            return super().truncate(size)

    log = RequestLog(file := Filling())
    for line_ in ("first", "much too long for what is left", "last"):
        log.add({"is": line_})
    log.close()
    assert [json.loads(one)["is"] for one in file.getvalue().splitlines()] == ["first", "last"]
    assert log.lost == 1
