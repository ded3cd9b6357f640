"""The share of prompts that a provider's cache serves after each of several gateways, for docs/prompt-caching.md.

``python tests/clients/cached_shares.py`` drives Claude Code and Codex through five conversations of ten turns. Their
provider is the counting stand-in. It sends the same requests through trigate, and through LiteLLM and Portkey if
``--litellm`` and ``--portkey`` name their installations. Only the name of the model differs. ``--conversations FILE``
keeps the requests for the next run.
"""

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import paths  # noqa: F401  # makes the next ones importable
import yaml

from tests.clients import install
from tests.clients.recorder import recording
from tests.clients.rows import Place
from tests.support.gateway_thread import mock_thread
from tests.support.harness import ROOT, free_port

PATHS: Final = {"messages": "/v1/messages", "responses": "/v1/responses"}
CONVERSATIONS: Final = 5
QUESTIONS: Final = (
    "What is in words.txt?", "How many lines has it?", "Sort them.", "Explain the first word.", "And the second.",
    "Summarize our talk.", "What did I ask first?", "Compare both words.", "Name a third one.", "Say goodbye.",
)  # fmt: skip
SECONDS: Final = 120.0
"""The longest start of a gateway."""


@attrs.frozen
class Case:
    """Conversations of a client, sent to a provider whose model has the ``cache`` of the stand-in.

    ``prices`` are dollars for a million tokens of input, read and written ones."""

    client: str
    api: str
    provider: str
    model: str
    cache: str
    prices: tuple[float, float, float]

    @property
    def name(self) -> str:
        """The name of the model in requests."""
        return f"{self.client}-on-{self.provider}".lower().replace(" ", "-")

    @property
    def is_native(self) -> bool:
        return (self.api == "messages") == (self.provider == "anthropic")


CASES: Final = (
    Case("Claude Code", "messages", "anthropic", "claude-sonnet-4-6", "cache/anthropic", (3, 0.3, 3.75)),
    Case("Claude Code", "messages", "openai", "gpt-5.6", "cache/openai-5.6", (1.25, 0.125, 1.5625)),
    Case("Codex", "responses", "openai", "gpt-5.6", "cache/openai-5.6", (1.25, 0.125, 1.5625)),
    Case("Codex", "responses", "anthropic", "claude-sonnet-4-6", "cache/anthropic", (3, 0.3, 3.75)),
)


@attrs.frozen
class Share:
    """The sums of a case behind a gateway: tokens, and how many of the requests kept their bytes."""

    requests: int
    refused: int
    input: int
    read: int
    written: int
    unchanged: int

    def dollars(self, case: Case) -> float:
        full, read, written = case.prices
        return ((self.input - self.read - self.written) * full + self.read * read + self.written * written) / 1e6


@attrs.frozen
class Gateway:
    """A gateway under test. ``headers`` are those that it needs for a case."""

    name: str
    port: int
    headers: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=Path, metavar="FILE")
    parser.add_argument("--litellm", type=Path, help="LiteLLM's program")
    parser.add_argument("--portkey", type=Path, help="the folder of Portkey's package @portkey-ai/gateway")
    parser.add_argument("--shim", type=Path, help="a module that node imports before Portkey")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        mock = stack.enter_context(mock_thread()).port
        tell(mock, {"models": {case.model: case.cache for case in CASES}})
        conversations = find_conversations(mock, chosen.conversations)
        found: dict[tuple[str, str], Share] = {}
        for name, start in (("direct", None), ("trigate", trigate), ("LiteLLM", litellm), ("Portkey", portkey)):
            if name in ("LiteLLM", "Portkey") and getattr(chosen, name.lower()) is None:
                continue
            with recording(mock) as recorder, contextlib.ExitStack() as own:
                port = int(recorder.url.rpartition(":")[2])
                gateway = Gateway(name, port) if start is None else own.enter_context(start(port, Path(folder), chosen))
                for case in CASES:
                    if start is not None or case.is_native:
                        found[name, case.name] = measure(gateway, case, conversations[case.api], mock, recorder)
                        print(name, case.name, found[name, case.name], file=sys.stderr, flush=True)
    print(table(found))
    return 0


def find_conversations(mock: int, file: Path | None) -> dict[str, list[list[str]]]:
    """Return the bodies of the programs' requests by API and conversation, from ``file`` if it exists."""
    if file is not None and file.exists():
        kept: dict[str, list[list[str]]] = json.loads(file.read_text())
        return kept
    install.node()
    found: dict[str, list[list[str]]] = {"messages": [], "responses": []}
    with recording(mock) as recorder:
        for api, talk in (("messages", talk_to_claude), ("responses", talk_to_codex)):
            for number in range(CONVERSATIONS):
                recorder.exchanges.clear()
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    place = Place(recorder.url, "", Path(folder), "stream")
                    place.work.mkdir()
                    (place.work / "words.txt").write_text("alpha\nbeta\n" * (number + 1))
                    talk(place)
                sent = [one for one in recorder.exchanges if one.path.partition("?")[0] == PATHS[api]]
                found[api].append([one.body.decode() for one in sent])
    if file is not None:
        file.write_text(json.dumps(found))
    return found


def talk_to_claude(place: Place) -> None:
    variables = {"ANTHROPIC_BASE_URL": place.url, "ANTHROPIC_AUTH_TOKEN": "any", "DISABLE_AUTOUPDATER": "1",
                 "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}  # fmt: skip
    session = str(uuid.uuid4())
    for turn, question in enumerate(QUESTIONS):
        own = ("--resume", session) if turn else ("--session-id", session)
        options = ("--model", "claude-sonnet-4-6", "--allowedTools", "Read", *own)
        place.run("claude", "-p", question, *options, **variables)


def talk_to_codex(place: Place) -> None:
    folder = place.home / ".codex"
    folder.mkdir()
    provider = f'name="stand-in"\nbase_url="{place.url}/v1"\nenv_key="ANY"\nwire_api="responses"\n'
    settings = 'model="gpt-5.6"\nmodel_provider="own"\n[model_providers.own]\n'
    (folder / "config.toml").write_text(settings + provider)
    for turn, question in enumerate(QUESTIONS):
        own = ("resume", "--last", question) if turn else (question,)
        place.run("codex", "exec", "--skip-git-repo-check", *own, ANY="any")


def measure(gateway: Gateway, case: Case, conversations: Sequence[Sequence[str]], mock: int, recorder: Any) -> Share:
    recorder.exchanges.clear()
    tell(mock, {"forget": True, "models": {case.model: case.cache}})
    before, refused, sent = counts(mock, case.model), 0, []
    for number, conversation in enumerate(conversations):
        for body in conversation:
            tell(mock, {"advance": 20})
            request = {**json.loads(body), "model": case.model if gateway.name == "direct" else case.name}
            sent.append(request)
            refused += send(gateway, case, request, number) != 200
    after = counts(mock, case.model)
    arrived = [json.loads(one.body) for one in recorder.exchanges if one.method == "POST" and one.body]
    unchanged = sum(
        {**request, "model": ""} == {**other, "model": ""} for request, other in zip(sent, arrived, strict=False)
    )
    return Share(len(sent), refused, *(after[name] - before[name] for name in ("input", "read", "written")), unchanged)


def send(gateway: Gateway, case: Case, body: Mapping[str, Any], number: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    headers = {
        "content-type": "application/json", "authorization": "Bearer sk-any", "anthropic-version": "2023-06-01",
        "session-id": f"conversation-{number}", **gateway.headers.get(case.name, {}),
    }  # fmt: skip
    try:
        connection.request("POST", PATHS[case.api], json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            print(gateway.name, case.name, response.status, text[:200], file=sys.stderr)
        return response.status
    finally:
        connection.close()


def tell(mock: int, what: Mapping[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", mock, timeout=30)
    try:
        connection.request("POST", "/cache", json.dumps(what), {"content-type": "application/json"})
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def counts(mock: int, model: str) -> Mapping[str, int]:
    found: Mapping[str, int] = tell(mock, {})["models"].get(model, {})
    return {name: found.get(name, 0) for name in ("input", "read", "written")}


@contextlib.contextmanager
def trigate(upstream: int, folder: Path, chosen: argparse.Namespace) -> Iterator[Gateway]:
    port, file = free_port(), folder / "trigate.yaml"
    entries = [
        {
            "model": f"{case.provider}/{case.model}", "name": case.name, "access_key": "sk-any",
            "base_url": f"http://127.0.0.1:{upstream}/trigate" + ("/v1" if case.provider == "openai" else ""),
            "speaks": ["messages" if case.provider == "anthropic" else "responses"],
            **({} if case.is_native else {"prompt_cache": {"marks": "5m"}} if case.provider == "anthropic" else {}),
        }
        for case in CASES
    ]  # fmt: skip
    listener = {"type": "model", "name": "egress", "port": port}
    file.write_text(yaml.safe_dump({"version": "v0.4.0", "listeners": [listener], "model_providers": entries}))
    command = (sys.executable, "-m", "gateway", "serve", str(file))
    with run_program(command, port, {"PYTHONPATH": str(ROOT)}):
        yield Gateway("trigate", port)


@contextlib.contextmanager
def litellm(upstream: int, folder: Path, chosen: argparse.Namespace) -> Iterator[Gateway]:
    port, file = free_port(), folder / "litellm.yaml"
    models = [
        {
            "model_name": case.name,
            "litellm_params": {
                "model": f"{case.provider}/{case.model}", "api_key": "sk-any",
                "api_base": f"http://127.0.0.1:{upstream}/litellm" + ("/v1" if case.provider == "openai" else ""),
            },
        }
        for case in CASES
    ]  # fmt: skip
    file.write_text(yaml.safe_dump({"model_list": models, "litellm_settings": {"telemetry": False}}))
    command = (str(chosen.litellm), "--config", str(file), "--host", "127.0.0.1", "--port", str(port))
    quiet = {
        "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }  # fmt: skip
    with run_program(command, port, quiet):
        yield Gateway("LiteLLM", port)


@contextlib.contextmanager
def portkey(upstream: int, folder: Path, chosen: argparse.Namespace) -> Iterator[Gateway]:
    port = free_port()
    shim = () if chosen.shim is None else ("--import", str(chosen.shim))
    command = ("node", *shim, str(chosen.portkey / "build/start-server.js"), "--headless", f"--port={port}")
    headers = {
        case.name: {
            "x-portkey-provider": case.provider,
            "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/portkey/v1",
            "x-portkey-config": json.dumps({"override_params": {"model": case.model}, "provider": case.provider,
                                            "api_key": "sk-any",
                                            "custom_host": f"http://127.0.0.1:{upstream}/portkey/v1"}),
        }
        for case in CASES
    }  # fmt: skip
    with run_program(command, port, {"NODE_ENV": "production"}):
        yield Gateway("Portkey", port, headers)


@contextlib.contextmanager
def run_program(command: Sequence[str], port: int, variables: Mapping[str, str]) -> Iterator[None]:
    """Run ``command`` until the end of the block, from when its ``port`` answers."""
    env = {**os.environ, **variables, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log, env=env) as process:
        try:
            end = time.monotonic() + SECONDS
            while not is_ready(port):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise SystemExit(f"{command[0]} did not start: {log.read().decode(errors='replace')[-2000:]}")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def table(found: Mapping[tuple[str, str], Share]) -> str:
    """Return the shares as a table: a row for each case, a column for each gateway."""
    gateways = list(dict.fromkeys(name for name, _ in found))
    lines = [
        "| client | provider | " + " | ".join(gateways) + " |",
        "|---|---|" + "---|" * len(gateways),
    ]
    for case in CASES:
        cells = []
        for gateway in gateways:
            share = found.get((gateway, case.name))
            if share is None:
                cells.append("")
            elif share.refused == share.requests:
                cells.append("not supported")
            else:
                part = 100 * share.read / max(1, share.input)
                cells.append(f"{part:.1f} % read, {share.dollars(case):.3f} usd, {share.unchanged} unchanged")
        provider = {"anthropic": "Anthropic", "openai": "OpenAI"}[case.provider]
        lines.append(f"| {case.client} | {provider}, `{case.model}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
