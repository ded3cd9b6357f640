"""One run by several processes. Here they are tasks: what they say to one another is the same."""

import contextlib
from collections.abc import AsyncIterator, Callable

import attrs
import pytest
import trio
import trio.testing

from loadtest.crew.channel import (
    Begin,
    CrewFailed,
    CrewMember,
    MessageChannel,
    Prepare,
    Progress,
    ShareBegun,
    ShareFailed,
    ShareReady,
)
from loadtest.crew.shared_run import SharedRun
from loadtest.crew.worker import LoadWorker, OutgoingRecords
from loadtest.figures.notes import notes
from loadtest.figures.run_figures import RunFigures
from loadtest.plan.scenario import arrival_times
from loadtest.plan.shares import PlanShare
from loadtest.run.under_way import UnfinishedAnswers
from tests.support.load_servers import answer, judge, scenario, serving

MIX = ({"model": "m"}, {"model": "n", "weight": 2, "cancel": {"share": "50%", "after": "1s"}})


@attrs.define
class Kept:
    """Keeps all records."""

    reads_bodies: bool = False
    records: list = attrs.field(factory=list)
    bodies: list = attrs.field(factory=list)

    def add(self, record, missed, body):
        self.records.append(record)
        self.bodies.append(body)

    @property
    def plan(self):
        """What the plan alone decides."""
        return sorted((one.number, round(one.planned, 6), one.request, one.step, one.manner) for one in self.records)


def member(stream, name: str) -> CrewMember:
    return CrewMember(name, MessageChannel(stream, stream))


@contextlib.asynccontextmanager
async def workers(count: int) -> AsyncIterator[list[CrewMember]]:
    """They end by themselves when the commanding side is gone."""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            members = []
            for number in range(count):
                near, far = trio.testing.memory_stream_pair()
                worker = LoadWorker(MessageChannel(far, far), lambda strict: contextlib.nullcontext(judge))
                nursery.start_soon(worker.serve)  # noqa: ASYNC113  # what it is told waits for it
                members.append(member(near, f"process {number + 1}"))
            yield members
            for one in members:
                await one.channel.aclose()


async def brief(stream, head):
    await answer(stream, "one", " two", pause=0.01)


async def endless(stream, head):
    await answer(stream, "one", " two", pause=30)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        pytest.param(
            {"rate": 100, "spacing": "poisson", "warmup": 0.1, "seconds": 0.5}, id="warm-up", marks=pytest.mark.soak
        ),
        {"steps": [{"rate": 40, "to": 80, "seconds": 0.3}, {"rate": 90, "seconds": 0.2}]},
    ],
)
async def test_one_plan_however_many_processes(more):
    """Segments of their own confuse: grafana/k6-operator#451, #90."""
    found = {}
    async with serving(brief) as url:
        plan = scenario(url, MIX, **more)
        for count in (1, 3):
            kept = Kept()
            async with workers(count) as members:
                run = SharedRun(members, plan, "", "sk-secret", [kept])
                result = await run.run()
            counts = result.tally.counts
            assert (counts["whole"] + counts["cancelled"], counts["lost"]) == (counts["started"], 0)
            assert list(result.overhead.parts) == [f"process {n + 1}" for n in range(count)]
            assert run.in_flight == run.in_judging == 0
            found[count] = (
                kept.plan,
                counts,
                {name: tally.counts for name, tally in result.requests.items()},
                [second.started for second in result.timeline.seconds if second.started],
            )
    assert len(found[1][0]) == len(list(arrival_times(plan)))
    assert found[1] == found[3]


def test_shares_of_a_plan_are_all_of_it():
    plan = scenario("http://a", rate=50, spacing="poisson", seconds=20, warmup=2, seed=7)
    times = list(enumerate(arrival_times(plan)))
    for of in (1, 2, 4, 7):
        shares = [[one for one in times if PlanShare(index, of).contains(one[0])] for index in range(of)]
        assert sorted(one for share in shares for one in share) == times
        assert [PlanShare(index, of).count(len(times)) for index in range(of)] == [len(share) for share in shares]


async def test_clients_of_a_closed_loop_are_shared_out():
    for count in (1, 3):
        kept = Kept()
        async with serving(brief) as url, workers(count) as members:
            await SharedRun(members, scenario(url, concurrency=5, seconds=0.3), "", None, [kept]).run()
        assert {one.number % 5 for one in kept.records} == set(range(5))


async def test_a_count_is_shared_out():
    for count, processes, loop in ((7, 3, {"concurrency": 4}), (1, 2, {"concurrency": 2}), (7, 3, {"rate": 50})):
        async with serving(brief) as url, workers(processes) as members:
            run = SharedRun(members, scenario(url, count=count, seconds=9, **loop), "", None)
            result = await run.run()
        assert result.tally.counts["whole"] == count
        assert run.progress == 1.0


async def test_only_records_of_readers_contain_bodies():
    for reads in (False, True):
        kept = Kept(reads)
        async with serving(brief) as url, workers(2) as members:
            await SharedRun(members, scenario(url, rate=20, seconds=0.2), "", None, [kept]).run()
        assert [b"[DONE]" in body for body in kept.bodies] == [reads] * 4


async def ended_early(end: Callable[[SharedRun], None], plan):
    async with workers(2) as members, trio.open_nursery() as nursery:
        run = SharedRun(members, plan, "", None)

        async def stop():
            while run.in_flight < 4:  # noqa: ASYNC110  # that is how a run is looked at
                await trio.sleep(0.01)
            end(run)

        nursery.start_soon(stop)
        return await run.run()  # noqa: ASYNC121  # by then the other task has done its work


async def test_all_stop_with_one_report(monkeypatch):
    monkeypatch.setattr("loadtest.crew.worker.PROGRESS", 0.05)
    async with serving(endless) as url:
        plan = scenario(url, rate=20, seconds=30, grace=0.1)
        for end, interrupted, stopped, kind in (
            (lambda run: run.stop(), True, "", "interrupted"),
            (lambda run: run.stop("errors>1%"), False, "errors>1%", "interrupted"),
            (lambda run: run.finish("enough"), False, "enough", "unfinished"),
        ):
            result = await ended_early(end, plan)
            assert (result.interrupted, result.stopped) == (interrupted, stopped)
            assert 4 <= result.tally.counts[kind] == result.tally.counts["started"] < 100, kind
            assert result.seconds < 5
            assert result.tally.counts["lost"] == 0


async def test_a_run_that_is_stopped_before_it_begins():
    async with serving(brief) as url, workers(2) as members:
        run = SharedRun(members, scenario(url, rate=20, seconds=30), "", None)
        run.stop()
        result = await run.run()
    assert result.interrupted
    assert result.tally.counts["whole"] == 0


@pytest.mark.slow
async def test_the_share_of_a_lost_process_is_lost(monkeypatch):
    monkeypatch.setattr("loadtest.crew.worker.PROGRESS", 0.05)
    async with serving(brief) as url, workers(2) as members, trio.open_nursery() as nursery:
        run = SharedRun(members, scenario(url, rate=60, seconds=1), "", None)

        async def lose():
            while run.figures.total.counts["whole"] < 10:  # noqa: ASYNC110
                await trio.sleep(0.01)
            await members[1].channel.aclose()

        nursery.start_soon(lose)
        result = await run.run()
    counts = result.tally.counts
    assert counts["lost"] > 0
    assert counts["whole"] + counts["lost"] == 60
    said = notes(result)
    assert said[0].startswith("process 2: it has exited, ")
    assert said[1] == f"{counts['lost']} requests are lost, so the figures do not cover the whole load."


# Members that are scripted: what a process may come to say, or not to say


@contextlib.asynccontextmanager
async def scripted(*scripts) -> AsyncIterator[list[CrewMember]]:
    """Members that do as their scripts say with each order."""
    async with trio.open_nursery() as nursery:
        members = []
        for number, script in enumerate(scripts):
            near, far = trio.testing.memory_stream_pair()
            nursery.start_soon(_play, MessageChannel(far, far), script)
            members.append(member(near, f"worker {number + 1}"))
        yield members
        nursery.cancel_scope.cancel()


async def _play(channel, script):
    while True:
        for report in script(await channel.receive()):
            await channel.send(report)


def obedient(order, late=0.0):
    match order:
        case Prepare():
            return [ShareReady()]
        case Begin(at):
            return [ShareBegun(at + late), Progress(RunFigures(), 3, 0)]
    return []


async def test_processes_begin_at_one_instant(autojump_clock):
    told = []

    def script(order):
        if isinstance(order, Begin):
            told.append(order.at)
        return obedient(order)

    async with scripted(script, script) as members:
        with trio.move_on_after(5):
            await SharedRun(members, scenario("http://a", rate=1), "", None).run()
    assert told[0] == pytest.approx(told[1])


async def test_the_spread_of_process_starts_is_reported(autojump_clock):
    """Both are lost in the end: they say nothing more."""
    for late, said in ((0.04, False), (0.07, True)):
        async with scripted(obedient, lambda order, late=late: obedient(order, late)) as members:
            result = await SharedRun(members, scenario("http://a", rate=1, seconds=30), "", None).run()
        assert result.overhead.apart == pytest.approx(late)
        assert ("The processes started 70 ms apart" in " ".join(notes(result))) is said


async def test_the_unfinished_answers_of_all_processes_are_visible(autojump_clock):
    def script(order):
        told = [Progress(RunFigures(), 2, 0, UnfinishedAnswers([0.1], [0.2, 0.3], 7))]
        return [*obedient(order)[:1], *told] if isinstance(order, Begin) else obedient(order)

    async with scripted(script, script) as members:
        run = SharedRun(members, scenario("http://h", rate=1, seconds=2), "", None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.run)
            await trio.sleep(1)
            assert run.unfinished() == UnfinishedAnswers([0.1, 0.1], [0.2, 0.3, 0.2, 0.3], 14)
            nursery.cancel_scope.cancel()


async def test_a_silent_process_is_lost_and_the_others_continue(autojump_clock):
    async with scripted(obedient, obedient) as members:
        result = await SharedRun(members, scenario("http://a", rate=2, seconds=30), "", None).run()
    assert result.tally.counts["lost"] == 60
    assert "worker 1: it has not responded for 15 s" in notes(result)[0]
    async with scripted(obedient) as members:
        result = await SharedRun(members, scenario("http://a", concurrency=9, seconds=30), "", None).run()
    assert result.tally.counts["lost"] == 3


async def test_a_share_that_cannot_be_prepared_is_reported_before_the_load(autojump_clock):
    def unable(order):
        return [ShareFailed("no address")] if isinstance(order, Prepare) else obedient(order)

    def silent(order):
        return [] if isinstance(order, Prepare) else obedient(order)

    for script, why in ((unable, "worker 2: no address"), (silent, "worker 2: it has not responded for 60 s")):
        async with scripted(obedient, script) as members:
            with pytest.raises(CrewFailed, match=why):
                await SharedRun(members, scenario("http://a", rate=1), "", None).run()


async def test_a_worker_also_reports_its_own_faults():
    async with workers(1) as members:
        run = SharedRun(members, scenario("http://127.0.0.1:9", rate=1), "", None)
        run.target = "a target that the plan does not have"
        with pytest.raises(CrewFailed, match=r"process 1: KeyError: .*, before the start of the load"):
            await run.run()
        with pytest.raises(CrewFailed, match=r"process 1: .*nowhere\.invalid.*, before the start of the load"):
            await SharedRun(members, scenario("http://nowhere.invalid", rate=1), "", None).run()


def test_records_that_have_no_room_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr("loadtest.crew.worker.MOST_ROWS", 2)
    sink = OutgoingRecords(reads_bodies=False)
    assert sink.take_all() is None
    for _ in range(5):
        sink.add(None, [], b"body")
    found = sink.take_all()
    assert found is not None
    assert (len(found.rows), found.dropped, found.rows[0].body) == (2, 3, b"")
    assert sink.take_all() is None
