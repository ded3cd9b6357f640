"""A provider that holds whole conversations: to learn the content of two boxes, it reads them with the client's
tools, reports the content, and repeats it on request.

It rejects requests that real providers reject, so that a translation that only looks right fails.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.harness import config, free_port, provider
from tests.support.upstreams import JSON, PATHS, Raw, Script, Seen, Tokens, ToolCall, Upstream, render
from tests.support.wire_transcript import Line, conversation_of

PLEASE = "Look into the boxes a and b with the tool, then tell me what they hold."
AGAIN = "Tell me again what the boxes hold, without looking."
WORDS = {"a": "amber-1848", "b": "birch-2077"}
"""The content of the boxes, which the provider only learns from a tool."""
OPEN_BOXES = f"The boxes are open, a: {WORDS['a']}, b: {WORDS['b']}. Tell me what they hold."
"""The prompt for programs without tools."""
FOUND = f"They hold {WORDS['a']} and {WORDS['b']}."
REPEATED = f"Again: {WORDS['a']} and {WORDS['b']}."
THOUGHT = "I cannot know what is in a box without a look."
TITLE = "What two boxes hold"

ENTRIES = {
    "chat": "openai/gpt-5.1-2025-11-13",
    "messages": "anthropic/claude-sonnet-4-5",
    "responses": "openai/gpt-5.1",
}
"""The model that it imitates in each API. Clients use ``on-chat``, ``on-messages`` and ``on-responses``."""

TOOLS: Mapping[str, Mapping[str, str]] = {
    "look_into": {"box": "{}"},
    "Bash": {"command": "cat {}.txt", "description": "Look into a box"},
    "bash": {"command": "cat {}.txt", "description": "Look into a box"},
    "run_shell_command": {"command": "cat {}.txt", "description": "Look into a box"},
    "exec_command": {"cmd": "cat {}.txt"},
}
"""The tools that it can use, with their arguments."""


class StandIn(Upstream):
    """A provider that keeps responses, items and threads, as providers with native state do."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.refused: list[str] = []
        self.said: list[str] = []
        self._seals: set[str] = set()
        self._thoughtful: set[str] = set()  # calls with thinking before them
        self._items: dict[str, Any] = {}
        self._chains: dict[str, list[Any]] = {}
        self._number = 0

    def settings(self) -> tuple[dict[str, Any], int]:
        """Return a configuration with this provider for each API, and its port."""
        port = free_port()
        return config(
            [provider(model, self.url, [api], name=f"on-{api}") for api, model in ENTRIES.items()], port
        ), port

    def answer(self, received: Seen) -> Raw:
        self.seen.append(received)
        if received.path.endswith("/count_tokens"):
            return _json_response(200, {"input_tokens": 1000})
        api = next((api for api, path in PATHS.items() if path == received.path), None)
        if api is None:
            return _json_response(
                404, {"error": {"type": "not_found_error", "message": f"no such path: {received.path}"}}
            )
        try:
            body = self._whole(api, received.json)
            lines = conversation_of(api, body)
            self._check_request(api, body, lines)
        except (KeyError, TypeError, ValueError) as error:
            message = f"the stand-in refuses this: {type(error).__name__} {error}"
            self.refused.append(message)
            return _json_response(
                400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
            )
        return self._reply(api, body, lines)

    def _reply(self, api: str, body: dict[str, Any], lines: Sequence[Line]) -> Raw:
        self._number += 1
        script = script_for(api, body, lines, self._number)
        self.said.append(script.text)
        if script.seal:
            self._seals.add(script.seal)
            self._thoughtful.update(call.id for call in script.calls)
        mark = f"_up{self._number}n".encode()
        raw = render(script, api, body)
        self._keep(api, body, render(script, api, {**body, "stream": False}).pieces[0].replace(b"_up", mark))
        return Raw(raw.status, raw.headers, tuple(piece.replace(b"_up", mark) for piece in raw.pieces), raw.end)

    # State

    def _whole(self, api: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the request with its references resolved."""
        if api == "responses":
            given = body["input"]
            items = [{"role": "user", "content": given}] if isinstance(given, str) else given
            earlier = self._chains[body["previous_response_id"]] if body.get("previous_response_id") else []
            named = [self._items[item["id"]] if item.get("type") == "item_reference" else item for item in items]
            return {**body, "input": [*earlier, *named]}
        thread = body.get("thread") or {}
        if api == "messages" and thread.get("type") == "continue":
            earlier, tools = self._chains[thread["previous_message_id"]]
            return {"tools": tools, **body, "messages": [*earlier, *body["messages"]]}
        return body

    def _keep(self, api: str, body: dict[str, Any], answer: bytes) -> None:
        told = json.loads(answer)
        if api == "responses" and body.get("store") is not False:
            self._items.update((item["id"], item) for item in told["output"])
            self._chains[told["id"]] = [*body["input"], *told["output"]]
        elif api == "messages" and body.get("thread"):
            said = {"role": "assistant", "content": told["content"]}
            self._chains[told["id"]] = [[*body["messages"], said], body.get("tools")]

    # Validation

    def _check_request(self, api: str, body: Mapping[str, Any], lines: Sequence[Line]) -> None:
        """Raise ``ValueError`` with the reason if the request is invalid."""
        if body.get("tools") == [] and api != "messages":
            raise ValueError("tools is empty")
        if api == "messages" and not body.get("max_tokens"):
            raise ValueError("max_tokens is missing")
        calls = [line[1] for line in lines if line[0] == "call"]
        results = [line[1] for line in lines if line[0] == "result"]
        if sorted(calls) != sorted(results):
            raise ValueError(f"calls {calls} and results {results} do not belong together")
        foreign = [line for line in lines if line[0] == "thinking" and line[2] and line[2] not in self._seals]
        if foreign:
            raise ValueError(f"thinking that is not mine: {foreign}")
        thinking = (body.get("thinking") or {}).get("type") == "enabled"
        goes_on = lines[-1][0] == "result"  # thinking of a finished turn may be dropped
        if (
            api == "messages"
            and thinking
            and goes_on
            and set(calls[-2:]) & self._thoughtful
            and not _has_thought(lines)
        ):
            raise ValueError("with thinking, a call has to come back behind its thinking block")


def _has_thought(lines: Sequence[Line]) -> bool:
    return any(line[0] == "thinking" for line in lines)


def _json_response(status: int, value: Any) -> Raw:
    return Raw(status, JSON, (json.dumps(value).encode(),))


def script_for(api: str, body: Mapping[str, Any], lines: Sequence[Line], number: int) -> Script:
    """Return the answer to the conversation ``lines``."""
    asked = max((i for i, line in enumerate(lines) if line[0] == "user" and "boxes" in line[1]), default=-1)
    told = " ".join(
        str(line[2 if line[0] == "result" else 1]) for line in lines if line[0] in ("result", "text", "user")
    )
    known = all(word in told for word in WORDS.values())
    thinking = THOUGHT if wants_thinking(api, body) else ""
    seal = base64.b64encode(f"the seal of thought {number}".encode()).decode() if thinking and api != "chat" else ""
    tokens = Tokens(prompt=max(11, len(str(body)) // 4), output=17, reasoning=5 if thinking else 0)
    if AGAIN in (lines[asked][1] if asked >= 0 else ""):
        return Script(REPEATED if known else "I have forgotten it.", thinking, seal, tokens=tokens)
    if known:
        return Script(FOUND, thinking, seal, tokens=tokens)
    tool = next((tool for tool in offered(body) if tool in TOOLS), None)
    if tool is None or any(line[0] == "result" for line in lines[asked + 1 :]):
        return Script(TITLE, tokens=tokens)
    return Script("Let me look.", thinking, seal, calls(tool, number), "tool_calls", tokens)


def calls(tool: str, number: int) -> tuple[ToolCall, ...]:
    """Return one call for each box."""
    return tuple(
        ToolCall(f"call_{number}{box}", tool, json.dumps({k: v.format(box) for k, v in TOOLS[tool].items()}))
        for box in WORDS
    )


def offered(body: Mapping[str, Any]) -> list[str]:
    """Return the names of the tools in a request of any API."""
    return [(tool.get("function") or tool).get("name", "") for tool in body.get("tools") or ()]


def wants_thinking(api: str, body: Mapping[str, Any]) -> bool:
    match api:
        case "messages":
            return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
        case "responses":
            return bool(body.get("reasoning")) and body["reasoning"].get("effort") != "none"
        case _:
            return body.get("reasoning_effort") not in (None, "none")
