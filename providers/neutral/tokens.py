"""An offline estimate of a request's input tokens, for models of providers without token counts.

It is deliberately high. Clients that compact their context early lose little, late ones fail (BerriAI/litellm#37102),
and 0 switches compaction off (Wei-Shaw/sub2api#657).
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from providers.neutral.made_images import made_images, signs_image
from providers.neutral.request import (
    AudioPart,
    FilePart,
    ImagePart,
    NativePart,
    NativeTool,
    Part,
    ReasoningPart,
    RefusalPart,
    Request,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from streams.surrogates import decode_or

BYTES_PER_TOKEN = 2.7  # of UTF-8; English prose has about 4.2 and JSON about 3
TURN = 6  # tokens around each message
TOOL = 24  # around each tool
TOOLS = 500  # the instructions that providers put before the first tool
IMAGE = 1600  # Anthropic's most for one image; OpenAI's high detail is of that order
PAGE_BYTES = 4000  # of a PDF, for which a page of text and its picture are counted
PAGE = 2500
CITED = 600  # a provider's instructions, for each document or search result with citations
AUDIO_BYTES_PER_TOKEN = 600
BASE = 80  # some models have instructions of their own (gpt-oss: about 70)
FORMAT = 200  # a provider's instructions about a schema


def estimate(request: Request) -> int:
    """Estimate the input tokens of ``request``: its texts, tools, images and documents. Always above 0."""
    size = sum(_part_tokens(part) for message in request.messages for part in message.parts) + _tools_tokens(
        request.tools
    )
    if request.format is not None and request.format.schema is not None:
        size += FORMAT + _json_tokens(request.format.schema)
    return round(BASE + TURN * len(request.messages) + size)


def _part_tokens(part: Part) -> float:
    return _content_tokens(part) + (CITED if "citations" in getattr(part, "marks", ()) else 0)


def _content_tokens(part: Part) -> float:
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return _text_tokens(text)
        case ReasoningPart(seal=seal) if seal is not None and signs_image(seal):
            return 0  # as large as the image, which is counted
        case ReasoningPart(text=text, native=native, seal=seal):
            return _text_tokens(text) or _json_tokens(native if native is not None else seal and seal.item)
        case ImagePart():
            return IMAGE
        case FilePart(source=source):
            if source.kind == "text":
                return _text_tokens(source.value)
            return PAGE * max(1, len(source.value) * 0.75 / PAGE_BYTES) if source.kind == "base64" else PAGE
        case AudioPart(data=data):
            return len(data) * 0.75 / AUDIO_BYTES_PER_TOKEN
        case ToolCallPart(name=name, input=text, id=id):
            return _text_tokens(name) + _text_tokens(text) + _text_tokens(id) + TURN
        case ToolResultPart(parts=parts, call_id=id):
            return sum(map(_part_tokens, parts)) + _text_tokens(id) + TURN
        case NativePart(api=api, item=item):
            return IMAGE * len(made_images(api, item, drafts=True)) or _json_tokens(item)


def _tools_tokens(tools: Iterable[Tool | NativeTool]) -> float:
    size = 0.0
    for tool in tools:
        if isinstance(tool, NativeTool):
            size += 2000  # a server tool has its own instructions
        else:
            size += TOOL + _text_tokens(tool.name) + _text_tokens(tool.description or "") + _json_tokens(tool.schema)
    return size + TOOLS if size else 0


def _text_tokens(text: str) -> float:
    return len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN


def _json_tokens(value: Any) -> float:
    return 0.0 if value is None else len(msgspec.json.encode(value)) / BYTES_PER_TOKEN


_COUNTS = ("input_tokens", "totalTokens", "inputTokens")


def read_count_answer(body: bytes) -> int | None:
    """Read the number of tokens in a provider's response, in any API's words, or return ``None``."""
    answer: Any = decode_or(msgspec.json.decode, body, None)
    told = (answer.get(name) for name in _COUNTS) if isinstance(answer, dict) else ()
    return next((tokens for tokens in told if isinstance(tokens, int) and not isinstance(tokens, bool)), None)
