"""What the load tester says of a run: conditions, files, comparisons, and the command line."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import threading
from html.parser import HTMLParser

import attrs
import pytest
import trio
from rich.console import Console

from gateway.__main__ import main
from loadtest.exchange.judging import ReceivedAnswer, StreamVerdict, open_judge
from loadtest.figures.conditions import parse_condition
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline
from loadtest.reports import live, text
from loadtest.reports import report_file as report
from loadtest.reports.page import page
from loadtest.reports.report_file import InvalidReport
from loadtest.run.overhead import self_test
from tests.support.cases import case
from tests.support.command_line import COMMAND, environment, run, running_command
from tests.support.harness import PATIENCE, ROOT, eventually
from tests.support.load_servers import HEAD, answer, chunk, events, load, prepared, scenario, serving


async def sometimes(stream, head):
    if b"x-refused" in head:
        await stream.send_all(b"HTTP/1.1 503 No\r\ncontent-length: 13\r\n\r\n<b>later</b> ")
    else:
        await answer(stream, "one", " two", " three", pause=0.01)


async def made(**more):
    async with serving(sometimes) as url:
        return await load(url, rate=20, seconds=0.5, **more)


@pytest.fixture(scope="module")
def good():
    return trio.run(made)


@pytest.fixture(scope="module")
def bad():
    async def load_bad():
        return await made(headers={"x-refused": "1"})

    return trio.run(load_bad)


# --fail-if


@pytest.mark.parametrize("condition", ["ttft.p95<60s", "gap.max > 1ms", "errors<=0", "whole>=100%", "rate>19.5",
                                       "throughput>1", "tokens_per_second.mean<1000", "duration.p99.9>=20ms",
                                       "started < 11"])  # fmt: skip
def test_a_true_fail_if_condition_fails_the_run(good, condition):
    assert parse_condition(condition).failure(good).startswith(f"{condition}: it is ")


@pytest.mark.parametrize("condition", ["ttft.p95>60s", "errors>0", "not_whole>1%", "gap.min<0.000001us", "rate>21"])
def test_a_false_fail_if_condition_passes_the_run(good, condition):
    assert parse_condition(condition).failure(good) is None


def test_a_condition_on_an_unmeasured_figure_fails(bad):
    assert parse_condition("ttft.p95>60s").failure(bad) == "ttft.p95>60s: nothing was measured"
    assert parse_condition("errors>50%").failure(bad) == "errors>50%: it is 100 %"


# Files


def test_a_report_is_read_as_it_was_written(good, tmp_path):
    file = tmp_path / "good.json"
    file.write_bytes(report.dump([good]))
    (read,) = report.load(file)
    assert report.dump([read]) == file.read_bytes()
    assert text.summary(read) == text.summary(good)


def test_a_foreign_report_is_shown_without_terminal_controls(bad, tmp_path):
    escaped = b'"target": "\\u001b[2J\\u009b31m\\u202e\\n  goodput 100 %"'
    written = report.dump([bad])
    assert b'"target": ""' in written
    file = tmp_path / "evil.json"
    file.write_bytes(
        written.replace(b'"target": ""', escaped).replace(b'"example": "', b'"example": "\\u001b]0;x\\u0007')
    )
    (read,) = report.load(file)
    said = f"{text.summary(read)}\n{text.comparison([read, read])}"
    assert all(line.isprintable() and not line.startswith("  goodput 100 %") for line in said.splitlines())
    assert "\\x1b]0;x\\x07" in said


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"format": 1, "runs": [{}]}', b'{"format": 1, "runs": 3}'])
def test_a_file_that_is_no_report_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InvalidReport, match=r"x\.json is not a report"):
        report.load(tmp_path / "x.json")
    with pytest.raises(InvalidReport, match=r"nowhere\.json: cannot be read: no such file"):
        report.load(tmp_path / "nowhere.json")


def test_two_reports_are_shown_side_by_side_with_their_ratio(good):
    slower = attrs.evolve(good, seconds=good.seconds * 2)
    lines = text.comparison(report.side_by_side([good], [slower], ("before", "after"))).splitlines()
    assert lines[0].split() == ["before", "after"]
    assert lines[1].split() == ["requests", "begun", "a", "second", "20", "10", "×0.50"]
    assert any(line.startswith("time to the first token, p99") and line.endswith("×1.00") for line in lines)


def test_reports_of_several_loads_are_put_side_by_side_too(good, tmp_path, capsys):
    """Their runs have labels, which a load tells of in a table of its own."""
    files = tmp_path / "a.json", tmp_path / "b.json"
    for file in files:
        file.write_bytes(report.dump([attrs.evolve(good, label="5/s"), attrs.evolve(good, label="10/s")]))
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["load", "--compare", *map(str, files)])
    assert "requests begun a second" in capsys.readouterr().out


def test_reports_of_several_targets_are_compared_target_by_target(good):
    one, other = attrs.evolve(good, target="one"), attrs.evolve(good, target="other")
    found = report.side_by_side([one, other], [one, other], ("a", "b"))
    assert [run.name for run in found] == ["one a", "one b", "other a", "other b"]
    assert len({run.name for run in report.side_by_side([good], [good], ("same", "same"))}) == 2


class Elements(HTMLParser):
    """The elements that are open, and all attributes."""

    VOID = ("meta", "br", "path", "circle")

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.names = [], [], []

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.names.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_needs_nothing_from_elsewhere_and_is_well_formed(good, bad):
    runs = report.side_by_side([good], [bad], ("good", "bad"))
    html = page(runs, ["bad: ttft.p95>1s: nothing was measured"])
    found = Elements()
    found.feed(html)
    assert found.open == []
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(found.names)
    assert not {"src", "href", "data", "action", "xlink:href"} & {name for name, _ in found.attributes}
    assert not re.search(r"url\(|@import|@font-face", html)
    assert found.names.count("figure") >= 8
    assert "nan" not in re.sub(r"<details>.*?</details>", "", html, flags=re.S).lower()


def test_a_target_keeps_its_colour_where_another_has_no_data(good, bad):
    """The one without first tokens has no line, and does not leave its colour to the next."""
    runs = [attrs.evolve(run, target=name) for name, run in (("gateway", bad), ("provider", good))]
    shared = page(runs).partition("<h2>Distributions")[2].partition("<h2>")[0]
    figures = re.findall(r"<figure>.*?</figure>", shared, flags=re.S)
    colours = [re.findall(r'class="s(\d)" d="M0 4H24"/></svg>(\w+)<', figure) for figure in figures]
    assert len(colours) == 4
    assert all(found == [("1", "provider")] for found in colours)


def test_the_page_says_what_failed_and_repeats_no_markup_of_a_server(bad):
    html = page([bad], ["ttft.p95>1s: nothing was measured"])
    assert 'role="alert">Failed: ttft.p95&gt;1s: nothing was measured' in html
    assert "status 503" in html
    assert "<b>later" not in html
    assert "&lt;b&gt;later&lt;/b&gt;" in html


def test_the_page_is_for_light_and_dark(good):
    assert "prefers-color-scheme: dark" in page([good])


def test_a_run_in_which_nothing_ended_can_be_shown(good):
    seen = {"seconds": 0, "elapsed": 0, "interrupted": True, "tally": Tally(), "timeline": LoadTimeline()}
    empty = attrs.evolve(good, target="", requests={}, turns={}, steps={}, **seen)
    assert "Nothing was measured" in page([empty])
    assert "nothing was measured" in text.summary(empty)
    assert text.comparison([empty, good])


# The loader itself


async def test_its_own_cost_is_measured():
    found = await self_test()
    assert 0 < found.stream < 0.1
    assert 0 < found.event < 0.01
    assert 0 < found.delay_p50 <= found.delay_p99


@pytest.mark.process
async def test_another_process_judges_and_if_it_dies_this_one_does():
    async with open_judge(strict=True) as judge:
        assert await judge(ReceivedAnswer("chat", True, None, b"")) == StreamVerdict(
            "cut", "chat.end", "the stream ends in state open"
        )
        judge._process.kill()
        await judge._process.wait()
        for _ in range(3):
            assert (await judge(ReceivedAnswer("chat", True, None, b""))).outcome == "cut"


@pytest.mark.process
async def test_answers_that_a_slow_judge_keeps_waiting_are_bounded():
    waiting, found = trio.Event(), []
    whole = ReceivedAnswer("chat", True, None, b"".join(events("one")))

    async with open_judge(strict=False, most=len(whole.body)) as judge, trio.open_nursery() as nursery:

        async def wait():
            waiting.set()
            found.append(await judge(whole))

        judge._process.send_signal(signal.SIGSTOP)
        nursery.start_soon(wait)
        await waiting.wait()
        with trio.fail_after(PATIENCE):
            assert (await judge(whole)).outcome == "complete"  # here, concurrent requests
        assert found == []
        judge._process.send_signal(signal.SIGCONT)
    assert [verdict.outcome for verdict in found] == ["complete"]


@pytest.mark.process
async def test_the_display_is_drawn_while_a_run_continues_and_leaves_nothing_behind():
    screen = Console(width=80, height=40, force_terminal=True, file=io.StringIO())
    async with serving(sometimes) as url, trio.open_nursery() as nursery:
        running = await prepared(scenario(url, rate=20, seconds=60, headers={"x-refused": "1"}))
        nursery.start_soon(live.TerminalTable(screen, every=0.05).watch, running)
        nursery.start_soon(running.run)
        with trio.fail_after(PATIENCE):
            while "× status 503, waiting for first byte" not in screen.file.getvalue():  # noqa: ASYNC110  # a picture
                await trio.sleep(0.02)
        running.stop()
        nursery.cancel_scope.cancel()
    drawn = screen.file.getvalue()
    assert "0 of 60 s" in drawn
    assert f"{running.figures.total.counts['error']} × status 503" in drawn_at_last(running)
    assert drawn.rstrip().endswith("\x1b[2K")  # the last line is wiped


def test_lines_are_written_where_nothing_can_be_drawn():
    """A pipe, a dumb terminal, or who asks for no colours (no-color.org)."""

    class OnTerminal(io.StringIO):
        def isatty(self):
            return True

    for out, environ, shown in (
        (OnTerminal(), {"TERM": "xterm"}, live.TerminalTable),
        (OnTerminal(), {"TERM": "dumb"}, live.PlainLines),
        (OnTerminal(), {"TERM": "xterm", "NO_COLOR": "1"}, live.PlainLines),
        (io.StringIO(), {"TERM": "xterm"}, live.PlainLines),
    ):
        assert type(live.choose_screen(out, environ)) is shown, environ


async def never_ending(stream, head):
    await stream.send_all(HEAD + chunk(b"".join(events("one")[:2])))
    await trio.sleep_forever()


async def test_the_first_tokens_of_answers_that_continue_are_shown():
    async with serving(never_ending) as url, trio.open_nursery() as nursery:
        running = await prepared(scenario(url, concurrency=3, seconds=60))
        nursery.start_soon(running.run)
        with trio.fail_after(PATIENCE):
            while not re.search(r"first token .* 3\b", shown := drawn_at_last(running)):  # noqa: ASYNC110  # a picture
                await trio.sleep(0.02)
        assert re.search(r"first byte .* 3\b", shown)
        assert "3 under way, 0 ended" in shown
        assert "first token p50" in live.status_line(running)
        running.stop()


def drawn_at_last(running) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(live.status_table(running))
    return console.file.getvalue()


# The command


@pytest.fixture(scope="module")
def mock():
    with running_command("mock", "--port", "0", "--pace", "0") as process:
        yield process.url


@pytest.mark.process
def test_the_command_measures_writes_and_fails_by_its_conditions(mock, tmp_path, capsys):
    names = {name: str(tmp_path / f"a.{name}") for name in ("json", "html", "csv", "log")}
    files = [word for name, file in names.items() for word in (f"--{name}", file)]
    plan = (
        "--model",
        "mock-small",
        "--rate",
        "10",
        "--seconds",
        "1",
        "--fail-if",
        "errors>0",
        "--fail-if",
        "ttft.p50>1us",
    )
    found = run(
        "load",
        f"one={mock}",
        f"two={mock}/v1",
        *plan,
        *files,
        *(
            "--log-events",
            "--log-bodies",
            "all",
            "--percentiles",
            "50,99.9",
            "--otlp",
            "http://me:p4ssw0rd@127.0.0.1:1",
        ),
        "--key-env",
        "OPENAI_API_KEY",
        env={"OPENAI_API_KEY": "sk-never-shown"},
    )
    assert found.returncode == 1, found.stderr
    assert "10 requests begun, 10 whole answers, 0 errors" in found.stdout
    assert "failed: one: ttft.p50>1us: it is " in found.stderr
    assert "errors>0" not in found.stderr
    assert "using the key in $OPENAI_API_KEY" in found.stderr
    everything = found.stdout + found.stderr + "".join(file.read_text() for file in tmp_path.iterdir())
    assert "sk-never-shown" not in everything
    assert "p4ssw0rd" not in everything
    lines = [json.loads(line) for line in (tmp_path / "a.log").read_text().splitlines()]
    assert [sum(line["target"] == name for line in lines) for name in ("one", "two")] == [10, 10]
    assert all(line["end"] == "whole" and line["events"] and "data: " in line["body"] for line in lines)
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["log"] == "a.log"
    ttft = report["runs"][0]["total"]["measures"]["ttft"]
    rows = {
        (row["target"], row["kind"], row["name"]): row
        for row in csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    }
    assert float(rows["one", "", "ttft_seconds"]["p99.9"]) == pytest.approx(ttft["p99.9"], abs=1e-6)
    assert rows["two", "", "whole"]["value"] == "10"
    assert re.search(r"p50 +p99.9 +max +count", found.stdout)
    assert "pushes of metrics to http://***@127.0.0.1:1/v1/metrics (OTLP)" in report["runs"][1]["notes"][0]
    assert "were lost: nothing is listening there" in found.stdout
    assert "\x1b[" not in everything  # no terminal, no colours
    assert [one["target"] for one in json.loads((tmp_path / "a.json").read_text())["runs"]] == ["one", "two"]
    compared = ["load", "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json"), "--fail-if"]
    assert status_of(*compared, "errors>0") == 0
    assert "×1.00" in capsys.readouterr().out
    assert status_of(*compared, "ttft.p50>1us") == 1


def status_of(*args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(args))
    return caught.value.code


@pytest.mark.process
def test_ctrl_c_ends_it_early_with_a_report(mock, tmp_path):
    file = tmp_path / "plan.yml"
    file.write_text(f"url: {mock}\nrate: 20\nseconds: 10m\nrequests: [{{model: mock-small}}]\n")
    command = [*COMMAND, "load", str(file), "--json", "-"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        said = []
        eventually(lambda: said.append(process.stderr.readline()) or b"evenly spaced" in said[-1])
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    (only,) = json.loads(out)["runs"]
    assert only["interrupted"]
    assert only["seconds"] < 600


@pytest.mark.filterwarnings("ignore:unclosed file")  # Ctrl-C may come between opening and reading
def test_ctrl_c_before_there_is_a_load_has_the_same_status(tmp_path, capsys):
    plan = tmp_path / "plan.yml"
    os.mkfifo(plan)  # of which it waits for the end

    def interrupt():
        with plan.open("w"):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert status_of("load", str(plan)) == 130
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "interrupted; no report\n"


def test_an_impossible_load_is_refused_with_the_reason(capsys):
    for args, said in [
        ((), "no URL given; add one"),
        (("http://127.0.0.1:1",), "--model: missing, and http://127.0.0.1:1/v1/models did not return"),
        (("127.0.0.1:1", "--model", "m"), "127.0.0.1:1: http:// is missing; did you mean http://127.0.0.1:1?"),
        (("127.0.0.1:1",), "127.0.0.1:1: http:// is missing; did you mean http://127.0.0.1:1?"),
        (("localhost:1/v1", "--model", "m"), "did you mean http://localhost:1/v1?"),
        (("host.example/v1", "--model", "m"), "did you mean http://host.example/v1?"),
        (("one=127.0.0.1:1", "--model", "m"), "did you mean one=http://127.0.0.1:1?"),
        (("ftp://x", "--model", "m"), "ftp://x: this URL scheme is not supported; give a URL with http:// or https://"),
        (("a=ftp://u:p4ss@x",), "a=ftp://***@x: this URL scheme is not supported"),
        (("localhost", "--model", "m"), "localhost: this is neither a file nor a URL; did you mean http://localhost?"),
        (("a=gateway.example",), "a=gateway.example: this is neither a file nor a URL; did you mean a=http://gateway.exa"),
        (("http://127.0.0.1:65536", "--model", "m"), "'http://127.0.0.1:65536'; its port must be 1 to 65535"),
        (("127.0.0.1:1?key=p4ss",), "did you mean http://127.0.0.1:1?key=***?"),
        (("http://127.0.0.1:1", "--model", "m", "--rate", "1", "--respect-retry-after"),
         "--respect-retry-after: respect_retry_after works only with concurrency; remove it"),
        (("http://127.0.0.1:1", "--model", "m", "-n", "0"), "-n: 0; expected a number of requests, 1 to"),
        (("http://127.0.0.1:1", "--model", "m", "--max-tokens", "many"), "expected a number of tokens, such as"),
        (("http://127.0.0.1:1", "--model", "m", "--slo", "ttft<500"), "--slo: 'ttft<500': no unit, but a time"),
        (("http://127.0.0.1:1", "--model", "m", "--until", "rate>5"), "rate is known only at the end"),
        (("http://127.0.0.1:1", "--model", "m", "--find-rate", "--until", "errors>5%"), "does not work with a search"),
        (("http://127.0.0.1:1", "--model", "m", "--fail-if", "chat n: errors>0"),
         "--fail-if: chat n is neither a target nor a kind of request; did you mean chat m?"),
        (("http://127.0.0.1:1", "--model", "m", "--junit", "x.xml"), "there are no conditions to report"),
        (("http://127.0.0.1:1", "--model", "m", "--seconds", "soon"), "--seconds: 'soon'; expected a duration"),
        (("nowhere/plan.d/nowhere.yml",), "nowhere/plan.d/nowhere.yml: cannot be read"),
        (("nowhere.yml",), "nowhere.yml: cannot be read: no such file"),
        (("README.md", "--model", "m"), "README.md: these options do not work with a scenario: model"),
        (("http://127.0.0.1:1", "--model", "m", "--fail-if", "ttft"), "'ttft': this is not a condition"),
        (("http://127.0.0.1:1", "--model", "m", "--key-env", "NOT_SET"), "the environment variable NOT_SET is not set"),
        (("http://127.0.0.1:1", "--model", "m", "--html", "/nowhere/x.html"), "/nowhere/x.html: the file cannot"),
        (("a=http://127.0.0.1:1", "a=http://127.0.0.1:2", "--model", "m"), "two targets have the name a"),
        (("http://127.0.0.1:1", "--model", "m", "--log", "/nowhere/x.jsonl"), "/nowhere/x.jsonl: the file cannot"),
        (("http://127.0.0.1:1", "--model", "m", "--log-events"), "--log-events: it has no effect without --log"),
        (("http://127.0.0.1:1", "--model", "m", "--as", "vllm"), "--as: it has no effect without --json FILE"),
        (("http://127.0.0.1:1", "--model", "m", "--json", "-", "--csv", "-"), "-: two outputs use the same file"),
        (("http://127.0.0.1:1", "--model", "m", "--percentiles", "50,101"), "--percentiles: '50,101';"),
        (("http://127.0.0.1:1", "--model", "m", "--otlp", "me:p4ss@host"), "--otlp: the URL is not valid"),
        (("http://[::1", "--model", "m"), "http://[::1: the URL is not valid; write IPv6 addresses like http://[::1]:8000"),
        (("http://u:p4ss@h", "--model", "m"), "a URL with a user name; set the key with --key-env NAME"),
        (("http://h/#x?p4ss", "--model", "m"), "the URL has a fragment (#…); remove it"),
        (("http://a..b", "--model", "m"), "a..b is not a valid host name"),
        (("http://127.0.0.1:1", "--model", "m", "--key-env", ""), "key_env: the variable name is empty; give"),
        (("http://127.0.0.1:1", "--model", "m", "--rate", "1", "--repeat", "0"), "--repeat: 0; expected above 0"),
        (("http://127.0.0.1:1", "--model", "m", "--find-rate", "--max-rate", "0"), "--max-rate: 0; expected above"),
        (("http://127.0.0.1:1", "--model", "m", "--poisson", "--concurrency", "2"), "--poisson: spacing does not work"),
        (("http://127.0.0.1:1", "--model", "m", "--api", "responses", "--websocket", "--http", "2"),
         "--http: 2 does not work with WebSockets; remove one of them"),
        (("http://127.0.0.1:1", "--model", "m", "--api", "embeddings", "--exact"), "exact does not work with"),
        (("http://127.0.0.1:1", "--requests", "synthetic", "--prompt", "5"), "prompt does not work with requests"),
        (("http://127.0.0.1:1", "--rate", "5", "--self-test"), "it does not work with http://127.0.0.1:1, --rate"),
        (("http://127.0.0.1:1", "--requests", ""), "--requests: the path is empty; give the path of a file"),
        (("http://127.0.0.1:1", "--model", "m", "--trace", ""), "--trace: the path is empty; give the path of a file"),
        *(
            (("http://127.0.0.1:1", "--model", "m", option, ""), f"'{option}': the path is empty: give the path")
            for option in ("--json", "--html", "--junit", "--csv", "--log")
        ),
        (("--compare", "a", "b", "-n", "5"), "--compare: it does not work with -n"),
    ]:  # fmt: skip
        with case((args, said)):
            assert status_of("load", *args) == 2
            found = capsys.readouterr().err
            assert said in found
            assert "p4ss" not in found


def test_all_mistakes_in_options_and_scenario_are_reported_together(tmp_path, capsys):
    assert status_of("load", "http://127.0.0.1:1", "--seconds", "-3", "--fail-if", "ttft", "--fail-if", "foo>1",
                     "--rate", "1", "--concurrency", "0") == 2  # fmt: skip
    found = capsys.readouterr().err
    assert found.startswith("5 mistakes:\n  --fail-if: 'ttft': this is not a condition; write a")
    for said in ("--fail-if: 'foo>1': foo is", "--seconds: '-3'", "--model: missing", "--concurrency: 0; expected"):
        assert said in found
    file = tmp_path / "plan.yml"
    file.write_text("url: http://127.0.0.1:1\nrate: 1\nrequests: [{model: m}]\nfail_if: [ttft]\n")
    assert status_of("load", str(file), "--fail-if", "foo>1") == 2
    found = capsys.readouterr().err
    assert "--fail-if: 'foo>1': foo is not measured" in found
    assert f"{file}:4:11: fail_if[0]: 'ttft': this is not a condition" in found
