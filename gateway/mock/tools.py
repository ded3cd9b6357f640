"""The stand-in's choice of a tool to call: one that changes nothing and does not fail, once in a conversation."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

import attrs

from gateway.mock.filling import Unfillable, fill
from gateway.mock.words import GREETING, last_of, text_for, words_of
from providers.neutral.request import Request, Tool, ToolCallPart, ToolResultPart

AVOIDED: Final = frozenset((
    # Other agents are put to work.
    "agent", "agents", "subagent", "subagents", "task", "tasks", "team", "teammate", "spawn", "delegate", "handoff",
    "transfer", "workflow",
    # The person is asked.
    "ask", "question", "questions", "confirm", "approval", "elicit", "followup", "input", "feedback",
    # The program works otherwise from then on.
    "plan", "mode", "enter", "exit", "worktree", "skill", "skills", "goal", "todo", "todos", "todowrite", "todoread",
    "cron", "schedule", "wakeup", "sleep", "wait", "memory", "remember",
    # Something goes on that has not begun.
    "stdin", "kill", "stop", "cancel", "resume", "close",
))  # fmt: skip
"""Words in the name of a tool that is not called, whatever else its name says."""

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
"""Words in the name of a tool that is not called, unless one of ``LOOKS`` stands beside them."""

FINAL: Final = frozenset(("final", "finish", "completion", "structured"))
"""Words in the name of a tool with which a program wants to be answered."""

SHELL: Final = frozenset((
    "bash", "shell", "sh", "zsh", "powershell", "terminal", "exec", "execute", "run", "command", "cmd",
))  # fmt: skip
COMMAND: Final = frozenset(("command", "cmd"))
PLACE: Final = frozenset((
    "file", "files", "filename", "filepath", "path", "paths", "url", "urls", "uri", "image",
))  # fmt: skip
"""The last words of members that say where something is: the stand-in knows nothing that is there."""

HARMLESS: Final[Mapping[str, str]] = {
    **dict.fromkeys(COMMAND, "ls"),  # a command of Unix and of PowerShell, which does not fail in an empty folder
    **dict.fromkeys(("path", "paths", "directory", "dir", "folder", "cwd", "workdir"), "."),
    **dict.fromkeys(("code", "expression", "formula"), "1 + 1"),
    "glob": "*",
    "sql": "SELECT 1",
}
"""What goes into a call, by the last word of the member's name."""

CUSTOM: Final = (
    # Codex' code mode: its tools are functions of a script.
    (frozenset(("exec",)), "tools.exec_command", 'text((await tools.exec_command({cmd: "ls"})).output)'),
    (frozenset(("bash", "shell", "sh", "zsh", "powershell", "terminal")), "", "ls"),
    (frozenset(("exec", "python", "code", "javascript", "js", "repl", "interpreter")), "", "1 + 1"),
)
"""What goes into a tool that takes text, by a word in its name and what its description speaks of."""


@attrs.frozen
class Pick:
    """A call to be made. ``input`` is JSON for a function, else text."""

    tool: Tool
    input: str


def choose(request: Request) -> Pick | None:
    """The call that answers ``request``; ``None`` if words do."""
    mode, tools = offered(request)
    if mode == "none":
        return None
    if mode == "tool":
        return _first(tools, request, forced=True)
    called = {part.name for message in request.messages for part in message.parts if isinstance(part, ToolCallPart)}
    fresh = [tool for tool in tools if tool.name not in called]
    looking = [] if _goes_on(request, mode) else [tool for tool in fresh if rank(tool) < NEVER]
    answering = [tool for tool in fresh if _is_final(tool)]
    found = _first([*sorted(looking, key=rank), *answering], request)
    if found is None and mode == "required":
        return _first(sorted(fresh or tools, key=rank), request, forced=True)
    return found


def offered(request: Request) -> tuple[str, list[Tool]]:
    """The freedom of the choice, in the words of ``ToolChoice.mode``, and between which tools."""
    tools = [tool for tool in request.tools if isinstance(tool, Tool)]
    choice = request.tool_choice
    if choice is None:
        return "auto", tools
    if choice.mode == "tool":
        return "tool", [tool for tool in tools if tool.name == choice.name]
    return choice.mode, [tool for tool in tools if choice.allowed is None or tool.name in choice.allowed]


def _goes_on(request: Request, mode: str) -> bool:
    """True if a tool has been called before, by whatever question: a program's own words may stand behind the result,
    and it would be asked for the same call for ever. One that wants nothing but calls may tell results as the person's
    words."""
    if mode == "required" and any(message.role == "assistant" for message in request.messages):
        return True
    return any(
        isinstance(part, ToolCallPart | ToolResultPart) for message in request.messages for part in message.parts
    )


# Which

NEVER: Final = 100


def rank(tool: Tool) -> int:
    """The smaller, the sooner it is called; ``NEVER`` without being told to."""
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
    # A server of tools may not know the folder that the program is in.
    return order.index(True) + (10 if tool.name.startswith("mcp") else 0)


def _is_final(tool: Tool) -> bool:
    words = _words(tool)
    return bool(words & FINAL) and not words & AVOIDED


def _words(tool: Tool) -> set[str]:
    """The words of its name, without those of the server or namespace that it is of."""
    return set(words_of(tool.name.rpartition("__")[2]))


def _needed(tool: Tool) -> set[str]:
    """The last words of the members that its schema requires."""
    names = tool.schema.get("required") if isinstance(tool.schema, Mapping) else None
    return {last_of(name) for name in names if isinstance(name, str)} if isinstance(names, list) else set()


# With what


def _first(tools: Iterable[Tool], request: Request, forced: bool = False) -> Pick | None:
    """A call of the first of ``tools`` for which there is an input; a call that is ``forced`` needs none."""
    for tool in tools:
        try:
            return Pick(tool, _input(tool, request))
        except Unfillable:
            if forced:
                return Pick(tool, "{}")
    return None


def _input(tool: Tool, request: Request) -> str:
    """Raises ``Unfillable``."""
    if tool.kind == "custom":
        return _script(tool) or GREETING
    schema = tool.schema if isinstance(tool.schema, Mapping) else {}
    found = fill({"type": "object", **schema}, partial(_say, tool, request), complete=_is_final(tool))
    return json.dumps(found, ensure_ascii=False)


def _script(tool: Tool) -> str | None:
    """A text that a tool of free form can run."""
    about = tool.description or ""
    return next((text for words, mark, text in CUSTOM if words & _words(tool) and mark in about), None)


def _has_grammar(tool: Tool) -> bool:
    return isinstance(tool.format, Mapping) and tool.format.get("type") == "grammar"


def _say(tool: Tool, request: Request, name: str) -> str:
    last = last_of(name)
    if last == "pattern":
        return "*" if "glob" in _words(tool) else "example"
    return HARMLESS.get(last) or text_for(name, request)
