"""The clients of the matrix, one per row, each with a function that runs a conversation of two sessions."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from tests.clients import install
from tests.support.harness import ROOT
from tests.support.stand_in import AGAIN, OPEN_BOXES, PLEASE, WORDS

PATIENCE = 150.0  # seconds for one run of a program
NOWHERE = "http://127.0.0.1:9"  # requests of programs to other hosts end here


class Failed(Exception):
    """The reason why a cell does not work, in words for the table."""


@attrs.frozen
class Answers:
    """The answers of both sessions that a user reads, and the amount of thinking that was shown."""

    first: str
    second: str
    thoughts: int = 0


@attrs.frozen
class Place:
    """The environment of a client: gateway, model, new home folder, and mode (``stream`` or ``whole``)."""

    url: str
    model: str
    home: Path
    mode: str

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "TERM") if name in os.environ}
        folders = [install.CACHE / "node/node_modules/.bin", *(install.CACHE / name / "bin" for name in VENVS)]
        path = [*map(str, folders), os.environ["PATH"]]
        talk = {"GATEWAY": self.url, "MODEL": self.model, "PLEASE": PLEASE, "AGAIN": AGAIN, "WORDS": json.dumps(WORDS)}
        closed = {"HTTPS_PROXY": NOWHERE, "HTTP_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1,localhost"}
        home = {"HOME": str(self.home), "PATH": os.pathsep.join(path), "PYTHONPATH": "", "NO_COLOR": "1"}
        return {**kept, **home, **talk, **closed, **(more or {})}

    def run(self, *command: object, **environment: str) -> str:
        """Return standard output. Raises ``Failed`` with the last output of a program that fails or takes too long."""
        try:
            done = subprocess.run(
                [str(word) for word in command], cwd=self.work, env=self.environment(environment), text=True,
                capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            raise Failed(f"no end after {PATIENCE:.0f} s: {_last(str(late.stdout or b''))}") from None
        if done.returncode:
            raise Failed(f"exit status {done.returncode}: {_last(done.stderr.strip() or done.stdout)}")
        return done.stdout

    def connect(self, client: str, *arguments: object, **environment: str) -> str:
        """Run the client by ``trigate connect``, as its page describes, and return standard output."""
        gateway = (sys.executable, "-m", "gateway", "connect", client, "--url", self.url, "--model", self.model)
        return self.run(*gateway, *arguments, **{"PYTHONPATH": str(ROOT), **environment})

    @property
    def work(self) -> Path:
        """The folder with the boxes."""
        return self.home / "work"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-600:] if lines else "it says nothing"


Drive: TypeAlias = Callable[[Place], Answers]
VENVS = ("python", "aider")


@attrs.frozen
class Row:
    """A client: the table shows the versions of its ``packages``, and ``thinks`` means that it shows thinking.
    It needs the installation ``lives``: ``node`` or one of ``VENVS``."""

    name: str
    title: str
    packages: tuple[str, ...]
    speaks: str
    drive: Drive
    modes: tuple[str, ...] = ("stream", "whole")
    thinks: bool = False
    lives: str = "node"


# Programs


def claude(place: Place) -> Answers:
    flags = ("-p", "--allowedTools", "Bash", "--output-format", "stream-json", "--verbose")
    environment = {"DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1"}
    runs = [
        [json.loads(line) for line in place.connect("claude", "--", *flags, *more, **environment).splitlines()]
        for more in ((PLEASE,), ("--continue", AGAIN))
    ]
    blocks = [
        block for run in runs for line in run if line["type"] == "assistant" for block in line["message"]["content"]
    ]
    thoughts = sum(block["type"] == "thinking" for block in blocks)
    return Answers(*(next(line["result"] for line in run if line["type"] == "result") for run in runs), thoughts)


def _codex(place: Place, *settings: str) -> Answers:
    each = [word for setting in ("model_reasoning_effort=medium", *settings) for word in ("-c", setting)]
    bold = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json")
    runs = [
        [json.loads(line) for line in place.connect("codex", "--", "exec", *words, *bold, *each, say).splitlines()]
        for words, say in (((), PLEASE), (("resume", "--last"), AGAIN))
    ]
    items = [[line["item"] for line in run if line["type"] == "item.completed"] for run in runs]
    texts = [[item["text"] for item in run if item["type"] == "agent_message"] for run in items]
    thoughts = sum(item["type"] == "reasoning" for run in items for item in run)
    if not all(texts):
        raise Failed(f"it ended without a word: {_last(str(items))}")
    return Answers(texts[0][-1], texts[1][-1], thoughts)


def codex_http(place: Place) -> Answers:
    return _codex(place, "model_providers.trigate.supports_websockets=false")


def codex_websocket(place: Place) -> Answers:
    return _codex(place)


def _opencode(place: Place, package: str) -> Answers:
    environment = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    if package != "@ai-sdk/openai-compatible":
        options = {"baseURL": f"{place.url}/v1", "apiKey": "any"}
        entry = {"npm": package, "name": "trigate", "options": options, "models": {place.model: {}}}
        model = f"trigate/{place.model}"
        config = {"provider": {"trigate": entry}, "model": model, "small_model": model}
        environment["OPENCODE_CONFIG_CONTENT"] = json.dumps(config)
        start = lambda *words: place.run("opencode", *words, **environment)  # noqa: E731
    else:
        start = lambda *words: place.connect("opencode", "--", *words, **environment)  # noqa: E731
    return Answers(start("run", PLEASE), start("run", "--continue", AGAIN))


def opencode(package: str) -> Drive:
    return lambda place: _opencode(place, package)


def gemini_cli(place: Place) -> Answers:
    """Run Gemini CLI, which resumes sessions by number, and runs tools without confirmation."""
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
    }  # fmt: skip
    (place.home / ".gemini").mkdir()
    (place.home / ".gemini/settings.json").write_text(json.dumps(settings))
    trusted = {"GEMINI_CLI_TRUST_WORKSPACE": "true"}
    flags = ("--yolo", "--output-format", "json")
    runs = [
        place.connect("gemini-cli", "--", *flags, *more, **trusted)
        for more in (("--prompt", PLEASE), ("--resume", "latest", "--prompt", AGAIN))
    ]
    return Answers(*(str(json.loads(run[run.index("{") :])["response"]) for run in runs))


def llm(place: Place) -> Answers:
    place.connect("llm", "--write")
    tools = ("--functions", install.HERE / "programs/llm_tool.py")
    whole = ("--no-stream",) if place.mode == "whole" else ()
    asked = ("llm", "-m", f"trigate/{place.model}", *whole)
    return Answers(place.run(*asked, *tools, PLEASE), place.run(*asked, "--continue", *tools, AGAIN))


def aider(place: Place) -> Answers:
    """Run aider with the boxes as files in the chat, because it has no tools."""
    quiet = ("--no-git", "--no-check-update", "--no-analytics", "--no-show-model-warnings", "--yes-always")
    flags = (*quiet, "--no-pretty", "--no-stream" if place.mode == "whole" else "--stream")
    history = ("--restore-chat-history", "--no-detect-urls", "--no-show-release-notes")
    runs = [place.connect("aider", "--", *flags, *history, "--message", say) for say in (OPEN_BOXES, AGAIN)]
    return Answers(*runs)


# Libraries


def _parse_answers(output: str) -> Answers:
    try:
        return Answers(**json.loads(output.strip().splitlines()[-1]))
    except (ValueError, IndexError, TypeError):
        raise Failed(f"it said: {_last(output)}") from None


def _program(file: str, variant: str) -> Drive:
    def drive(place: Place) -> Answers:
        if file.endswith(".mjs"):
            return _parse_answers(place.run("node", install.CACHE / "node/programs" / file, variant, place.mode))
        interpreter = install.CACHE / "python/bin/python"
        return _parse_answers(place.run(interpreter, install.HERE / "programs" / file, variant, place.mode))

    return drive


def _library(name: str, title: str, packages: Sequence[str], file: str, variants: Mapping[str, Any]) -> list[Row]:
    """Return a row for each of ``variants``, which have a title, an API, and whether thinking is visible."""
    lives = "node" if file.endswith(".mjs") else "python"
    return [
        Row(
            f"{name}-{variant}",
            f"{title}{words}",
            tuple(packages),
            speaks,
            _program(file, variant),
            thinks=thinks,
            lives=lives,
        )
        for variant, (words, speaks, thinks) in variants.items()
    ]


CHAT = ("", "chat", False)
OPENCODE = (
    ("chat", "@ai-sdk/openai-compatible"), ("responses", "@ai-sdk/openai"), ("messages", "@ai-sdk/anthropic"),
)  # fmt: skip
_ROWS = (
    Row("claude", "Claude Code", ("@anthropic-ai/claude-code",), "messages", claude, ("stream",), thinks=True),
    Row("codex", "Codex, HTTP", ("@openai/codex",), "responses", codex_http, ("stream",), thinks=True),
    Row(
        "codex-websocket", "Codex, WebSocket", ("@openai/codex",), "responses", codex_websocket, ("stream",),
        thinks=True,
    ),
    *(
        Row(f"opencode-{speaks}", f"OpenCode, `{package}`", ("opencode-ai",), speaks, opencode(package), ("stream",))
        for speaks, package in OPENCODE
    ),
    *_library("openai-python", "OpenAI SDK for Python", ("openai",), "openai_python.py",
              {"chat": CHAT, "responses": ("", "responses", True)}),
    *_library("anthropic-python", "Anthropic SDK for Python", ("anthropic",), "anthropic_python.py",
              {"messages": ("", "messages", True), "runner": (", tool runner with threads", "messages", False)}),
    *_library("openai-node", "OpenAI SDK for Node.js", ("openai",), "openai_node.mjs",
              {"chat": (", `runTools`", "chat", False), "responses": ("", "responses", True)}),
    *_library("anthropic-node", "Anthropic SDK for Node.js", ("@anthropic-ai/sdk",), "anthropic_node.mjs",
              {"messages": ("", "messages", True), "runner": (", tool runner", "messages", False)}),
    *_library("openai-agents", "OpenAI Agents SDK", ("openai-agents",), "openai_agents.py",
              {"responses": ("", "responses", True), "chat": CHAT}),
    *_library("langchain-openai", "LangChain, `ChatOpenAI`", ("langchain-openai",), "langchain_models.py",
              {"chat": CHAT, "responses": ("", "responses", True)}),
    Row("gemini-cli", "Gemini CLI", ("@google/gemini-cli",), "gemini", gemini_cli, ("stream",)),
    *_library("google-genai", "Google Gen AI SDK for Python", ("google-genai",), "google_genai.py",
              {"gemini": ("", "gemini", True), "chats": (", chats with automatic calls", "gemini", True)}),
    *_library("langchain-google", "LangChain, `ChatGoogleGenerativeAI`", ("langchain-google-genai",),
              "langchain_models.py", {"gemini": ("", "gemini", True)}),
    *_library("langchain-anthropic", "LangChain, `ChatAnthropic`", ("langchain-anthropic",), "langchain_models.py",
              {"messages": ("", "messages", True)}),
    *_library("boto3", "Amazon's SDK for Python, `boto3`", ("boto3",), "boto3_python.py",
              {"converse": ("", "converse", True)}),
    *_library("langchain-aws", "LangChain, `ChatBedrockConverse`", ("langchain-aws",), "langchain_models.py",
              {"converse": ("", "converse", True)}),
    *_library("pydantic-ai", "PydanticAI", ("pydantic-ai-slim",), "pydantic_models.py",
              {"chat": (", `OpenAIChatModel`", "chat", True),
               "responses": (", `OpenAIResponsesModel`", "responses", True),
               "messages": (", `AnthropicModel`", "messages", True)}),
    *_library("ai-sdk-openai", "Vercel AI SDK, `@ai-sdk/openai`", ("ai", "@ai-sdk/openai"), "ai_sdk.mjs",
              {"responses": ("", "responses", True), "chat": CHAT}),
    *_library("ai-sdk-anthropic", "Vercel AI SDK, `@ai-sdk/anthropic`", ("ai", "@ai-sdk/anthropic"), "ai_sdk.mjs",
              {"messages": ("", "messages", True)}),
    *_library("ai-sdk", "Vercel AI SDK, `@ai-sdk/openai-compatible`", ("ai", "@ai-sdk/openai-compatible"), "ai_sdk.mjs",
              {"compatible": ("", "chat", True)}),
    Row("llm", "llm", ("llm",), "chat", llm, lives="python"),
    Row("aider", "aider (no tools)", ("aider-chat",), "chat", aider, lives="aider"),
)  # fmt: skip
ROWS: Mapping[str, Row] = {row.name: row for row in _ROWS}
