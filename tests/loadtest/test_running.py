"""Load on real sockets: its measurements, and the classification of responses."""

import math
import os
import random
import re
import ssl
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing import active_children

import pytest
import trio

from loadtest.exchange.judging import ReceivedAnswer, open_judge
from loadtest.figures.result import notes
from loadtest.plan.plan import Leaving, Lengths
from loadtest.reports import report_files as report
from loadtest.reports import text
from loadtest.requests import MadePrompts
from tests.support.each_row import each_row
from tests.support.harness import Late, eventually, retried_when_late
from tests.support.load_servers import HEAD, answer, chunk, events, load, plan_for, prepared, quick, serving
from tests.support.processes import is_running
from tests.support.repository import ROOT


def stall_for(begin: float, seconds: float):
    """Respond immediately until ``begin``; delay later requests until ``seconds`` after the first of these."""
    start = trio.current_time()
    stalled: list[float] = []

    async def serve(stream, head):
        if (now := trio.current_time()) - start > begin:
            stalled.append(now)
            await trio.sleep_until(stalled[0] + seconds)
        await answer(stream, "word")

    return serve


@each_row(
    ("how", "seconds"),
    [
        ({"rate": 40, "seconds": 0.5}, 0.5),
        ({"rate": 40, "seconds": 60, "count": 20}, 0.5),
        ({"rate": 40, "seconds": math.inf, "count": 20}, 0.5),
        ({"rate": 400, "seconds": math.inf, "count": 20, "poisson": True}, None),
        ({"concurrency": 3, "seconds": math.inf, "count": 20}, None),
    ],
)
async def test_a_good_server_is_measured(how, seconds):
    async with serving(quick) as url:
        run = await load(url, **how)
    assert +run.tally.counts == {"started": 20, "whole": 20, "good": 20}
    assert run.seconds == pytest.approx(seconds) if seconds else 0 < run.seconds < 10
    assert run.tally.tokens == 60
    assert run.tally.measures["ttft"].count == 20
    assert run.tally.measures["gap"].count == 40
    assert run.tally.measures["duration"].least >= run.tally.measures["ttft"].least > 0
    assert run.tally.failures == []
    assert sum(second.started for second in run.timeline.spans) == 20


@retried_when_late
async def test_a_stall_shows_in_the_percentiles_of_an_open_loop_but_only_once_in_a_closed_loop():
    runs = {}

    async def measure(name, **how):
        async with serving(stall_for(0.3, 1.0)) as url:
            runs[name] = await load(url, seconds=1.6, **how)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(measure, "open", rate=50))
        nursery.start_soon(partial(measure, "closed", concurrency=1))
    ttft = runs["open"].tally.measures["ttft"]
    assert runs["open"].tally.counts["whole"] == 80, runs["open"].tally.failures
    assert ttft.most > 0.9
    assert ttft.percentile(60) > 0.2  # the stall affects the requests of 0.8 of the 1.6 seconds
    assert ttft.percentile(95) > 0.8
    first = runs["open"].timeline.spans[0]
    assert first.ttft.percentile(99) > 0.8  # at their planned start, not at their response
    ttft = runs["closed"].tally.measures["ttft"]
    assert ttft.most > 0.9
    if ttft.count == 1 or ttft.percentile(100 * (ttft.count - 1) / ttft.count) >= 0.9:  # all but one
        raise Late("another request was slow, too")


async def test_the_delays_of_a_blocked_load_tester_count_and_are_reported():
    async with serving(quick) as url:
        running = await prepared(plan_for(url, rate=50, seconds=0.6))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block_loop, 0.35)
            run = await running.run()
    assert run.tally.counts["whole"] == 30
    assert run.tally.measures["ttfb"].most > 0.25
    assert run.late.most > 0.25
    assert run.lag.most > 0.25
    assert "The loader was late" in notes(run)[0]
    assert "The loader was late" in text.summary(run)


@retried_when_late
async def test_the_preparation_of_requests_delays_none(tmp_path):
    """A large file of bodies is read before the load begins, and a long prompt is made before its request is due."""
    body = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}\n'
    (tmp_path / "many.jsonl").write_bytes(body * 200_000)
    async with serving(quick) as url:
        for number, how in ((2, {"requests": tmp_path / "many.jsonl"}), (5, {"prompt": Lengths(3 * 10**6, 3 * 10**6)})):
            before = time.perf_counter()
            running = await prepared(plan := plan_for(url, rate=1, seconds=number, **how))
            if plan.requests is None:
                MadePrompts(plan).prepare(0, random.Random())
            preparation = time.perf_counter() - before
            run = await running.run()
            assert run.tally.counts["whole"] == number
            # No pause precedes the first prompt, and a busy machine may delay some of the others.
            late = run.late.least if plan.requests is None else run.late.most
            if late >= preparation / 2:
                raise Late(f"a request of {how} was late by {late:.3f} s")


async def block_loop(seconds: float):
    await trio.sleep(0.2)
    time.sleep(seconds)  # noqa: ASYNC251  # the test blocks the loop on purpose


async def test_requests_started_during_the_warm_up_do_not_count():
    asked = []

    async def serve(stream, head):
        asked.append(head)
        await answer(stream, "word")

    async with serving(serve) as url:
        run = await load(url, rate=50, seconds=0.2, warmup=0.2)
    assert len(asked) == 20
    assert run.tally.counts["started"] == 10


async def test_a_kept_connection_that_the_server_closed_is_no_error():
    async def serve(stream, head):
        await answer(stream, "word")
        return False

    async with serving(serve) as url:
        run = await load(url, concurrency=1, seconds=0.2)
    assert run.tally.counts["whole"] == run.tally.counts["started"] > 1, run.tally.failures


# Cancelled requests


async def test_cancelled_requests_are_no_errors():
    left = trio.Event()

    async def serve(stream, head):
        await stream.send_all(HEAD + chunk(b"".join(events("one")[:2])))
        assert not await stream.receive_some()  # the server waits until the client disconnects
        left.set()
        return False

    async with serving(serve) as url:
        run = await load(url, rate=10, seconds=0.3, leave=Leaving(1.0, seconds=0.5))
        await left.wait()
    assert +run.tally.counts == {"started": 3, "cancelled": 3}
    assert run.tally.measures["ttft"].count > 0
    assert run.tally.measures["duration"].count == 0


# Failures


@each_row(
    ("data", "kind", "phase"),
    [
        (b"", "closed", "first byte"),
        (b"SSH-2.0-x\r\n\r\n", "not http", "first byte"),
        (HEAD, "closed", "first token"),
        (HEAD + b"zz\r\n", "not http", "first token"),
        (HEAD + chunk(b"".join(events("one")[:2])), "closed", "stream"),
        (HEAD + chunk(b"".join(events("one")[:2])) + b"0\r\n\r\n", "cut", "stream"),
        (HEAD + chunk(b"<p>Sign in") + b"0\r\n\r\n", "no stream", "first token"),
        (HEAD + chunk(b"".join(events("one")) + events()[-1]) + b"0\r\n\r\n", "grammar: chat.done.last", "stream"),
        (HEAD.replace(b"chunked\r\n", b"chunked\r\ncontent-encoding: br\r\n"), "encoding", "first byte"),
        (b"HTTP/1.1 429 No\r\ncontent-length: 27\r\n\r\n" + b'{"error": {"message": "no"}}'[:27], "status 429",
         "first byte"),
    ],
    ids=lambda value: value[-12:] if isinstance(value, bytes) else None,
)  # fmt: skip
async def test_each_failure_has_its_kind_and_phase(data, kind, phase):
    async def serve(stream, head):
        await stream.send_all(data)
        return False

    async with serving(serve) as url:
        run = await load(url, rate=10, seconds=0.1)
    assert run.tally.counts["errors"] == 1, run.tally.counts
    assert run.rate == pytest.approx(10), "failed requests count"
    assert [(row.kind, row.phase) for row in run.tally.failures] == [(kind, phase)]
    assert run.tally.counts["not_whole"] == (phase in ("first token", "stream"))


async def test_a_missing_server_is_reported_as_a_refused_connection():
    async with serving(quick) as url:
        pass
    run = await load(url, rate=20, seconds=0.1)
    assert [(row.kind, row.phase, row.count) for row in run.tally.failures] == [("refused", "connect", 2)]


async def silent(stream, head):
    await stream.send_all(HEAD + chunk(b"".join(events("one")[:2])))
    await trio.sleep_forever()


async def test_an_endless_answer_times_out_and_its_silence_is_a_gap():
    async with serving(silent) as url:
        run = await load(url, rate=10, seconds=0.1, timeout=3)
    assert [(row.kind, row.phase) for row in run.tally.failures] == [("timeout", "stream")]
    assert run.tally.measures["gap"].most > 0.3


@each_row("how", [{"rate": 20, "seconds": 0.1}, {"concurrency": 2, "seconds": math.inf, "count": 2}])
async def test_requests_running_after_the_grace_are_unfinished(how):
    async with serving(silent) as url:
        run = await load(url, grace=0.5, **how)
    assert run.tally.counts["unfinished"] == 2
    assert run.tally.counts["not_whole"] == 2


async def test_a_stopped_run_reports_its_results_so_far():
    served = []
    enough = trio.Event()

    async def serve(stream, head):
        served.append(head)
        if len(served) == 4:
            enough.set()
        await silent(stream, head)

    async with serving(serve) as url:
        running = await prepared(plan_for(url, rate=20, seconds=60))
        async with trio.open_nursery() as nursery:

            async def stop():
                await enough.wait()
                running.stop()

            nursery.start_soon(stop)
            run = await running.run()
    assert run.interrupted
    assert run.seconds < 59
    assert run.tally.counts["interrupted"] == run.tally.counts["started"] >= 4
    assert run.tally.failures == []
    assert run.tally.measures["ttft"].count > 0


async def finish_run_after(requests: int, serve, **how):
    """Run a load that starts no more requests after the server has received this many, and return its result."""
    received, enough = [], trio.Event()

    async def counting(stream, head):
        received.append(head)
        if len(received) == requests:
            enough.set()
        return await serve(stream, head)

    async with serving(counting) as url:
        running = await prepared(plan_for(url, seconds=60, **how))
        async with trio.open_nursery() as nursery:

            async def finish():
                await enough.wait()
                running.finish()

            nursery.start_soon(finish)
            run = await running.run()
    return run


async def test_a_finishing_run_waits_for_requests_under_way():
    async def slow(stream, head):
        await answer(stream, "one", "two", pause=0.05)

    for how in ({"rate": 20}, {"concurrency": 4}):
        run = await finish_run_after(6, slow, **how)
        assert not run.interrupted, how
        assert run.seconds < 50, how
        assert run.tally.counts["whole"] == run.tally.counts["started"] >= 6, how


async def test_requests_running_after_the_last_arrival_are_unfinished():
    run = await finish_run_after(2, silent, rate=20, grace=0.2)
    assert run.tally.counts["unfinished"] == run.tally.counts["started"] >= 2


async def test_a_server_that_rejects_everything_ends_the_load():
    async def serve(stream, head):
        said = b"no \x1b[2J\xe2\x80\xae model"
        await stream.send_all(b"HTTP/1.1 404 No\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))

    async with serving(serve) as url:
        run = await load(url, rate=100, seconds=60)
    assert run.is_refused
    assert run.stopped.startswith("the server rejected all of the first 20 requests: status 404: no \\x1b[2J\\u202e")
    assert run.stopped.isprintable()


# The judge


@pytest.mark.process
async def test_the_load_tester_judges_responses_if_the_judge_is_full_or_gone(monkeypatch):
    cut = ReceivedAnswer("chat", True, b"".join(events("one")[:2]))
    with trio.fail_after(60):
        async with open_judge() as judge:
            assert (await judge(cut)).fault == "cut"
            monkeypatch.setattr("loadtest.exchange.judging.HELD", 0)
            assert (await judge(cut)).fault == "cut"
            monkeypatch.undo()
            (process,) = active_children()
            process.kill()
            assert [(await judge(cut)).fault for _ in range(3)] == ["cut"] * 3


@pytest.mark.process
def test_a_judgement_without_its_client_leaves_no_error_and_no_process(caplog):
    large = ReceivedAnswer("chat", True, b"".join(events(*["word"] * 20_000)))

    async def leave_early():
        async with open_judge() as judge, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(judge, large)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(leave_early)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(20)
    assert (caplog.records, active_children()) == ([], [])


KILLED = """
import trio
from multiprocessing import active_children
from loadtest.exchange.judging import open_judge

async def main():
    async with open_judge():
        print(active_children()[0].pid, flush=True)
        await trio.sleep_forever()

if __name__ == "__main__":
    trio.run(main)
"""


@pytest.mark.process
def test_the_judge_ends_with_a_load_tester_that_is_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "killed.py")]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
    judge = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    eventually(lambda: not is_running(judge), 20, "the end of the judge")


# TLS


async def test_tls_works_and_an_untrusted_certificate_is_reported(certificate, monkeypatch):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    async with serving(quick, tls) as url:
        untrusted = await load(url, rate=10, seconds=0.1)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        trusted = await load(url, rate=10, seconds=0.1)
    assert [(row.kind, row.phase) for row in untrusted.tally.failures] == [("tls", "connect")]
    assert "certificate" in untrusted.tally.failures[0].example
    assert trusted.tally.counts["whole"] == 1


# Credentials


async def test_credentials_are_sent_but_appear_in_no_report():
    heads = []

    async def serve(stream, head):
        heads.append(head)
        said = b"wrong: sk-secret, query-secret"
        await stream.send_all(b"HTTP/1.1 401 No\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
        return False

    async with serving(serve) as url:
        run = await load(f"{url}?key=query-secret", rate=10, seconds=0.1)
    assert b"POST /v1/chat/completions?key=query-secret HTTP/1.1" in heads[0]
    assert b"authorization: Bearer sk-secret" in heads[0]
    assert run.tally.failures[0].example == "wrong: ***, ***"
    assert b"secret" not in report.dump([run])


async def test_texts_of_the_server_in_reports_contain_no_credential():
    """The log has the finish reason and the request id that the server sends."""

    async def serve(stream, head):
        told = b"x-request-id: id-sk-secret\r\n"
        said = b"".join(events("a")).replace(b'"stop"', b'"sk-secret"')
        if b"failing" in head:
            await stream.send_all(b"HTTP/1.1 500 No\r\n%bcontent-length: 2\r\n\r\n{}" % told)
        else:
            await stream.send_all(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (told, len(said), said))

    async with serving(serve) as url:
        running = [await prepared(plan_for(f"{url}/{path}", rate=10, seconds=0.1)) for path in ("", "failing")]
        records = []
        for one in running:
            one._log = lambda record, *_: records.append(record)
        runs = [await one.run() for one in running]
    (logged,) = [one for one in records if one.end == "whole"]
    assert (logged.finish, logged.request_id) == ("***", "id-***")
    assert runs[1].tally.failures[0].example == "{} (request id-***)"
    outputs = [report.dump(runs).decode(), report.page(runs), *map(text.summary, runs)]
    assert [output for output in outputs if "sk-secre" in output] == []


async def test_impossible_token_counts_are_ignored():
    """They enter neither sums nor speeds: a float has no more than 1e308."""
    for number in (b"9" * 400, b"9" * 18, b"-5", b"1e308"):

        async def serve(stream, _, number=number):
            said = b"".join(events("a", "b")).replace(b'_tokens":1', b'_tokens":%b' % number)
            said = said.replace(b'_tokens":2', b'_tokens":%b' % number)
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))

        async with serving(serve) as url:
            run = await load(url, rate=10, seconds=0.1)
        assert run.tally.tokens == 2, number
        assert not run.tally.measures["input_tokens"].count, number


async def test_a_key_in_a_url_appears_in_no_output():
    """The output masks the key in the URL, and also where the server repeats it: encoded, decoded, as the type of an
    error, or at the truncated end of an example."""

    async def serve(stream, head):
        line = head.split(b"\r\n")[0]
        said = (b"no route %b, key sk-live/lurl123, " % line).ljust(185, b"x") + b" sk-live-lurl1234567890"
        if b"events" in line:
            said = b'data: {"error": {"type": "sk-live-lurl1234567890", "message": "no"}}\n\n'
        status = b"200 OK" if b"events" in line else b"404 No"
        await stream.send_all(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(said), said))

    async with serving(serve) as url:
        query = "key=sk-live-lurl1234567890&sk-bare-lurl123&other=sk-live%2Flurl123&v=1"
        runs = [await load(f"{url}/{path}/v1?{query}", rate=10, seconds=0.1) for path in ("status", "events")]
    assert runs[0].url == f"{url}/status/v1?key=***&***&other=***&v=***"
    assert "***" in runs[0].tally.failures[0].example
    outputs = [report.dump(runs).decode(), report.page(runs), *map(text.summary, runs)]
    assert [found for output in outputs for found in re.findall(r"sk-.{9}", output)] == []
