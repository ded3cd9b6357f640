"""The requests to a gateway, and the provider's answers."""

import json
from typing import Any, NamedTuple

ENDS = {"/v1/chat/completions": "[DONE]", "/v1/messages": "message_stop", "/v1/responses": '"response.completed"'}


class Case(NamedTuple):
    """A measured case: ``clients`` repeatedly request ``events`` events of ``size`` characters, ``gap`` seconds apart.

    The provider speaks Chat, so other paths are translated.
    """

    name: str
    path: str = "/v1/chat/completions"
    stream: bool = True
    events: int = 100
    gap: float = 0
    size: int = 4
    clients: int = 16
    tools: int = 0
    turns: int = 1

    @property
    def is_translated(self) -> bool:
        return self.path != "/v1/chat/completions"

    @property
    def body(self) -> str:
        turns = [{"role": ("user", "assistant")[i % 2], "content": "Say something. " * 4} for i in range(self.turns)]
        asked: dict[str, Any] = {"model": "mistral/m", "stream": self.stream, "max_tokens": 1000}
        if self.path == "/v1/responses":
            return json.dumps({"model": "mistral/m", "stream": self.stream, "input": turns, "store": False})
        if self.tools and self.path == "/v1/messages":
            schema = {"type": "object", "properties": {"query": {"type": "string"}}}
            asked["tools"] = [
                {"name": f"tool_{i}", "description": "d", "input_schema": schema} for i in range(self.tools)
            ]
        return json.dumps({**asked, "messages": turns})

    @property
    def mark(self) -> str:
        return ENDS[self.path] if self.stream else "stop"


CASES = (
    Case("unary", stream=False),
    Case("unary-translated", "/v1/messages", stream=False),
    Case("big", stream=False, size=256 * 1024),
    Case("burst"),
    Case("burst-translated", "/v1/messages"),
    Case("burst-responses", "/v1/responses"),
    Case("paced", gap=0.02, clients=20),
    Case("paced-translated", "/v1/messages", gap=0.02, clients=20),
    Case("paced-200", gap=0.04, clients=200),
)
