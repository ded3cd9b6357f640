"""Conversations over the Responses API with the official SDK, and the providers' view of them."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import httpx2
import openai
from openai.types.responses import Response

from tests.support.harness import config, provider
from tests.support.upstreams import PATHS, Script, Seen, ToolCall, Upstream
from tests.support.wire_transcript import Line, conversation_of

ENTRIES = {"chat": "groq/on-chat", "messages": "vercel/on-messages", "responses": "lab/on-responses"}
"""Providers without state, one for each API. The model's name begins with ``on-``."""

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS = [
    {
        "type": "function", "name": name, "description": "By city", "strict": True,
        "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
            "additionalProperties": False,
        },
    }
    for name in ("get_weather", "get_time")
]  # fmt: skip


def settings(upstream: Upstream, port: int = 0, **more: Any) -> dict[str, Any]:
    return config([provider(entry, f"{upstream.url}/v1", [api]) for api, entry in ENTRIES.items()], port, **more)


@contextlib.contextmanager
def openai_client(url: str, key: str = "test-key") -> Iterator[openai.OpenAI]:
    plain = httpx2.Client(verify=False, trust_env=False)  # reading certificates takes longer than all else
    with openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0, timeout=20, http_client=plain) as client:
        yield client


@attrs.define
class Talk:
    """Turns through ``sdk``, streamed or not. ``events`` are those of the last stream."""

    sdk: openai.OpenAI
    stream: bool = False
    events: list[Any] = attrs.field(factory=list)

    def ask(self, api: str, input: Any, **more: Any) -> Response:
        given = {"model": f"on-{api}", "input": input, **more}
        if not self.stream:
            response: Response = self.sdk.responses.create(**given)
            return response
        self.events = list(self.sdk.responses.create(**given, stream=True))
        assert [event.sequence_number for event in self.events] == list(range(len(self.events)))
        first, last = self.events[0], self.events[-1]
        assert (first.type, last.type) == ("response.created", f"response.{last.response.status}")
        assert first.response.id == last.response.id
        return last.response  # type: ignore[no-any-return]

    def again(self, id: str, starting_after: int | None = None) -> list[Any]:
        """Return the events of a stored response."""
        more = {} if starting_after is None else {"starting_after": starting_after}
        return list(self.sdk.responses.retrieve(id, stream=True, **more))


# Turns


@attrs.frozen
class Turn:
    """A client's input and the provider's answer, and how a provider sees both in later requests."""

    input: Any
    answer: Script
    asked: Sequence[Line]
    conversation_in: Sequence[Line]
    more: Mapping[str, Any] = {}

    @property
    def system(self) -> list[Line]:
        """The instructions, which apply to this turn alone."""
        return [("system", self.more["instructions"])] if "instructions" in self.more else []


def call(id: str, name: str = "get_weather", city: str = "Zürich") -> ToolCall:
    return ToolCall(id, name, json.dumps({"city": city}, ensure_ascii=False))


def result(id: str, text: str) -> dict[str, str]:
    return {"type": "function_call_output", "call_id": id, "output": text}


TURNS = (
    Turn(
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is the weather there?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
                ],
            }
        ],
        Script("I look.", "A city by a lake.", "c2VhbC0x", (call("call_1"),), "tool_calls"),
        [("user", "What is the weather there?"), ("user", f"image {PIXEL}")],
        [
            ("thinking", "A city by a lake.", "c2VhbC0x"), ("text", "I look."),
            ("call", "call_1", "get_weather", {"city": "Zürich"}),
        ],
        {"instructions": "Be brief.", "tools": TOOLS, "reasoning": {"effort": "low"}},
    ),
    Turn(
        [result("call_1", "12 °C")],
        Script("12 degrees.", "Cold.", "c2VhbC0y"),
        [("result", "call_1", "12 °C")],
        [("thinking", "Cold.", "c2VhbC0y"), ("text", "12 degrees.")],
        {"tools": TOOLS, "reasoning": {"effort": "low"}},
    ),
    Turn(
        "And in Łódź, and when?",
        Script(calls=(call("call_2", city="Łódź"), call("call_3", "get_time", "Łódź")), stop="tool_calls"),
        [("user", "And in Łódź, and when?")],
        [("call", "call_2", "get_weather", {"city": "Łódź"}), ("call", "call_3", "get_time", {"city": "Łódź"})],
        {"instructions": "Be rude.", "tools": TOOLS[::-1]},
    ),
    Turn(
        [result("call_2", "9 °C"), result("call_3", "noon")],
        Script(text="9, at noon."),
        [("result", "call_2", "9 °C"), ("result", "call_3", "noon")],
        [("text", "9, at noon.")],
    ),
    Turn(
        [{"role": "user", "content": "Thanks."}],
        Script(text="Go away."),
        [("user", "Thanks.")],
        [("text", "Go away.")],
    ),
)  # fmt: skip


# The providers' view


def conversation_in(received: Seen) -> list[Line]:
    """Return the conversation in a request to a provider, with images as ``("user", "image " + base64)``."""
    api = next(api for api, path in PATHS.items() if path == received.path)
    return conversation_of(api, _with_words_for_images(received.json))


def _with_words_for_images(value: Any) -> Any:
    match value:
        case {"type": "image_url", "image_url": {"url": url}} | {"type": "input_image", "image_url": url}:
            return {"type": "text", "text": f"image {url.removeprefix('data:image/png;base64,')}"}
        case {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}:
            return {"type": "text", "text": f"image {data}"}
        case dict():
            return {name: _with_words_for_images(member) for name, member in value.items()}
        case list():
            return [_with_words_for_images(member) for member in value]
    return value


def as_heard(api: str, lines: Sequence[Line]) -> list[Line]:
    """Return ``lines`` as the provider of ``api`` that wrote them sees them: Chat has no seals."""
    return [(*line[:2], "") if line[0] == "thinking" and api == "chat" else line for line in lines]


def tool_names(received: Seen) -> list[str]:
    return [tool.get("function", tool)["name"] for tool in received.json.get("tools") or ()]
