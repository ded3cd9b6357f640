"""Calls of tools that the provider runs itself and bills for, counted by the items that tell of them."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from providers.responses.values import Json, as_object


def note_hosted(ran: set[tuple[str, int]], type: str, item: Json) -> None:
    """Note in ``ran`` what ``item`` is billed as: the tool's name, and a number that is another one for each call, or
    the same for all of one container."""
    row = _BILLED.get(type)
    if row is not None:
        tool, session = row
        if (number := session(item, len(ran))) is not None:
            ran.add((tool, number))


def hosted_calls(ran: set[tuple[str, int]], response: Json) -> tuple[tuple[str, int], ...]:
    """What was noted, by tool; the number of searches that ``response`` itself states outranks that of their items."""
    calls = Counter(tool for tool, _ in ran)
    stated = as_object(as_object(response.get("tool_usage")).get("web_search")).get("num_requests")
    if type(stated) is int and stated > 0:
        calls["web_search"] = stated
    return tuple(sorted(calls.items()))


def _each(item: Json, others: int) -> int:
    return others


def _search(item: Json, others: int) -> int | None:
    """A search is billed, a page that is opened or looked through is not (platform.openai.com, Web search)."""
    return others if as_object(item.get("action")).get("type", "search") == "search" else None


def _container(item: Json, others: int) -> int:
    """A container is billed, however often it is used (platform.openai.com, Pricing)."""
    return _numbered(item.get("container_id"), others)


def _shell_container(item: Json, others: int) -> int | None:
    """The same where commands run in one; a shell of the client's costs nothing."""
    id = as_object(item.get("environment")).get("container_id")
    return None if id is None else _numbered(id, others)


def _numbered(container: Any, others: int) -> int:
    return hash(container) if isinstance(container, str) else others


_BILLED: Mapping[str, tuple[str, Callable[[Json, int], int | None]]] = {
    "web_search_call": ("web_search", _search),
    "file_search_call": ("file_search", _each),
    "image_generation_call": ("image_generation", _each),
    "code_interpreter_call": ("code_interpreter", _container),
    "shell_call": ("code_interpreter", _shell_container),
}
"""The tool of an item, and how its calls are told apart. Others cost nothing beside their tokens (MCP, tool search), or
run at the client."""
