"""Every command that a page tells a reader to type is run, as it stands there. ``documented`` finds them, ``tried`` has
what each is run with; a command that has no row there is a failure.

The commands of the README's sections Run and Test that install are run by ``.ci/run``, in a clean checkout.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest
import trio

from gateway.stores.sqlite import SqliteStore
from gateway.stores.store import Node
from tests.support import doc_blocks as documented
from tests.support.command_line import Started, demo, environment, run, started
from tests.support.doc_blocks import Command, commands, fenced
from tests.support.doc_commands import FOREIGN, RUNS, SERVES, Foreign, Row, Server, row_of, to_run
from tests.support.harness import ROOT, START_SECONDS, STOP_SECONDS, eventually, free_port, request
from tests.support.warm_start import TYPED_KEY, program

README = (ROOT / "README.md").read_text()
FOUND = commands()
GATEWAY, PROVIDER = "http://127.0.0.1:12000", "http://127.0.0.1:51001"
ASKED = {"model": "demo", "stream": True, "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
LITELLM = """
model_list:
  - {model_name: fast, litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}}
"""
TRIED = """
version: v0.3.0
listeners: [{type: model, name: models, port: 12000}]
model_providers: [{model: mistral/mock-small, access_key: any, base_url: "%s"}]
"""


# The tables and the pages


def of(kind: type[Row] | type[Server]) -> Any:
    """What is run for the commands of one table, each once, for ``parametrize``."""
    there = {to_run(command, row): row for command in FOUND if isinstance(row := row_of(command), kind)}
    return pytest.mark.parametrize(("command", "row"), there.items(), ids=[text[:60] for text in there])


def test_every_command_is_in_a_table():
    missing = [f"{command.text}   ({', '.join(command.places)})" for command in FOUND if row_of(command) is None]
    assert not missing, (
        "these are run by no test: give each a row in RUNS (it ends by itself), SERVES (it goes on) or, if it is "
        "another program's, FOREIGN of tests/support/doc_commands.py:\n" + "\n".join(missing)
    )


def test_every_row_is_for_a_command():
    used = {id(row_of(command)) for command in FOUND}
    assert [row.command for row in (*RUNS, *SERVES, *FOREIGN) if id(row) not in used] == []


@pytest.mark.parametrize("text", ["do `trigate frob FILE`", "```sh\ncd /tmp\n```", "| a | `just\n  frob` |"])
def test_a_command_is_found_wherever_it_stands(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{text}\n\nand `trigate` is no command.\n")
    (found,) = documented.typed(page)
    assert row_of(Command(found, ("page.md",))) is None


# A place to run them in


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Of what several commands begin with: a recording, a captured stream, a report, a store."""
    made: Path = tmp_path_factory.mktemp("kept")
    return made


@pytest.fixture(scope="module")
def served(folder) -> Iterator[Started]:
    with demo("--record", str(folder / "all")) as process:
        yield process


@pytest.fixture(scope="module")
def provider() -> Iterator[Started]:
    with started("mock", "--port", "0", "--pace", "0") as process:
        yield process


@pytest.fixture(scope="module")
def kept(folder, served, provider) -> Path:
    reply = request(served.url, "POST", "/v1/chat/completions", ASKED)
    eventually(lambda: [*(folder / "all").rglob("*-client.*.meta.json")], what="a recording")
    (folder / "kept").mkdir()
    (folder / "kept/stream.txt").write_bytes(reply.body)
    shutil.copytree(folder / "all", folder / "kept/records")
    load = ("load", provider.url, "--model", "demo", "-n", "40", "--json", str(folder / "kept/before.json"))
    assert run(*load).returncode == 0
    trio.run(filled, folder / "kept/state.sqlite")
    return folder / "kept"


async def filled(file: Path) -> None:
    store = SqliteStore(file, 3600, None)
    await store.put([Node("n", "", "response", b"{}")])
    await store.aclose()


SHIM = '#!/bin/sh\nexec {} "$@"\n'
STAND_IN = '#!/bin/sh\necho "$0 $*"\nenv | grep http || true\n'
JUST = f"""#!{sys.executable}
import os, pathlib, re, shlex, sys
text = pathlib.Path({str(ROOT / "justfile")!r}).read_text()
(line,) = re.findall(rf"^{{sys.argv[1]}}(?: [^\\n]*)?:\\n    (.*)$", text, re.M)
os.chdir({str(ROOT)!r})
line = line.replace("{{{{ARGS}}}}", shlex.join(sys.argv[2:]))
line = line.replace(".venv/bin/", {str(Path(sys.executable).parent)!r} + "/")
os.execvp("sh", ["sh", "-c", line])
"""
PROGRAM = "import os, sys\nprint(sys.argv, *(value for value in os.environ.values() if 'http' in value))\n"


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Path:
    """A directory of programs: ours from this checkout, others' as stand-ins that show how they were started."""
    folder: Path = tmp_path_factory.mktemp("bin")
    ours = {"hypercorn": "-m hypercorn", "python": ""}
    shims = {name: SHIM.format(f"{sys.executable} {what}") for name, what in ours.items()}
    others = dict.fromkeys(("claude", "codex", "opencode", "aider", "gemini", "node"), STAND_IN)
    peer = f'#!/bin/sh\nexec {sys.executable} {ROOT / "bench/peer.py"} provide "$2"\n'
    for name, text in {**shims, **others, "trigate": program()[0], "just": JUST, "COMMAND": peer}.items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
    return folder


@attrs.frozen
class Desk:
    """Where one command is typed: a directory with what the placeholders of the pages stand for, and a shell."""

    path: Path
    process: "subprocess.Popen[str]"


Desks: TypeAlias = Callable[[str], contextlib.AbstractContextManager[Desk]]


@pytest.fixture(scope="module")
def desks(
    tmp_path_factory, kept, served, provider, programs
) -> Callable[[str], contextlib.AbstractContextManager[Desk]]:
    """A new one for each command, which ends with all that it has started when the desk is left."""
    env = environment({
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "ROOT": str(ROOT),
        "OPENAI_API_KEY": TYPED_KEY, "ANTHROPIC_API_KEY": "sk-two",
    })  # fmt: skip

    def here(text: str) -> str:
        return text.replace(GATEWAY, served.url).replace(PROVIDER, provider.url)

    @contextlib.contextmanager
    def desk(command: str) -> Iterator[Desk]:
        path = tmp_path_factory.mktemp("desk")
        furnish(path, kept, here)
        process = subprocess.Popen(
            ["sh", "-c", here(command)], cwd=path, env={**env, "HOME": str(path / "home")}, start_new_session=True,
            text=True, encoding="utf-8", errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=[program()[1]],
        )  # fmt: skip
        try:
            yield Desk(path, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    return desk


def furnish(path: Path, kept: Path, here: Callable[[str], str]) -> None:
    written = fenced(README, "yaml")[0]
    scenario = next(text for text in fenced((ROOT / "docs/load.md").read_text(), "yml") if "targets:" in text)
    for name, text in {
        **dict.fromkeys(("trigate.yaml", "plano_config.yaml", "OLD.yaml"), written),
        "NEW.yaml": written.replace("gpt-4o-mini", "gpt-4.1-mini"),
        "litellm_config.yaml": LITELLM,
        "keys.csv": f"token,key_alias,models\n{'0a' * 32},team,{{}}\n",
        "teams.csv": "team_id,team_alias,models\nt,red,{fast}\n",
        "tried.yaml": TRIED % here(PROVIDER),
        "scenario.yml": re.sub(r"\b\d+s\b", "0.3s", here(scenario)).replace("4kB", "1MB").replace("500ms", "30s"),
        "request.json": json.dumps(ASKED),
        "app.py": PROGRAM,
    }.items():
        (path / name).write_text(text)
    (path / "empty").mkdir()
    shutil.copytree(kept, path, dirs_exist_ok=True)


def check_what_it_leaves(path: Path, leaves: tuple[str, str] | None) -> None:
    if leaves is not None:
        glob, pattern = leaves
        texts = [file.read_text(errors="replace") for file in path.glob(glob) if file.is_file()]
        assert any(re.search(pattern, text) for text in texts), f"no {glob} with {pattern}"


@pytest.fixture(scope="module")
def ended(request, desks) -> Iterator[Mapping[str, "Future[tuple[int, str, Path]]"]]:
    """What becomes of each command that is to be tested now: exit status, output, directory. Two at a time, for they
    mostly wait."""

    def run(command: str) -> tuple[int, str, Path]:
        with desks(command) as desk:
            out, _ = desk.process.communicate(timeout=2 * START_SECONDS)
            return desk.process.returncode, out, desk.path

    wanted = [item.callspec.params["command"] for item in request.session.items
              if getattr(item, "originalname", "") == test_it_ends_as_it_should.__name__]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        yield {command: pool.submit(run, command) for command in wanted}


COUNTED = re.compile(r"(\d+) requests? begun, .* (\d+) errors?")


def all_failed(out: str) -> list[str]:
    """What a load test says of each server, and of each kind of request, whose requests have all failed: those of
    another one beside it may be whole."""
    return [found[0] for found in COUNTED.finditer(out) if 0 < int(found[1]) == int(found[2])]


def test_a_load_all_of_whose_requests_fail_is_seen_beside_one_that_is_whole():
    good, empty, bad = (
        "5 requests begun, 5 whole answers, 0 errors",
        "0 requests begun, 0 whole answers, 0 errors",
        "5 requests begun, 0 whole answers, 5 errors",
    )
    assert all_failed(f"gateway\n  {bad}\nprovider\n  {good}, 1 unfinished\n  kind: {empty}\n") == [bad]


@pytest.mark.process
@of(Row)
def test_it_ends_as_it_should(command, row, ended):
    for needed in re.findall(r"\b(sqlite3|curl|openssl) ", command):
        if shutil.which(needed) is None:
            pytest.skip(f"needs {needed}")
    status, out, path = ended[command].result()
    assert status == row.status, out
    assert [pattern for pattern in row.says if not re.search(pattern, out, re.M)] == [], out
    assert bool(all_failed(out)) == row.all_fail, out
    check_what_it_leaves(path, row.leaves)


@pytest.mark.process
@of(Server)
def test_it_serves_until_it_is_stopped(command, row, desks):
    port = free_port()
    with desks(f"exec env {command}".replace("PORT", str(port))) as desk:
        eventually(lambda: re.search(row.says, answer(desk.process, port, row.asks)), START_SECONDS, row.says)
        eventually(lambda: row.leaves is None or [*desk.path.glob(row.leaves[0])])
        check_what_it_leaves(desk.path, row.leaves)
        desk.process.send_signal(signal.SIGTERM)
        out, _ = desk.process.communicate(timeout=STOP_SECONDS)
    assert "Traceback" not in out


@pytest.mark.process
def test_what_is_started_at_a_desk_is_given_its_input_and_ends_with_the_desk(desks):
    port = free_port()
    with desks(f"trigate lint --tolerant - < stream.txt && trigate mock --port {port}") as desk:
        eventually(lambda: answer(desk.process, port, "demo"), START_SECONDS)
    with pytest.raises(ConnectionRefusedError):
        request(f"http://127.0.0.1:{port}", "GET", "/v1/models")


def answer(process: "subprocess.Popen[str]", port: int, asks: str) -> str:
    """What it says to a request, "" until it listens."""
    assert process.poll() is None, process.communicate()[0]
    method, path, body = ("GET", asks, None) if asks.startswith("/") else ("POST", "/v1/chat/completions", ASKED)
    try:
        reply = request(f"http://127.0.0.1:{port}", method, path, body and {**body, "model": asks})
    except OSError:
        return ""
    return f"{reply.status}\n{reply.body.decode()}"


@pytest.mark.process
@pytest.mark.parametrize("command", [command for command in FOUND if isinstance(row_of(command), Foreign)],
                         ids=lambda command: command.text[:60])  # fmt: skip
def test_what_is_not_run_is_right_as_far_as_can_be_seen(command):
    row = row_of(command)
    assert isinstance(row, Foreign)
    found = re.fullmatch(row.command, command.text)
    assert found is not None
    row.looked(found)
