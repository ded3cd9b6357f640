"""Every command that a page tells a reader to type is run, as it stands there. ``documented`` finds them, ``tried`` has
what each is run with; a command that has no row there is a failure.

The commands of the README's sections Run and Test that install are run by ``.ci/run``, in a clean checkout.
"""

import contextlib
import glob
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest
import trio

from gateway.stores.sqlite import SqliteStore
from gateway.stores.store import Node
from tests.support import doc_blocks as documented
from tests.support.command_line import environment, invoke
from tests.support.doc_blocks import Command, blocks_in, commands
from tests.support.doc_commands import FOREIGN, RUNS, SERVES, Foreign, Row, Server, row_of, to_run
from tests.support.gateway_thread import demo_thread, mock_thread
from tests.support.harness import ROOT, START_SECONDS, STOP_SECONDS, Gateway, eventually, free_port, request
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
version: v0.4.0
listeners: [{type: model, name: models, port: 12000}]
model_providers: [{model: mistral/mock-small, access_key: any, base_url: "%s"}]
"""
COSTS = """
version: v0.4.0
state_storage: {type: sqlite, path: state.sqlite}
model_providers: [{model: openai/gpt-5, access_key: $NO_KEY}]
"""
ALICE = """
version: v0.4.0
client_keys: [{name: alice, sha256: "%s", budgets: [20 usd/day]}]
model_providers: [{model: openai/gpt-5, access_key: x}]
"""


# The tables and the pages


def lines_of(kind: type[Row] | type[Server]) -> dict[str, Any]:
    """What is run for the commands of one table, each once, with its row."""
    return {to_run(command, row): row for command in FOUND if isinstance(row := row_of(command), kind)}


def each(lines: Mapping[str, Any]) -> Any:
    """Return a case for each line. The gate has the first line of each row."""
    firsts = {id(row): line for line, row in reversed(lines.items())}
    cells = [
        pytest.param(line, row, id=line[:60], marks=[pytest.mark.soak] if row.slow or firsts[id(row)] != line else [])
        for line, row in lines.items()
    ]
    return pytest.mark.parametrize(("command", "row"), cells)


@attrs.frozen
class Call:
    """``trigate WORDS`` with variables set before it; its standard output goes to ``file``, if that is no ""."""

    variables: Mapping[str, str]
    words: Sequence[str]
    file: str


def calls_in(line: str) -> list[Call] | None:
    """Return the calls of trigate, joined by ``&&``, that ``line`` consists of. ``None``: it takes a shell, or starts
    processes, as a load test does for its judge."""
    if "$" in line:
        return None
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters, calls = True, "", []
    for is_end, tokens in itertools.groupby(lexer, "&&".__eq__):
        if is_end:
            continue
        words = list(tokens)
        variables = [*itertools.takewhile(re.compile(r"[A-Z_]+=").match, words)]
        program, *words = words[len(variables) :]
        words, file = (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, "")
        is_load = words[:1] == ["load"] and words[1:2] not in (["compare"], ["worker"], ["--compare"])
        if program != "trigate" or is_load or any(set(word) <= set("();<>|&") for word in words if word):
            return None
        calls.append(Call(dict(one.split("=", 1) for one in variables), words, file))
    return calls


ENDING = lines_of(Row)
CALLS = {line: row for line, row in ENDING.items() if calls_in(line) is not None}
SHELL_LINES = {line: row for line, row in ENDING.items() if line not in CALLS}


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
def test_a_command_is_found_anywhere_on_a_page(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{text}\n\nand `trigate` is no command.\n")
    (found,) = documented.commands_in(page)
    assert row_of(Command(found, ("page.md",))) is None


# A place to run them in


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Of what several commands begin with: a recording, a captured stream, a report, a store."""
    made: Path = tmp_path_factory.mktemp("kept")
    return made


@pytest.fixture(scope="module")
def served(folder) -> Iterator[Gateway]:
    with demo_thread(record=folder / "all") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def provider() -> Iterator[Gateway]:
    with mock_thread() as mock:
        yield mock


@pytest.fixture(scope="module")
def kept(folder, served) -> Path:
    reply = request(served.url, "POST", "/v1/chat/completions", ASKED)
    eventually(lambda: [*(folder / "all").rglob("*-client.*.meta.json")], what="a recording")
    (folder / "kept").mkdir()
    (folder / "kept/stream.txt").write_bytes(reply.body)
    shutil.copytree(folder / "all", folder / "kept/records")
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
    for name, text in {**shims, **others, "just": JUST, "COMMAND": peer}.items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def trigate(programs) -> None:
    """The command of this checkout, among the programs of a shell."""
    (programs / "trigate").write_text(program()[0])
    (programs / "trigate").chmod(0o755)


@attrs.frozen
class Desk:
    """Where one command is typed: a directory with what the placeholders of the pages stand for, and its variables."""

    path: Path
    variables: Mapping[str, str]
    here: Callable[[str], str]

    def invoke(self, calls: Sequence[Call]) -> tuple[int, str]:
        """Return the exit status and the output of calls, up to the first that fails, in this process."""
        out = ""
        for call in calls:
            words = [place for word in call.words for place in self.places(self.here(word))]
            done = invoke(*words, cwd=self.path, env={**self.variables, **call.variables})
            if call.file:
                (self.path / call.file).write_text(done.stdout)
            started = [*done.argv, *(value for value in done.env.values() if "http" in value)]
            out += "".join((done.stderr, "" if call.file else done.stdout, " ".join(started[: len(done.argv)]), "\n"))
            out += "\n".join(started[len(done.argv) :])
            if done.returncode:
                return done.returncode, out
        return 0, out

    def places(self, word: str) -> list[str]:
        """What a shell makes of a word with an asterisk."""
        return (sorted(glob.glob(word, root_dir=self.path)) if "*" in word else []) or [word]

    @contextlib.contextmanager
    def shell(self, command: str) -> Iterator["subprocess.Popen[str]"]:
        """A shell that runs a command. It ends with all that it has started when the block is left."""
        process = subprocess.Popen(
            ["sh", "-c", self.here(command)], cwd=self.path, env=environment(self.variables), start_new_session=True,
            text=True, encoding="utf-8", errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=[program()[1]],
        )  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


Desks: TypeAlias = Callable[..., Desk]


@pytest.fixture(scope="module")
def new_desk(tmp_path_factory, kept, served, provider, programs) -> Desks:
    """Makes a desk for a command, without the file that it must not find."""
    variables = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "ROOT": str(ROOT),
        "OPENAI_API_KEY": TYPED_KEY, "ANTHROPIC_API_KEY": "sk-two",
    }  # fmt: skip

    def here(text: str) -> str:
        return text.replace(GATEWAY, served.url).replace(PROVIDER, provider.url)

    furnished = tmp_path_factory.mktemp("furnished")
    furnish(furnished, kept, here)

    def desk(without: str = "") -> Desk:
        path = tmp_path_factory.mktemp("desk")
        shutil.copytree(furnished, path, dirs_exist_ok=True)
        if without:
            (path / without).unlink()
        return Desk(path, {**variables, "HOME": str(path / "home")}, here)

    return desk


def furnish(path: Path, kept: Path, here: Callable[[str], str]) -> None:
    written = blocks_in(README, "yaml")[-1]
    for name, text in {
        **dict.fromkeys(("trigate.yaml", "plano_config.yaml", "OLD.yaml"), written),
        "NEW.yaml": written.replace("gpt-4o-mini", "gpt-4.1-mini"),
        "litellm_config.yaml": LITELLM,
        "keys.csv": f"token,key_alias,models\n{'0a' * 32},team,{{}}\n",
        "teams.csv": "team_id,team_alias,models\nt,red,{fast}\n",
        "tried.yaml": TRIED % here(PROVIDER),
        "costs.yaml": COSTS,
        **dict.fromkeys(
            ("openai-costs.json", "openai-usage.json"), '{"object": "page", "data": [], "has_more": false}'
        ),
        "alice.yaml": ALICE % ("0" * 64),
        "keys.yaml": blocks_in((ROOT / "docs/keys.md").read_text(), "yaml")[0].replace(
            "/var/lib/trigate/state", "keys"
        ),
        "admin.yaml": blocks_in((ROOT / "docs/admin-api.md").read_text(), "yaml")[0].replace(
            "/var/lib/trigate/state", "admin"
        ),
        "support.yaml": blocks_in((ROOT / "docs/request-members.md").read_text(), "yaml")[0],
        "people.yaml": blocks_in((ROOT / "docs/people.md").read_text(), "yaml")[0]
        + "state_storage: {type: sqlite, path: people.sqlite}\n",
        "table.csv": f"name,sha256,until\nimported,{'0b' * 32},2099-01-31\n",
        "moved.yaml": "client_keys: [{name: moved, key: moved-key-0123456789}]\n",
        "own.jsonl": blocks_in((ROOT / "docs/load.md").read_text(), "json")[0],
        "request.json": json.dumps(ASKED),
        "app.py": PROGRAM,
    }.items():
        (path / name).write_text(text)
    (path / "empty").mkdir()
    (path / "home").mkdir()
    shutil.copytree(kept, path, dirs_exist_ok=True)


def check_what_it_leaves(path: Path, leaves: tuple[str, str] | None) -> None:
    if leaves is not None:
        glob, pattern = leaves
        texts = [file.read_text(errors="replace") for file in path.glob(glob) if file.is_file()]
        assert any(re.search(pattern, text) for text in texts), f"no {glob} with {pattern}"


@pytest.fixture(scope="module")
def ended(request, new_desk, trigate) -> Iterator[Mapping[str, "Future[tuple[int, str, Path]]"]]:
    """What becomes of each line that is to be tested now: exit status, output, directory. Three at a time, for
    they mostly wait."""

    def run(line: str) -> tuple[int, str, Path]:
        desk = new_desk(SHELL_LINES[line].without)
        with desk.shell(line) as process:
            out, _ = process.communicate(timeout=2 * START_SECONDS)
            return process.returncode, out, desk.path

    wanted = [item.callspec.params["command"] for item in request.session.items
              if getattr(item, "originalname", "") == test_a_shell_ends_as_it_should.__name__]  # fmt: skip
    with ThreadPoolExecutor(3) as pool:
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


def check_end(row: Row, status: int, out: str, path: Path) -> None:
    assert status == row.status, out
    assert [pattern for pattern in row.says if not re.search(pattern, out, re.M)] == [], out
    assert bool(all_failed(out)) == row.all_fail, out
    check_what_it_leaves(path, row.leaves)


@pytest.mark.sample(5)
@each(CALLS)
def test_it_ends_as_it_should(command, row, new_desk):
    desk = new_desk(row.without)
    check_end(row, *desk.invoke(calls_in(command)), desk.path)


@pytest.mark.process
@pytest.mark.sample(5)
@each(SHELL_LINES)
def test_a_shell_ends_as_it_should(command, row, ended):
    for needed in re.findall(r"\b(sqlite3|curl|openssl) ", command):
        if shutil.which(needed) is None:
            pytest.skip(f"needs {needed}")
    check_end(row, *ended[command].result())


@pytest.mark.process
@each(lines_of(Server))
def test_it_serves_until_it_is_stopped(command, row, new_desk, trigate):
    port = free_port()
    desk = new_desk()
    with desk.shell(f"exec env {command}".replace("PORT", str(port))) as process:
        eventually(lambda: re.search(row.says, answer(process, port, row.asks)), START_SECONDS, row.says)
        eventually(lambda: row.leaves is None or [*desk.path.glob(row.leaves[0])])
        check_what_it_leaves(desk.path, row.leaves)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=STOP_SECONDS)
    assert "Traceback" not in out


@pytest.mark.process
def test_a_shells_children_get_its_input_and_end_with_it(new_desk, trigate):
    port = free_port()
    with new_desk().shell(f"trigate lint --tolerant - < stream.txt && trigate mock --port {port}") as process:
        eventually(lambda: answer(process, port, "demo"), START_SECONDS)
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


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.command[:60], marks=pytest.mark.process) for row in FOREIGN if row.is_started],
)
def test_a_command_that_no_test_runs_passes_its_static_check(row):
    check_texts(row)


def test_commands_that_are_not_started_pass_their_static_check():
    for row in FOREIGN:
        if not row.is_started:
            check_texts(row)


def check_texts(row: Foreign) -> None:
    for command in (command for command in FOUND if row_of(command) is row):
        found = re.fullmatch(row.command, command.text)
        assert found is not None
        row.looked(found)
