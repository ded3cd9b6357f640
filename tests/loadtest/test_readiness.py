"""One request before a load, and what is said where it is not answered."""

import contextlib
import json
import queue
import threading

import pytest
import trio

from gateway.__main__ import main
from loadtest.run.readiness import NotReady, wait_until_ready
from tests.support.harness import PATIENCE
from tests.support.load_servers import answer, load, prepared, scenario, serving


async def asked(plan, target=""):
    return await (await prepared(plan)).run()


def refusing(times, status=b"404 No"):
    seen = []

    async def serve(stream, head):
        seen.append(head)
        if len(seen) <= times:
            said = b'{"error": {"message": "The model m does not exist"}}'
            await stream.send_all(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(said), said))
        else:
            await answer(stream, "word")

    return serve, seen


async def test_a_check_asks_once_and_says_what_was_answered():
    serve, seen = refusing(1000)
    async with serving(serve) as url:
        try:
            await wait_until_ready(scenario(url, rate=100, seconds=60), "", 0.0, asked)
        except NotReady as error:
            said = str(error)
    assert said == f"{url}: not ready: chat m: status 404, waiting for first byte: The model m does not exist"
    assert len(seen) == 1


async def test_each_requested_kind_is_tried_as_a_plain_request():
    kinds = [
        {"model": "m", "cancel": {"share": 1, "after": 0}},
        {"model": "n", "turns": 3},
        {"model": "o", "weight": 0},
    ]
    serve, seen = refusing(0)
    async with serving(serve) as url:
        assert await wait_until_ready(scenario(url, kinds, rate=100, seconds=60, warmup="5s"), "", 0.0, asked) is None
    assert len(seen) == 2


async def test_a_server_that_starts_is_waited_for():
    """vLLM's benchmark waits likewise: a model takes minutes to load."""
    serve, seen = refusing(1, b"503 Later")
    async with serving(serve) as url:
        assert await wait_until_ready(scenario(url, rate=100, seconds=60), "", 20.0, asked) is None
        run = await load(url, rate=100, count=3)
    assert len(seen) == 5
    assert run.tally.counts["started"] == 3  # what was asked before is in no figure


@pytest.mark.process
def test_the_command_checks_refuses_and_ends_with_2(capfd):
    serve, seen = refusing(10**6, b"401 No")
    with in_a_thread(serve) as url:
        checked = command(url, "--check", "--rate", "1000")
        asked_once = len(seen)
        refused = command(url, "--rate", "100", "--seconds", "60")
    assert (checked, refused) == (2, 2)
    assert asked_once == 1
    assert len(seen) < 500
    shown = capfd.readouterr()
    assert "not ready: chat m: status 401, waiting for first byte: The model m does not exist" in shown.err
    assert "load sent no key: give the variable" in shown.err
    assert (
        "ended early: the server rejected all of the first 20 requests: status 401: The model m does not exist"
        in unbroken(shown.out)
    )


@pytest.mark.process
def test_a_command_without_its_server_exits_with_2_and_a_message(capfd):
    """A pipeline that loaded nothing has shown nothing."""
    status = command("http://127.0.0.1:1", "--rate", "100", "-n", "3")
    shown = capfd.readouterr()
    assert status == 2
    assert "failed: http://127.0.0.1:1: no request got a connection: refused" in shown.err
    assert "3 requests begun, 0 whole answers, 3 errors" in shown.out


@pytest.mark.process
def test_a_command_without_its_server_ends_long_before_its_time(capfd):
    status = command("http://127.0.0.1:1", "--rate", "50", "--seconds", "600")
    shown = capfd.readouterr()
    assert status == 2
    assert "ended early: none of the first 5 requests got a connection: refused" in unbroken(shown.out)


@pytest.mark.process
def test_a_command_that_is_stopped_early_has_its_whole_report(capfd, tmp_path):
    serve, seen = refusing(10**6, b"500 No")
    files = {name: tmp_path / f"load.{name}" for name in ("json", "xml")}
    with in_a_thread(serve) as url:
        stopped = command(url, "--rate", "100", "--seconds", "60", "--until", "errors>5%", "--fail-if", "goodput<99%",
                          "--json", str(files["json"]), "--junit", str(files["xml"]))  # fmt: skip
        said = capfd.readouterr()
        spent = command(url, "--rate", "100", "--seconds", "60", "--max-tokens", "300")
    assert (stopped, spent) == (1, 0)
    assert len(seen) < 1000
    assert "ended early: errors>5%: it is 100 % in the last" in unbroken(said.out)
    assert f"failed: {url}: errors>5%: it is 100 %\nfailed: {url}: goodput<99%: it is 0 %\n" in said.err
    assert "of 300 tokens are used (--max-tokens)" in unbroken(capfd.readouterr().out)
    (run,) = json.loads(files["json"].read_text())["runs"]
    assert run["stopped"].startswith("errors>5%: it is 100 % in the last")
    assert run["total"]["counts"]["error"] >= 20
    assert 'failures="2"' in files["xml"].read_text()


def unbroken(text):
    """Without the breaks of its lines."""
    return " ".join(text.split())


def command(url, *options):
    with pytest.raises(SystemExit) as done:
        main(["load", url, "--model", "m", *options], prog_name="trigate")
    return done.value.code


@contextlib.contextmanager
def in_a_thread(serve):
    """The URL of a server in another thread: the command has signals to wait for, in this one."""
    urls = queue.SimpleQueue()

    async def run():
        async with serving(serve) as url:
            urls.put((url, trio.lowlevel.current_trio_token(), over := trio.Event()))
            await over.wait()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    url, token, over = urls.get(timeout=PATIENCE)
    try:
        yield url
    finally:
        token.run_sync_soon(over.set)
        thread.join()
