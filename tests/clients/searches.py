"""Claude Code and Codex searching the web through a model of Chat whose provider has no search.

``python tests/clients/searches.py`` installs missing programs, and runs each one before the stand-in, which is also the
search service. It prints a line for each. With ``--record``, it writes the sessions into ``tests/sessions``."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import paths  # noqa: F401  # makes the next ones importable

from tests.clients import install
from tests.clients.recorder import recording
from tests.clients.rows import Failed, Place
from tests.clients.scrub import scrubbed, write
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import config, provider
from tests.support.session_replay import FOLDER, SEARCH

QUESTION = "Search the web for trio"
FOUND = "https://news.example/1"
CLAUDE = ("-p", "--allowedTools", "WebSearch", "--output-format", "stream-json", "--verbose")
COMMANDS = {
    "claude": (*CLAUDE, QUESTION),
    "codex": ("exec", "--skip-git-repo-check", "--json", QUESTION),
}


MODEL = "on-chat"


def fault_of(name: str, *, record: bool) -> str:
    """Return why the program ``name`` has not searched, or nothing. With ``record``, keep its requests."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, mock_thread() as mock:
        entry = provider("groq/mock-small", f"{mock.url}/v1", ["chat"], name=MODEL, price={"input": 1, "output": 2})
        search = {"url": f"{mock.url}/search", "price": 0.005}
        with gateway_thread(config([entry], web_search=search)) as gateway, recording(gateway.port) as recorder:
            (Path(folder) / "work").mkdir()
            try:
                said = Place(recorder.url, MODEL, Path(folder), "stream").connect(name, "--", *COMMANDS[name])
            except Failed as failed:
                return str(failed)
            lines = [json.loads(line) for line in gateway.log if '"exchange"' in line]
    if FOUND not in said:
        return f"no page in {said[-300:]!r}"
    if record:
        shutil.rmtree(FOLDER / f"{name}{SEARCH}", ignore_errors=True)
        rows = [one for one in recorder.rows() if one["path"] != "/healthz"]  # of `trigate connect`
        write(f"{name}{SEARCH}", scrubbed(rows, MODEL))
    searches = sum(line.get("units", {}).get("search", 0) for line in lines)
    return "" if searches == 1 else f"{searches} searches in the log"


def main() -> int:
    install.node()
    failed = 0
    for name in COMMANDS:
        trouble = fault_of(name, record="--record" in sys.argv)
        failed += bool(trouble)
        print(f"{name:8} {trouble or 'works'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
