"""Short prompts in the shape of Messages and Chat."""

from typing import Any, Final

LONG: Final = "This text is long enough to be cached. " * 200  # 7,800 bytes


def text(answer: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": answer} | more


def user(*parts: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "content": [text(part) if isinstance(part, str) else part for part in parts]}


def assistant(*parts: dict[str, Any] | str) -> dict[str, Any]:
    return user(*parts) | {"role": "assistant"}


def call(id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "ls", "input": {}}


def result(id: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": "a.py"}


def marked_turn(name: str, system: str, length: int, **more: Any) -> dict[str, Any]:
    """Return a request of Messages with ``length`` messages of a conversation, whose ends are marked."""
    mark = {"cache_control": {"type": "ephemeral"}}
    roles = (user, assistant)
    messages = [roles[number % 2](f"Part {number} of {name}.") for number in range(length)]
    messages[-1]["content"][-1] |= mark
    return {"model": "sonnet", "max_tokens": 60, "system": [text(system, **mark)], "messages": messages, **more}


def chat(*messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": said} for role, said in messages]} | more
