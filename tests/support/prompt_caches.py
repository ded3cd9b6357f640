"""The stand-in's prompt caches with a clock that a test sets, and short prompts in the shape of Messages and Chat."""

from typing import Any, Final

import attrs

from tests.support.imitated_caches import CachedPrompt, PromptCaches

LONG: Final = "This text is long enough to be cached. " * 200  # 7,800 bytes
CREDENTIALS: Final = {"x-api-key": "k"}


@attrs.define
class CacheTrial:
    """Prompt caches whose clock shows ``now``."""

    now: float = 1_000.0
    caches: PromptCaches = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.caches = PromptCaches(lambda: self.now)

    def count(
        self, model: str, body: dict[str, Any], api: str = "messages", headers: dict[str, str] | None = None,
        endpoint: str = "", begins: bool = True,
    ) -> CachedPrompt:  # fmt: skip
        counted = self.caches.count(
            self.caches.select(model), api, body, CREDENTIALS if headers is None else headers, endpoint
        )
        if begins:
            counted.begin()
        return counted


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


def chat(*messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": said} for role, said in messages]} | more
