"""The stand-in's choice of a tool to call: one without side effects that cannot fail, once in a conversation."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

import attrs

from gateway.mock.filling import Unfillable, fill
from gateway.mock.words import GREETING, last_of, text_for, words_of
from providers.neutral.request import Request, Tool, ToolCallPart, ToolResultPart

AVOIDED: Final = frozenset((
    # They start other agents.
    "agent", "agents", "subagent", "subagents", "task", "tasks", "team", "teammate", "spawn", "delegate", "handoff",
    "transfer", "workflow",
    # They ask the person.
    "ask", "question", "questions", "confirm", "approval", "elicit", "followup", "input", "feedback",
    # They change how the program works.
    "plan", "mode", "enter", "exit", "worktree", "skill", "skills", "goal", "todo", "todos", "todowrite", "todoread",
    "cron", "schedule", "wakeup", "sleep", "wait", "memory", "remember",
    # They continue something that has not begun.
    "stdin", "kill", "stop", "cancel", "resume", "close",
))  # fmt: skip
"""Words in the names of tools that are never called."""

LOOKS: Final = frozenset((
    "get", "list", "read", "search", "find", "look", "lookup", "query", "show", "describe", "count", "check", "fetch",
    "view", "calculate", "compute", "grep",
))  # fmt: skip
CHANGES: Final = frozenset((
    "write", "edit", "create", "update", "delete", "remove", "move", "rename", "apply", "patch", "insert", "replace",
    "set", "put", "send", "post", "add", "save", "drop", "install", "deploy", "publish", "commit", "push", "merge",
    "upload", "sync", "notify", "message", "email", "pay", "buy", "charge", "refund", "report", "execute", "exec",
    "start", "restart",
))  # fmt: skip
"""Words in the names of tools that are called only if ``LOOKS`` also has a word of the name."""

FINAL: Final = frozenset(("final", "finish", "completion", "structured"))
"""Words in the names of tools with which programs expect the final answer."""

SHELL: Final = frozenset((
    "bash", "shell", "sh", "zsh", "powershell", "terminal", "exec", "execute", "run", "command", "cmd",
))  # fmt: skip
COMMAND: Final = frozenset(("command", "cmd"))
PLACE: Final = frozenset((
    "file", "files", "filename", "filepath", "path", "paths", "url", "urls", "uri", "image",
))  # fmt: skip
"""Last words of members that locate something: the stand-in knows no existing file or URL."""

HARMLESS: Final[Mapping[str, str]] = {
    **dict.fromkeys(COMMAND, "ls"),  # works in Unix and PowerShell, also in an empty folder
    **dict.fromkeys(("path", "paths", "directory", "dir", "folder", "cwd", "workdir"), "."),
    **dict.fromkeys(("code", "expression", "formula"), "1 + 1"),
    "glob": "*",
    "sql": "SELECT 1",
}
"""Argument values by the last word of the member's name."""

CUSTOM: Final = (
    # Codex's code mode: its tools are functions of a script.
    (frozenset(("exec",)), "tools.exec_command", 'text((await tools.exec_command({cmd: "ls"})).output)'),
    (frozenset(("bash", "shell", "sh", "zsh", "powershell", "terminal")), "", "ls"),
    (frozenset(("exec", "python", "code", "javascript", "js", "repl", "interpreter")), "", "1 + 1"),
)
"""Inputs for tools that take text, by a word in the name and a phrase in the description."""


@attrs.frozen
class Pick:
    """A tool call; ``input`` is JSON for a function, else text."""

    tool: Tool
    input: str


def choose(request: Request) -> Pick | None:
    """Return the tool call that answers ``request``, ``None`` if text does."""
    mode, tools = offered(request)
    if mode == "none":
        return None
    if mode == "tool":
        return _first(tools, request, forced=True)
    called = {part.name for message in request.messages for part in message.parts if isinstance(part, ToolCallPart)}
    fresh = [tool for tool in tools if tool.name not in called]
    looking = [] if _has_called_tool(request, mode) else [tool for tool in fresh if rank(tool) < NEVER]
    answering = [tool for tool in fresh if _is_final(tool)]
    found = _first([*sorted(looking, key=rank), *answering], request)
    if found is None and mode == "required":
        return _first(sorted(fresh or tools, key=rank), request, forced=True)
    return found


def offered(request: Request) -> tuple[str, list[Tool]]:
    """Return the mode of the choice (``ToolChoice.mode``) and the available tools."""
    tools = [tool for tool in request.tools if isinstance(tool, Tool)]
    choice = request.tool_choice
    if choice is None:
        return "auto", tools
    if choice.mode == "tool":
        return "tool", [tool for tool in tools if tool.name == choice.name]
    return choice.mode, [tool for tool in tools if choice.allowed is None or tool.name in choice.allowed]


def _has_called_tool(request: Request, mode: str) -> bool:
    """Return whether a tool was called before, for any question, so that it is not called endlessly.

    A program may add its own text after the result, and one that requires calls may send results as the user's text."""
    if mode == "required" and any(message.role == "assistant" for message in request.messages):
        return True
    return any(
        isinstance(part, ToolCallPart | ToolResultPart) for message in request.messages for part in message.parts
    )


# Selection

NEVER: Final = 100


def rank(tool: Tool) -> int:
    """Return a tool's rank: lower ones are called first, ``NEVER`` only when required."""
    words, needed = _words(tool), _needed(tool)
    script = _script(tool) if tool.kind == "custom" else None
    if words & AVOIDED or _is_final(tool) or (script is None and _has_grammar(tool)):
        return NEVER
    lists = "ls" in words or ("list" in words and not words.isdisjoint(("files", "dir", "directory")))
    reaches = bool(needed & PLACE)
    order = (
        lists and not needed,
        bool(words & SHELL and needed & COMMAND) or script is not None,
        lists or "glob" in words,
        bool(words & LOOKS) and not reaches,
        not words & CHANGES and not reaches,
    )
    if True not in order:
        return NEVER
    # A tool server may not know the program's folder.
    return order.index(True) + (10 if tool.name.startswith("mcp") else 0)


def _is_final(tool: Tool) -> bool:
    words = _words(tool)
    return bool(words & FINAL) and not words & AVOIDED


def _words(tool: Tool) -> set[str]:
    """Return the words of a tool's name without its server or namespace."""
    return set(words_of(tool.name.rpartition("__")[2]))


def _needed(tool: Tool) -> set[str]:
    """Return the last words of the members that its schema requires."""
    names = tool.schema.get("required") if isinstance(tool.schema, Mapping) else None
    return {last_of(name) for name in names if isinstance(name, str)} if isinstance(names, list) else set()


# Arguments


def _first(tools: Iterable[Tool], request: Request, forced: bool = False) -> Pick | None:
    """Return a call of the first of ``tools`` that has a possible input; a ``forced`` call needs none."""
    for tool in tools:
        try:
            return Pick(tool, _input(tool, request))
        except Unfillable:
            if forced:
                return Pick(tool, "{}")
    return None


def _input(tool: Tool, request: Request) -> str:
    """Return the input for a call. Raises ``Unfillable``."""
    if tool.kind == "custom":
        return _script(tool) or GREETING
    schema = tool.schema if isinstance(tool.schema, Mapping) else {}
    found = fill({"type": "object", **schema}, partial(_say, tool, request), complete=_is_final(tool))
    return json.dumps(found, ensure_ascii=False)


def _script(tool: Tool) -> str | None:
    """Return a text that a free-form tool can run, ``None`` if unknown."""
    about = tool.description or ""
    return next((text for words, mark, text in CUSTOM if words & _words(tool) and mark in about), None)


def _has_grammar(tool: Tool) -> bool:
    return isinstance(tool.format, Mapping) and tool.format.get("type") == "grammar"


def _say(tool: Tool, request: Request, name: str) -> str:
    last = last_of(name)
    if last == "pattern":
        return "*" if "glob" in _words(tool) else "example"
    return HARMLESS.get(last) or text_for(name, request)
