"""Tests of deleted features: without a feature's folder and its lines in ``order.py``, all conversations work."""

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from configfile.keys import keys_of
from gateway.config.aliases import Route
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.limits import ClientLimits
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import ClientRights
from gateway.config.settings import Config
from gateway.config.state_storage import StateStorage
from gateway.features.known import features
from gateway.features.order import ORDER
from providers.apis import CODECS
from tests.support.command_line import environment
from tests.support.harness import ROOT, STOP_SECONDS, request

pytestmark = pytest.mark.process

FOLDERS: Final = tuple(dict.fromkeys(line.name.partition(".")[0] for line in ORDER))
ELSEWHERE: Final = ("configfile", "loadtest", "providers", "streams", "trigate")

QUESTIONS: Final = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "messages": ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}),
    "responses": ("/v1/responses", {"input": "Hi"}),
    "interactions": ("/v1beta/interactions", {"input": "Hi"}),
    "gemini": ("/v1beta/models/demo:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
    "converse": ("/model/demo/converse", {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}),
}


CONTENT: Final[dict[str, Any]] = {
    "version": "v0.4.0",
    "model_providers": [{"model": "openai/gpt-5", "access_key": "k"}],
    "model_aliases": {"name": {"targets": ["gpt-5"]}},
    "client_groups": [{"name": "group"}],
    "state_storage": {"type": "memory"},
    "client_keys": [{"name": "client", "group": "group", "key": "sk-of-a-client-1234"}],
    "limits": {"per_client": {}},
}
OF_FEATURES: Final[dict[str, Any]] = {"McpServer": ("mcp_servers", [{"name": "tools", "base_url": "http://localhost"}])}
"""The root key, and an item of it, for each class of a feature to which another feature adds keys."""

PLACES: Final[Mapping[type, str]] = {
    Config: "",
    ModelEntry: "model_providers[0]",
    Route: "model_aliases.name",
    ClientGroup: "client_groups[0]",
    StateStorage: "state_storage",
    ClientKey: "client_keys[0]",
    ClientRights: "client_keys[0]",
    ClientLimits: "limits.per_client",
}


def item_at(content: dict[str, Any], place: str) -> dict[str, Any]:
    """Return the mapping at a place of ``PLACES``."""
    found: Any = content
    for step in re.findall(r"\w+", place):
        found = found[int(step) if step.isdecimal() else step]
    assert isinstance(found, dict)
    return found


EACH: Final = [pytest.param((name,), id=name, marks=pytest.mark.soak) for name in FOLDERS]


@pytest.fixture(params=[FOLDERS[::2], FOLDERS[1::2], *EACH], ids=lambda names: "half")
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Sequence[str], Path]:
    """Return the names of features and a copy of the product without them. Only the soak deletes each one alone."""
    names = request.param
    for package in ELSEWHERE:
        (tmp_path / package).symlink_to(ROOT / package)
    # Compiled modules stay valid, because the copy keeps the times of files. Unfinished ones may vanish meanwhile.
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway", ignore=shutil.ignore_patterns("*.pyc.*"))
    order = tmp_path / "gateway" / "features" / "order.py"
    for name in names:
        shutil.rmtree(tmp_path / "gateway" / "features" / name)
        lines = order.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not re.match(rf'    OrderLine\("{name}[".]', line)]
        assert len(kept) < len(lines)
        order.write_text("".join(kept))
    return names, tmp_path


def run(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway", *args]
    env = environment({"PYTHONPATH": str(folder)})
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def keys_in_content(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the place of each key of the features in ``WITH_KEYS``, and the key."""
    for line, feature in zip(ORDER, features(), strict=True):
        for keys in feature.keys:
            if line.name.partition(".")[0] in names:
                place = PLACES.get(keys.place)
                if place is None:
                    place = f"{OF_FEATURES[keys.place.__name__][0]}[0]"
                yield from ((place, key) for key in keys_of(keys.keys))


def test_a_gateway_without_features_serves_all_conversations(tree):
    names, folder = tree
    (folder / "trigate.yaml").write_text(json.dumps(CONTENT))
    for said in (run(folder, "check"), run(folder, "--help"), run(folder, "explain", "gpt-5")):
        assert said.returncode == 0, said.stderr
    content, keys = copy.deepcopy(CONTENT), list(keys_in_content(names))
    roots = {key for place, key in keys if not place}  # unknown without the keys in them
    keys = [(place, key) for place, key in keys if place.partition("[")[0] not in roots]
    content |= {root: items for root, items in OF_FEATURES.values() if any(at.startswith(root) for at, _ in keys)}
    for place, key in keys:
        item_at(content, place)[key] = True
    (folder / "trigate.yaml").write_text(json.dumps(content))
    judged = run(folder, "check")
    said = judged.stdout + judged.stderr
    assert [one for one in keys if f"{'.'.join(filter(None, one))}: unknown key" not in said] == [], said
    command = [sys.executable, "-m", "gateway", "serve", "--demo", "--pace", "0", "--port", "0"]
    env = environment({"PYTHONPATH": str(folder)})
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            banner = b"".join(process.stdout.readline() for _ in range(3)).decode()
            found = re.search(r"listening on (http://\S+?)(?:,| |$)", banner, re.M)
            assert found, banner
            assert {api: statuses(found[1], api) for api in CODECS} == dict.fromkeys(CODECS, (200, 200))
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def statuses(url: str, api: str) -> tuple[int, int]:
    """Return the statuses of a whole and of a streamed answer."""
    path, body = QUESTIONS[api]
    named = body if "demo" in path else {"model": "demo", **body}
    streamed = path.replace(":generateContent", ":streamGenerateContent").replace("/converse", "/converse-stream")
    return (
        request(url, "POST", path, named).status,
        request(url, "POST", streamed, named if "demo" in path else {**named, "stream": True}).status,
    )
