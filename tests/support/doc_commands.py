"""Tables of the commands on the pages, with the commands to run instead and the expected results.

``RUNS`` end on their own. ``SERVES`` run until they are stopped. ``FOREIGN`` cannot be run in a test (they are other
programs, or need a network); each has the reason and a check in place of a run. Addresses are replaced, and long runs
are shortened.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import attrs
import yaml

from gateway.commands.clients import CLIENTS
from tests.support.doc_blocks import Command
from tests.support.harness import ROOT

ENDS = r"(data: \[DONE\]|event: message_stop|event: response\.completed)"


# Commands to run


@attrs.frozen
class Row:
    """A command that ends.

    ``command`` is a pattern for the page's text, and ``run`` the command to run instead ("": the same), a template of
    the pattern's groups, in which {} is the whole text. The output must match each pattern in ``says``. ``leaves`` is a
    glob of a written file and a pattern of its content, ``status`` the exit status, and ``without`` a file that must
    not exist. ``all_fail`` marks a load test whose requests all fail on purpose. The soak runs a ``slow`` one, which
    takes seconds of CPU time.
    """

    command: str
    run: str = ""
    says: tuple[str, ...] = ()
    leaves: tuple[str, str] | None = None
    status: int = 0
    all_fail: bool = False
    without: str = ""
    slow: bool = False


SHOWN = r"127\.0\.0\.1:12000"
LOADED = r"(\d+) requests? begun, \1 whole answers?, 0 errors"
CURL = r"curl -sS --fail-with-body \1"
BRIEFLY = "--rounds 1 --seconds 0.1"
RELOADED = """trigate serve tried.yaml --port 0 > log 2>&1 & gateway=$!
until grep -q listening log; do sleep 0.05; done
sed -i s/mock-small/mock-large/ tried.yaml && {} $gateway
until grep -q mock-large log; do sleep 0.05; done
kill $gateway && wait $gateway && cat log"""

KEYS = "TRIGATE_CONFIG=keys.yaml "
PEOPLE = "TRIGATE_CONFIG=people.yaml "
ADDED = f"{KEYS}trigate keys add ci && {KEYS}"
ADMIN = """export ADMIN_KEY=key-of-terraform-0123456789 LENA_KEY=key-of-lena-0123456789 ADA_KEY=key-of-ada-0123456789
trigate serve admin.yaml --port 0 > log 2>&1 & gateway=$!
until grep -q listening log; do sleep 0.05; done
export TRIGATE_URL=$(grep -o 'http://127.0.0.1:[0-9]*' log | head -1)
curl -sS --fail-with-body \\1; status=$?; kill $gateway; exit $status"""
PEOPLE_PAGES = [ROOT / "docs" / name for name in ("people.md", "people-reference.md")]
PRICES = "providers/catalog/price_list.json"
PAGES = "mkdir tests && cp -r $ROOT/tests/__init__.py $ROOT/tests/pages $ROOT/tests/support tests"
RUNS = (
    # Pages about the gateway use the demo, and the stand-in provider listens on the port of the pages.
    Row(r"curl (-N http://\S+/v1/\S+ -d .*\"demo.*)", CURL, ("Hello", ENDS)),
    Row(r"curl (-N .*cut-after-3.*)", CURL, ("connection broke before the end of its response",)),
    Row(r"curl (-si http://\S+/v1/\S+ -d .*\"demo-messages.*logit_bias.*)", CURL, ("x-trigate-dropped: logit_bias",)),
    Row(r"curl (-si http://\S+/v1/\S+ -H 'x-trigate-models: fault/.*)", CURL, ("=overloaded, demo=ok",)),
    Row(r"curl (-si http://\S+/v1/\S+ -d '.\"model\": \")steady(\".*)", f"{CURL}demo\\2", ("x-trigate-attempts: 1",)),
    Row(r"curl (http://\S+/v1/embeddings -d .*)", CURL, ('"total_tokens":',)),
    Row(r"curl (http://\S+/v1/rerank -d .*)", CURL, ('"relevance_score":',)),
    Row(r"curl (http://\S+/v1/audio/speech -d .* -o hello\.wav)", f"{CURL} && head -c 12 hello.wav", ("WAVE",)),
    Row(r"curl (http://\S+/v1/audio/transcriptions .*)", f"echo > hello.wav && {CURL}", ("hello.wav has 1 bytes",)),
    Row(r"curl (http://\S+/readyz\?verbose)", CURL, ('"state":"in"',)),
    Row(r'curl ((?:-H "Authorization: .*" )?http://\S+/metrics)', CURL, (r"(?m)^trigate_workers 1\.0$",)),
    Row(r"curl (-X PUT \$TRIGATE_URL/admin/v1/keys/evals .*)", ADMIN, ('"key":"sk-trigate-',)),
    Row(r"curl (\$TRIGATE_URL/admin/v1/keys\?group=research .*)", ADMIN, ('"name":"lena"', '"next":null')),
    Row(r"curl (-X PUT \$TRIGATE_URL/admin/v1/raises/ada .*)", ADMIN, ('"budgets":."40 usd/day".',)),
    Row(r'curl ("\$TRIGATE_URL/admin/v1/usage.*)', ADMIN, ("group,model,requests,failed",)),
    Row(r"curl (\$TRIGATE_URL/me .*)", ADMIN, ('"role":"admin"',)),
    Row(r'curl ("\$TRIGATE_URL/admin/v1/audit.*)', ADMIN, ('"data":',)),
    Row(r"curl (\$TRIGATE_URL/key/generate .*)", ADMIN, ('"key_alias":"bob"',)),
    Row("OPENAI_BASE_URL=.*", '{} && curl -sS -f "$OPENAI_BASE_URL/models"', ("demo-messages",)),
    Row("ANTHROPIC_BASE_URL=.*", '{} && curl -sS -f "$ANTHROPIC_BASE_URL/v1/models"', ("demo-chat",)),
    Row("CODE_ASSIST_ENDPOINT=.*", '{} && echo "$CODE_ASSIST_ENDPOINT"', ("/code-assist",)),
    Row("GOOGLE_GEMINI_BASE_URL=.*", '{} && curl -sS -f "$GOOGLE_GEMINI_BASE_URL/v1beta/models"', ("models/demo",)),
    Row("trigate --version", says=(r"^trigate, version \d",)),
    Row("trigate init", leaves=("trigate.yaml", "access_key: .OPENAI_API_KEY"), without="trigate.yaml"),
    Row("trigate doctor", "TRIGATE_CONFIG=tried.yaml {}", ("mock-small",)),
    Row("trigate check", says=("valid",)),
    Row(r"trigate check \./trigate\.yaml", says=("valid",)),
    Row("trigate check --strict", says=("valid",)),
    Row("trigate check --endpoints", says=("embeddings",)),
    Row("trigate check --secrets", says=("valid",)),
    Row("trigate check --no-env", "OPENAI_API_KEY= {}", ("valid",)),
    Row(r"trigate check plano_config\.yaml", says=("valid",)),
    Row(r"trigate check --diff( OLD(\.yaml)? NEW(\.yaml)?)?", "trigate check --diff OLD.yaml NEW.yaml",
        ("gpt-4.1-mini",), status=1),
    Row("trigate explain MODEL( --api messages)?", r"trigate explain gpt-4o-mini\1", ("target +openai/gpt-4o-mini",)),
    Row("trigate explain fast --api messages", says=("lane +hub: translated to chat",)),
    Row("trigate explain support", "trigate explain support --config support.yaml",
        ("members +alias support: default: {temperature: 0.2",)),
    Row("trigate explain best", "trigate explain gpt-4o-mini", ("target +openai/gpt-4o-mini",)),
    Row("trigate explain (MODEL|NAME) --url (URL|http://.*)", "trigate explain gpt-4o-mini --url http://127.0.0.1:12000",
        ("now +openai/gpt-4o-mini: unknown to that gateway",)),
    Row(r"trigate explain MODEL( --key alice.*)", r"trigate explain gpt-5 --config alice.yaml\1",
         ("limits +client_keys.alice: 20 usd/day",)),
    Row("trigate explain MODEL --key NAME", "trigate explain gpt-5 --config alice.yaml --key alice", ("lane +",)),
    Row("trigate steps", says=("secrets +request +refuse",)),
    Row("trigate steps exempt", says=("chat +model",)),
    Row(r"trigate steps try request\.json --config \./trigate\.yaml", says=("no findings",)),
    Row("trigate translate FILE (.*)", r"trigate translate request.json \1", ("max_completion_tokens",)),
    Row("trigate translate request.json --from chat --to messages", says=("header +anthropic-version",)),
    Row(r"trigate costs(?: CELL\.yaml)?( --[^[]*)?", r"trigate costs costs.yaml\1",
        (r"total +0|requests,failed|.since.:",)),
    Row(r"trigate cache( --[^[]*)?", r"trigate cache --config costs.yaml\1",
        (r"no request of this period|lost_usd|.since.:",)),
    Row("trigate reconcile", "trigate reconcile --help", ("every difference|invoices",)),
    Row(r"trigate reconcile --month 2026-10 openai-costs\.json openai-usage\.json",
        "trigate reconcile --config costs.yaml --month 2026-10 openai-costs.json openai-usage.json",
        ("within tolerance",)),
    Row("trigate lint( --tolerant| FILE)", "trigate lint --tolerant stream.txt", ("well formed",)),
    Row(r"trigate schema > trigate\.schema\.json", leaves=("trigate.schema.json", r"\$schema")),
    Row(r"trigate import litellm_config\.yaml", says=("model: openai/gpt-4o-mini",)),
    Row(r"trigate import litellm_config\.yaml --write trigate\.yaml", without="trigate.yaml",
        leaves=("trigate.yaml", "model: openai/gpt-4o-mini")),
    Row(r"trigate import litellm_config\.yaml --keys keys\.csv --teams teams\.csv --write trigate\.yaml",
        without="trigate.yaml",
        leaves=("trigate.yaml", r"name: team, sha256: [0-9a-f]{64}")),
    Row(r"trigate import litellm_config\.yaml --database DATABASE_URL --write trigate\.yaml",
        "DATABASE_URL=postgresql://127.0.0.1:1/x {}", ("the database in DATABASE_URL",), status=1),
    Row("(trigate )?keys add.*", KEYS + "trigate keys add some --group search --for 30d", ("sk-trigate-",)),
    Row("trigate keys( list)?", KEYS + "trigate keys list", ("boss +file +good",)),
    Row("trigate keys (rotate|revoke)( (NAME|ci).*)?", ADDED + r"trigate keys \1 ci",
        ("sk-trigate-",)),
    Row("trigate keys set.*", ADDED + "trigate keys set ci --budget '20 usd/day' --by alice",
        ("Changed ci: budgets 20 usd/day",)),
    Row(r"trigate keys import( FILE| trigate\.yaml)?",
        KEYS + "trigate keys import moved.yaml",
        ("Stored 1 client",)),
    Row(r"trigate keys import( FILE\.csv| keys\.csv)", KEYS + "trigate keys import table.csv", ("Stored 1 client",)),
    Row("trigate people( list)?", PEOPLE + "trigate people list", ("name +label",)),
    Row("trigate people (block|sign-out)( (NAME|okta:00u1).*)?", PEOPLE + r"trigate people \1 okta:00u1",
        ("Blocked okta:00u1|Ended 0 sessions of okta:00u1",)),
    Row("trigate people unblock( (NAME|okta:00u1))?",
        f"{PEOPLE}trigate people block okta:00u1 && {PEOPLE}trigate people unblock okta:00u1",
        ("Unblocked okta:00u1",)),
    Row("trigate people revoke-key( (NAME|okta:00u1) (KEY|laptop))?",
        PEOPLE + "trigate people revoke-key okta:00u1 laptop",
        ("has no key laptop",), status=1),
    Row("trigate people forget( NAME)?", PEOPLE + "trigate people forget okta:00u1",
        ("knows no person okta:00u1",), status=1),
    Row("trigate people history", f"{PEOPLE}trigate people block okta:00u1 && {PEOPLE}{{}}",
        ("people block okta:00u1",)),
    Row(r"trigate keys history( \[NAME\])?", ADDED + "trigate keys history", ("added +ci",)),
    Row("trigate connect --list", says=("claude", "aider")),
    Row("trigate connect( CLIENT| gemini-cli| opencode| boto3)?", "trigate connect claude",
        ("ANTHROPIC_BASE_URL", SHOWN)),
    Row(r"trigate connect \S+ --undo", says=("nothing to undo|removed",)),
    Row("trigate connect vercel-ai-sdk --write", "TRIGATE_API_KEY=sk-of-a-client {}", ("wrote",),
        leaves=(".env", "^TRIGATE_API_KEY=sk-of-a-client$")),
    Row(r"trigate connect \S+ --write", says=("wrote",), leaves=("**/*", SHOWN)),
    Row("trigate connect vercel-ai-sdk -- PROGRAM ARGS", "trigate connect vercel-ai-sdk -- python app.py", ("app.py",)),
    Row(r"(trigate connect \S+ --) (PROGRAM ARGS|python app\.py)", r"\1 python app.py", ("app.py", SHOWN)),
    Row(r"(trigate connect \S+ --) ARGS", r"\1 some", (" some$", SHOWN)),
    Row('trigate connect claude --login -- -p "Hello"', says=("-p Hello", SHOWN)),
    Row(r"trigate connect \S+ --login --write", says=("wrote",), leaves=("**/*", SHOWN)),
    Row('trigate connect claude -- -p "Hello"', says=("-p Hello", SHOWN)),
    Row(r'export PATH="\$PWD/\.venv/bin:\$PATH"', "{} && trigate --version", ("trigate, version",)),
    Row(r"trigate init ~/\.config/trigate/trigate\.yaml", "trigate init own.yaml --yes",
        leaves=("own.yaml", "model_providers")),
    Row(r"install -m 600 /dev/null ~/\.config/trigate/environment",
        "install -m 600 /dev/null environment && stat -c %a environment", ("^600$",)),
    Row(r"env \| grep -E (\S+) >> ~/\.config/trigate/environment", r"env | grep -E \1 >> environment",
        leaves=("environment", "OPENAI_API_KEY=")),
    Row("trigate mock --faults", says=("fault/cut-after-3",)),
    Row("trigate load --help", says=("--find-rate",)),
    Row("trigate load", "trigate load http://127.0.0.1:12000 --model demo --seconds 1", (LOADED,)),
    Row("trigate load http://127.0.0.1:51001 --model fault/cut-after-3 .*",
        says=("streams not whole", "in the middle of"), all_fail=True),
    Row("(trigate load gateway=.* direct=.*) --rate 5 --seconds 20", r"\1 --rate 9 --seconds 2 --rounds 4 --output 5",
        (LOADED, "direct against gateway: ")),
    Row(r"trigate load http://.* --html report\.html", says=(LOADED,), leaves=("report.html", "<html")),
    Row(r"(trigate load http://.* --json after\.json .*--fail-if .*>)500ms(.*)", r"\1 30s\2", (LOADED,),
        ("after.json", "ttft"), without="after.json"),
    Row("trigate load (.*) --slo .* --find-rate",
        r'trigate load \1 --find-rate --no-stream --rate 20 --max-rate 20 --seconds 500ms --fail-if "goodput<80%"',
        ("Searching for the highest rate", "a second +begun"), slow=True),
    Row("trigate load .* --requests own.jsonl .*", says=(LOADED, "own.jsonl: 2 bodies of chat")),
    Row("trigate load .* --prompt 200-2000.*", says=(LOADED, "input tokens asked for")),
    Row("trigate replay( FILE)?", "trigate replay records/*/*-client.*.meta.json --to http://127.0.0.1:12000",
        ("Hello", ENDS)),
    Row("trigate compare --old .* --model demo", "trigate compare --old http://127.0.0.1:12000 "
        "--new http://127.0.0.1:12000 --model demo --exact", ("28 requests, 28 alike", "first byte, median")),
    Row("trigate compare --old URL --new URL", "trigate compare --old http://127.0.0.1:12000 "
        "--new http://127.0.0.1:12000 --model demo --api chat", ("10 requests, ",)),
    Row("trigate compare --exact", "{} --help", ("Require equal texts",)),
    Row("kill -HUP", RELOADED, ("configuration",)),
    Row("sqlite3 FILE (.*)", r"sqlite3 state.sqlite \1", leaves=("COPY", "SQLite format 3")),
    # As in the justfile, with the smallest arguments. Tests that these collect run with all tests.
    Row("just bench --crowd", "{} 2 --rounds 1 --seconds 0.5", (r"\| trigate \| 2 \|",), slow=True),
    Row("just bench --cases burst,paced (--peer .*)", rf"just bench --cases unary {BRIEFLY} \1",
        (r"\| unary \| other \| \d",), slow=True),
    Row(
        "just bench-prompt-caches( --sizes 400 --events 100)?",
        "cd $ROOT && python bench/prompt_caches.py --help",
        ("--sizes", "--events"),
    ),
    Row("just bench-steps( --texts| --events)?", "cd $ROOT && python bench/steps.py --help", ("--texts", "--events")),
    Row(r"just bench-before (?:v0\.2\.0|REVISION)", "cd $ROOT && python bench/before.py --help", ("another revision",)),
    Row(r"just test tests/gateway/test_cost\.py", "{} --collect-only -q", ("tests collected",), slow=True),
    Row(r"pytest -q tests/streams/test_sse\.py", "cd $ROOT && python -m {} -p no:cacheprovider", ("\\d passed",),
        slow=True),
    Row(r"python -m tests\.pages\.clients",
        f"cp -r $ROOT/docs . && sed -i 1,3d docs/clients/c*.md && {PAGES} && {{}} && "
        "diff -r docs/clients $ROOT/docs/clients", slow=True),
    Row(r"python -m tests\.pages\.prices",
        f"cp -r $ROOT/providers $ROOT/streams . && {PAGES} && {{}} && cmp {PRICES} $ROOT/{PRICES}", slow=True),
    Row(r"python -m tests\.pages\.interface",
        f"cp -r $ROOT/docs $ROOT/gateway $ROOT/providers $ROOT/streams . && {PAGES} && mkdir tests/data && {{}} && "
        "test -s tests/data/interface.json", slow=True),
    Row(r"python -m tests\.pages\.(?!translation|interface)(\w+)",
        rf"cp -r $ROOT/docs $ROOT/README.md . && {PAGES} && {{}} && "
        r"cmp docs/\1.md $ROOT/docs/\1.md"),
)  # fmt: skip


@attrs.frozen
class Server:
    """A command that runs until it is stopped.

    ``run`` and ``slow`` are as in a ``Row``, ``run`` with PORT. ``asks`` is a model to request, or a path, and ``says``
    and ``leaves`` are about its response.
    """

    command: str
    run: str
    says: str
    asks: str = "demo"
    leaves: tuple[str, str] | None = None
    slow: bool = False


SPOKEN = "(?s)assistant.*DONE"
ASGI = "'gateway.asgi:application()' -b 127.0.0.1:PORT"

SERVES = (
    Server("trigate serve --demo", "{} --port PORT --pace 0", SPOKEN),
    Server(r"trigate serve( FILE| \./trigate\.yaml)?", "trigate serve trigate.yaml --port PORT", "gpt-4o-mini",
        "/v1/models"),
    Server(r"trigate serve plano_config\.yaml", "{} --port PORT", "gpt-4o-mini", "/v1/models", slow=True),
    Server("trigate serve --record DIR", "trigate serve tried.yaml --record DIR --port PORT", SPOKEN, "mock-small",
           ("DIR/**/*.meta.json", "mock-small")),
    Server("trigate mock", "{} --port PORT --pace 0", SPOKEN),
    Server("trigate replay FILE --serve PORT", "trigate replay records/*/*-client.*.meta.json --serve PORT", SPOKEN),
    Server("hypercorn -k trio( 'gateway.asgi:application..')?", f"hypercorn -k trio {ASGI}", "^200", "/readyz",
           slow=True),  # test_cli.py runs it, too
    Server("hypercorn -k trio -w 4 …", f"PROMETHEUS_MULTIPROC_DIR=$PWD/empty hypercorn -k trio -w 2 {ASGI}",
           r"(?m)^trigate_workers 2\.0$", "/metrics", slow=True),
)  # fmt: skip


# Commands that are not run, and their checks


def check_ci_runs_it(match: re.Match[str]) -> None:
    ci = (ROOT / ".ci/run").read_text()
    assert 'test_command=$(command_under README.md "## Test")' in ci
    assert 'bash -c "$test_command"' in ci
    assert "python3 .ci/package.py\n" in ci
    assert "python3 .ci/image.py\n" in ci
    package = (ROOT / ".ci/package.py").read_text()
    assert all(step in package for step in ('"--require-hashes", "-r", str(ROOT / "requirements.txt")', '"--no-deps"'))
    assert all((ROOT / file).is_file() for file in re.findall(r"-r (\S+)", match[0]))


def check_hosted_ci_runs_it(match: re.Match[str]) -> None:
    """Check that CI runs the command, or the only line of the recipe."""
    recipes = dict(re.findall(r"^([\w-]+)[^\n]*:\n    (.*?)(?: \{\{ARGS\}\})?$", (ROOT / "justfile").read_text(), re.M))
    workflows = "".join(file.read_text() for file in (ROOT / ".github/workflows").iterdir())
    assert recipes.get(match[1] or "", match[0]) in workflows


def check_package_script(match: re.Match[str]) -> None:
    """Check that the package has the script, and that the rest of the line is tried with the program."""
    assert match[1] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert re.fullmatch(r".* trigate (serve --demo|--version)", match[0])


def check_all_locks(match: re.Match[str]) -> None:
    (recipe,) = re.findall(rf"^{match[1]}:\n((?:    .*\n)+)", (ROOT / "justfile").read_text(), re.M)
    assert all(f"-o {path.name}\n" in recipe for path in ROOT.glob("requirements*.txt"))


def pinned_for_python() -> set[str]:
    """Return the packages that a page may install: those with tests through the gateway, including extras."""
    files = [ROOT / "requirements-dev.txt", *(ROOT / "tests/clients").glob("*.in")]
    return {name for file in files for name in re.findall(r"^([\w.-]+(?:\[[\w,]+\])?)(?:==|$)", file.read_text(), re.M)}


def check_installed_packages_are_tested(match: re.Match[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {f"trigate[{extra}]" for extra in project["optional-dependencies"]}
    assert set(shlex.split(match[1])) <= pinned_for_python() | extras


def check_node_packages_are_tested(match: re.Match[str]) -> None:
    pinned = json.loads((ROOT / "tests/clients/package.json").read_text())["dependencies"]
    assert set(match[1].split()) <= set(pinned)


def check_client_program(match: re.Match[str]) -> None:
    """Check that the program is in the row of a client, or in the notes of its page."""
    said = [text for row in CLIENTS.values() for text in (row.install, *row.then)]
    said += [(ROOT / f"docs/clients/{name}.md").read_text().partition("\n## ")[2] for name in CLIENTS]
    assert any(match[0] in text.replace("{model}", "demo") for text in said)


def check_client_variable(match: re.Match[str]) -> None:
    names = {name for row in CLIENTS.values() for name in row.environment or ()}
    assert match[1] in names | {one.path[-1] for row in CLIENTS.values() for file in row.files for one in file.settings}


def check_connect_writes_it(match: re.Match[str]) -> None:
    assert any(row.file is not None and row.file.name == match[1] for row in CLIENTS.values())


def check_recipe(match: re.Match[str]) -> None:
    name = match[0].removeprefix("just ")
    assert re.search(rf"^{name}(?: \*ARGS)?:\n    \.venv/bin/python .+$", (ROOT / "justfile").read_text(), re.M)


def check_dependency(match: re.Match[str]) -> None:
    assert re.search(rf'^    "{match[1]}[~>]=', (ROOT / "pyproject.toml").read_text(), re.M)
    assert "foreign *REQUIREMENTS:\n" in (ROOT / "justfile").read_text()


def check_test_runs_it(match: re.Match[str]) -> None:
    """Check that the test runs the recipe's file with each option."""
    assert "\nbench *ARGS:\n    .venv/bin/python bench/run.py {{ARGS}}\n" in (ROOT / "justfile").read_text()
    test = (ROOT / "tests/test_bench.py").read_text()
    assert 'sys.executable, "bench/run.py", *QUICK, *options' in test
    assert [option for option in re.findall(r"--\w+", match[0]) if f'"{option}", ' not in test] == []


def check_session_command(match: re.Match[str]) -> None:
    """Check that the test of sessions, which has a browser, runs the command."""
    assert f'"{match[1]}"' in (ROOT / "tests/gateway/commands/test_sessions.py").read_text()


def check_people_command(match: re.Match[str]) -> None:
    """Check that the command is in a page whose commands ``tests/docs/test_people_commands.py`` runs."""
    assert any(match[0] in page.read_text() for page in PEOPLE_PAGES)


def check_test_writes_it(match: re.Match[str]) -> None:
    """Check that the command writes the pages that its test compares."""
    module = (ROOT / f"tests/pages/{match[1]}.py").read_text()
    test = (ROOT / f"tests/docs/test_{match[1]}.py").read_text()
    writes = re.findall(
        r"^    ([A-Z]+)\.write_text\((.+)\)$", module.partition('\n\nif __name__ == "__main__":\n')[2], re.M
    )
    assert writes
    for page, text in writes:
        assert f'{page}.read_text() == {text}, "run: {match[0]}"\n' in test


def check_lint_runs_it(match: re.Match[str]) -> None:
    assert f".venv/bin/{match[1]}\n" in (ROOT / ".ci/lint").read_text()


@cache
def matrix_help() -> str:
    command = [sys.executable, "tests/clients/run.py", "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def check_matrix(match: re.Match[str]) -> None:
    for word in match[1].split():
        assert word in matrix_help() or (ROOT / word).is_file(), word


def check_image(match: re.Match[str]) -> None:
    image = (ROOT / "Dockerfile").read_text()
    for port, file in re.findall(r"-p \S+:(\d+) -v \S+:(/\S+):ro", match[0]):
        assert f"EXPOSE {port}\n" in image
        assert f"WORKDIR {Path(file).parent}\n" in image
        assert Path(file).name == "trigate.yaml"
    assert 'ENTRYPOINT ["trigate"]' in image


def check_image_base(match: re.Match[str]) -> None:
    assert f"\nFROM {match[1]}@sha256:" in (ROOT / "Dockerfile").read_text()


def check_docker_option(match: re.Match[str]) -> None:
    if shutil.which("docker") is not None:  # this needs no daemon
        told = subprocess.run(["docker", "stop", "--help"], capture_output=True, text=True, check=False).stdout
        assert f"{match[1]}, " in told


def check_compose(match: re.Match[str]) -> None:
    compose = yaml.safe_load((ROOT / match[1]).read_text())
    assert match[2].split()[0] in ("up", "kill")
    assert {word for word in match[2].split()[1:] if word.islower() and word.isalpha()} <= set(compose["services"])


def check_kubernetes(match: re.Match[str]) -> None:
    file = ROOT / "deploy/kubernetes.yaml"
    there = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in yaml.safe_load_all(file.read_text())}
    assert match[1] in there or ROOT / match[1] == file


def check_chart(match: re.Match[str]) -> None:
    values = yaml.safe_load((ROOT / match[1] / "values.yaml").read_text())
    for name in re.findall(r"--set(?:-file)? ([\w.]+)=", match[0]):
        place = values
        for step in name.split("."):
            assert step in place, name
            place = place[step]


def check_package_name(match: re.Match[str]) -> None:
    assert match[1] in (".", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"])


def check_laptop(match: re.Match[str]) -> None:
    """Check that ``deploy/laptop`` has the service under this name."""
    names = {path.stem for path in (ROOT / "deploy/laptop").iterdir()}
    assert names & set(re.findall(r"[\w.]*trigate", match[0].replace(".service", "").replace(".plist", "")))


def check_page_created_it(match: re.Match[str]) -> None:
    """Check that the page created the files that it removes."""
    page = (ROOT / "docs/laptop.md").read_text()
    for path in map(Path, re.findall(r"~/\S+", match[0])):
        assert page.count(str(path)) > 1 or (ROOT / "deploy/laptop" / path.name).is_file()


def check_systemd(match: re.Match[str]) -> None:
    unit = (ROOT / "deploy/trigate.service").read_text()
    wanted = {"reload": "ExecReload=", "enable": "WantedBy=", "cp": "ExecStart=", "daemon-reload": "[Unit]"}
    assert wanted[match[1]] in unit


@attrs.frozen
class Foreign:
    """A command that no test runs.

    ``looked`` checks it without a run; ``is_started`` means that its ``--help`` runs.
    """

    command: str
    why: str
    looked: Callable[[re.Match[str]], None]
    is_started: bool = False


NETWORK = "needs a package index"
OTHERS = "another project's program, which `just clients` installs and drives"
DAEMON = "needs a daemon and a registry of images"
CLUSTER = "needs a cluster"
INIT = "would change the machine; tests/test_deploy.py has systemd judge the unit"

FOREIGN = (
    Foreign(r"trigate (login|token|me)( https://llm\.example)?", "needs a person", check_session_command, True),
    Foreign(r"curl .*https://llm\.example/.*", "needs a person; test_people_commands.py runs it", check_people_command),
    Foreign(r"python3 -m venv \.venv|pip install -q .*|pytest -q -n auto .*", "is run by .ci/run", check_ci_runs_it),
    Foreign(r"([A-Z_]+)=(any|demo)", "is a line of a file of variables", check_client_variable),
    Foreign(
        r"just (quick|test-fast|test-shuffled)|\.ci/lint|pytest -q --fast .*",
        "is run by hosted CI",
        check_hosted_ci_runs_it,
    ),
    Foreign(r"(?:uvx --from|pipx run --spec) \. (trigate) .*", NETWORK, check_package_script),
    Foreign(r"python3 \.ci/(package|image)\.py", "is run by .ci/run", check_ci_runs_it),
    Foreign(
        r"(python \.ci/prose\.py) .*",
        "would read the whole repository; tests/test_prose.py runs it",
        check_lint_runs_it,
    ),
    Foreign("just (lock)", NETWORK, check_all_locks),
    Foreign(
        r"just bench( --workers| --capacity| --growth( --html growth\.html)? --svg docs/growth\.svg)?",
        "is run by tests/test_bench.py, with the smallest arguments",
        check_test_runs_it,
    ),
    Foreign(r"python -m tests\.pages\.(translation)", "takes seconds, which its test has taken", check_test_writes_it),
    Foreign(r"(?:pip install )?aider-install", NETWORK, check_client_program),
    Foreign(r"pip install (.*)", NETWORK, check_installed_packages_are_tested),
    Foreign(r"npm install (?:-g )?(.*)", NETWORK, check_node_packages_are_tested),
    Foreign(r"(claude|codex|opencode|aider|gemini|llm|node [^-]).*", OTHERS, check_client_program),
    Foreign(r"(?:node|uv run) --env-file[= ](\S+)(?: app\.mjs)?", OTHERS, check_connect_writes_it),
    Foreign(r"\(set -a; \. \./(\S+); python app\.py\)", OTHERS, check_connect_writes_it),
    Foreign(r"just clients (.*)", NETWORK, check_matrix, is_started=True),
    Foreign("just soak", "takes minutes; CI runs it once a night", check_recipe),
    Foreign(r"just endpoint-clients", NETWORK, check_recipe),
    Foreign(r"just foreign ([\w-]+)==[\d.]+", NETWORK, check_dependency),
    Foreign(r"docker (?:build|run) .*", DAEMON, check_image),
    Foreign(r"docker stop (.*)", DAEMON, check_docker_option, is_started=True),
    Foreign(r"docker buildx imagetools inspect (\S+)", NETWORK, check_image_base),
    Foreign(r"docker compose -f (\S+) (.*)", DAEMON, check_compose),
    Foreign(r"kubectl (?:apply -f|rollout restart) (.*)", CLUSTER, check_kubernetes),
    Foreign(r"helm install trigate (\S+) .*", CLUSTER, check_chart),
    Foreign(r"systemctl (reload|enable|daemon-reload).*", INIT, check_systemd),
    Foreign(r"cp deploy/laptop/(\S+) .*", INIT, check_laptop),
    Foreign(r"systemctl --user (?:(?:enable|disable) --now|reload|restart) trigate", INIT, check_laptop),
    Foreign(r"journalctl --user -u trigate -f|launchctl \S+ .*trigate.*", INIT, check_laptop),
    Foreign(r"systemctl --user daemon-reload|loginctl enable-linger", INIT, lambda found: None),
    Foreign(r"(mkdir -p|rm|rm -r) ~/.*", "would change what is the reader's", check_page_created_it),
    Foreign(r"(?:pipx|uv tool) (?:install|uninstall)(?: --\w+)? (\S+)", NETWORK, check_package_name),
    Foreign(r"git pull", NETWORK, lambda found: None),
    Foreign(r"(cp) deploy/trigate.service /etc/systemd/system/", INIT, check_systemd),
)


@cache
def row_of(command: Command) -> Row | Server | Foreign | None:
    rows: tuple[Row | Server | Foreign, ...] = (*RUNS, *SERVES, *FOREIGN)
    return next((row for row in rows if re.fullmatch(row.command, command.text)), None)


def to_run(command: Command, row: Row | Server) -> str:
    """Return the command to run, with its placeholders replaced and its load shortened."""
    found = re.fullmatch(row.command, command.text)
    assert found is not None
    text = (found.expand(row.run) if row.run else command.text).replace("{}", command.text)
    return re.sub(r"--seconds \d+\b(?!\.)", "--seconds 0.5", re.sub(r"--warmup \d+", "--warmup 0.2", text))
