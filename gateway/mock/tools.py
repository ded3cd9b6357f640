"""The stand-in's choice of a tool to call: one without side effects that cannot fail, once in a conversation."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

import attrs

from gateway.mock.filling import NoMatchingValue, fill
from gateway.mock.words import GREETING, example_text, last_word, split_words, user_text
from providers.neutral.request import Part, Request, Tool, ToolCallPart, ToolResultPart

AVOIDED_WORDS: Final = frozenset((
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

READING_WORDS: Final = frozenset((
    "get", "list", "read", "search", "find", "look", "lookup", "query", "show", "describe", "count", "check", "fetch",
    "view", "calculate", "compute", "grep",
))  # fmt: skip
CHANGING_WORDS: Final = frozenset((
    "write", "edit", "create", "update", "delete", "remove", "move", "rename", "apply", "patch", "insert", "replace",
    "set", "put", "send", "post", "add", "save", "drop", "install", "deploy", "publish", "commit", "push", "merge",
    "upload", "sync", "notify", "message", "email", "pay", "buy", "charge", "refund", "report", "execute", "exec",
    "start", "restart",
))  # fmt: skip
"""Words in the names of tools that are called only if ``READING_WORDS`` also has a word of the name."""

FINAL: Final = frozenset(("final", "finish", "completion", "structured"))
"""Words in the names of tools with which programs expect the final answer."""

UNCALLABLE: Final = "cannot be called now"
"""Words in the description of a tool that only Converse's history has, because it must be declared."""

SHELL: Final = frozenset((
    "bash", "shell", "sh", "zsh", "powershell", "terminal", "exec", "execute", "run", "command", "cmd",
))  # fmt: skip
COMMAND: Final = frozenset(("command", "cmd"))
LOCATION_WORDS: Final = frozenset((
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
class ToolPick:
    """A tool to call; ``input`` is JSON for a function, else text."""

    tool: Tool
    input: str


def choose(request: Request) -> ToolPick | None:
    """Choose a tool call as the response to ``request``; return ``None`` to respond with text."""
    mode, tools = available_tools(request)
    if mode == "none":
        return None
    if mode == "tool":
        return _first_possible_call(tools, request, forced=True)
    called = {part.name for part in current_parts(request) if isinstance(part, ToolCallPart)}
    fresh = [tool for tool in tools if tool.name not in called]
    looking = [] if _has_called_tool(request, mode) else [tool for tool in fresh if rank(tool) < NEVER]
    answering = [tool for tool in fresh if _is_final(tool)]
    wanted = [tool for tool in _wanted_searches(tools, request) if tool.name not in called]
    found = _first_possible_call([*wanted, *sorted(looking, key=rank), *answering], request)
    if found is None and mode == "required":
        return _first_possible_call(sorted(fresh or tools, key=rank), request, forced=True)
    return found


def _wanted_searches(tools: Iterable[Tool], request: Request) -> list[Tool]:
    """Return the tools that search the web if the user asks for that. Without any, return those that search for tools:
    Claude Code loads its web search when its own tool search finds it."""
    if "search the web" not in user_text(request).lower():
        return []
    kinds = ([tool for tool in tools if {kind, "search"} <= _name_words(tool)] for kind in ("web", "tool"))
    return next(filter(None, kinds), [])


def available_tools(request: Request) -> tuple[str, list[Tool]]:
    """Return the mode of the choice (``ToolChoice.mode``) and the available tools."""
    tools = [tool for tool in request.tools if isinstance(tool, Tool) and UNCALLABLE not in (tool.description or "")]
    choice = request.tool_choice
    if choice is None:
        return "auto", tools
    if choice.mode == "tool":
        return "tool", [tool for tool in tools if tool.name == choice.name]
    return choice.mode, [tool for tool in tools if choice.allowed is None or tool.name in choice.allowed]


def _has_called_tool(request: Request, mode: str) -> bool:
    """Return whether a tool was called since the last answer, so that it is not called endlessly.

    A program may add its own text after the result, and one that requires calls may send results as the user's text."""
    if mode == "required" and any(message.role == "assistant" for message in request.messages):
        return True
    return any(isinstance(part, ToolCallPart | ToolResultPart) for part in current_parts(request))


def current_parts(request: Request) -> list[Part]:
    """Return the parts of the messages after the last answer: an assistant message without a call."""
    found: list[Part] = []
    for message in reversed(request.messages):
        has_call = any(isinstance(part, ToolCallPart) for part in message.parts)
        if message.role == "assistant" and message.parts and not has_call:
            break
        found.extend(message.parts)
    return found


# Selection

NEVER: Final = 100


def rank(tool: Tool) -> int:
    """Return a tool's rank: lower ones are called first, ``NEVER`` only when required."""
    words, needed = _name_words(tool), _required_words(tool)
    script = _script(tool) if tool.kind == "custom" else None
    if words & AVOIDED_WORDS or _is_final(tool) or (script is None and _has_grammar(tool)):
        return NEVER
    lists = "ls" in words or ("list" in words and not words.isdisjoint(("files", "dir", "directory")))
    reaches = bool(needed & LOCATION_WORDS)
    order = (
        lists and not needed,
        bool(words & SHELL and needed & COMMAND) or script is not None,
        lists or "glob" in words,
        bool(words & READING_WORDS) and not reaches,
        not words & CHANGING_WORDS and not reaches,
    )
    if True not in order:
        return NEVER
    # A tool server may not know the program's folder.
    return order.index(True) + (10 if tool.name.startswith("mcp") else 0)


def _is_final(tool: Tool) -> bool:
    words = _name_words(tool)
    return bool(words & FINAL) and not words & AVOIDED_WORDS


def _name_words(tool: Tool) -> set[str]:
    """Return the words of a tool's name without its server or namespace."""
    return set(split_words(tool.name.rpartition("__")[2]))


def _required_words(tool: Tool) -> set[str]:
    """Return the last word in the name of each member that the tool's schema requires."""
    names = tool.schema.get("required") if isinstance(tool.schema, Mapping) else None
    return {last_word(name) for name in names if isinstance(name, str)} if isinstance(names, list) else set()


# Arguments


def _first_possible_call(tools: Iterable[Tool], request: Request, forced: bool = False) -> ToolPick | None:
    """Return a call of the first of ``tools`` that has a possible input; a ``forced`` call needs none."""
    for tool in tools:
        try:
            return ToolPick(tool, _input(tool, request))
        except NoMatchingValue:
            if forced:
                return ToolPick(tool, "{}")
    return None


def _input(tool: Tool, request: Request) -> str:
    """Return the input for a call. Raises ``NoMatchingValue``."""
    if tool.kind == "custom":
        return _script(tool) or GREETING
    schema = tool.schema if isinstance(tool.schema, Mapping) else {}
    found = fill({"type": "object", **schema}, partial(_argument_text, tool, request), complete=_is_final(tool))
    return json.dumps(found, ensure_ascii=False)


def _script(tool: Tool) -> str | None:
    """Return a text that a free-form tool can run, ``None`` if unknown."""
    about = tool.description or ""
    return next((text for words, mark, text in CUSTOM if words & _name_words(tool) and mark in about), None)


def _has_grammar(tool: Tool) -> bool:
    return isinstance(tool.format, Mapping) and tool.format.get("type") == "grammar"


def _argument_text(tool: Tool, request: Request, name: str) -> str:
    last = last_word(name)
    if last == "pattern":
        return "*" if "glob" in _name_words(tool) else "example"
    return HARMLESS.get(last) or example_text(name, request)
