"""An offline estimate of a request's input tokens, for models of providers without token counts.

It is deliberately high. Clients that compact their context early lose little, late ones fail (BerriAI/litellm#37102),
and 0 switches compaction off (Wei-Shaw/sub2api#657).
"""

import string
from collections.abc import Iterable
from typing import Any, Final

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

OTHERS = 1.4  # digits, punctuation and line breaks
NOT_ASCII = 2.5  # bytes of UTF-8; a Chinese character has three
LONGEST_WORD = 9  # letters for each space; more are identifiers, hashes or base64
BYTES_PER_TOKEN = 2.7  # of JSON, ids and long words; JSON has about 3
TURN = 6  # tokens around each message
CALL = 10  # around each call of a tool, and each result
TOOL = 24  # around each tool
TOOLS = 500  # the instructions that providers put before the first tool
IMAGE = 1600  # Anthropic's most for one image; OpenAI's high detail is of that order
PAGE_BYTES = 4000  # of a PDF, for which a page of text and its picture are counted
PAGE = 2500
CITED = 600  # a provider's instructions, for each document or search result with citations
AUDIO_BYTES_PER_TOKEN = 600
BASE = 80  # some models have instructions of their own (gpt-oss: about 70)
FORMAT = 200  # a provider's instructions about a schema


def estimate(request: Request, letters: float) -> int:
    """Estimate the input tokens of ``request``: its texts, tools, images and documents. Always above 0.

    ``letters`` are the English letters in a token of the model."""
    size = sum(_part_tokens(part, letters) for message in request.messages for part in message.parts)
    size += _tools_tokens(request.tools, letters)
    if request.format is not None and request.format.schema is not None:
        size += FORMAT + _json_tokens(request.format.schema)
    return round(BASE + TURN * len(request.messages) + size)


def _part_tokens(part: Part, letters: float) -> float:
    return _content_tokens(part, letters) + (CITED if "citations" in getattr(part, "marks", ()) else 0)


def _content_tokens(part: Part, letters: float) -> float:
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return _text_tokens(text, letters)
        case ReasoningPart(seal=seal) if seal is not None and signs_image(seal):
            return 0  # as large as the image, which is counted
        case ReasoningPart(text=text, native=native, seal=seal):
            return _text_tokens(text, letters) or _json_tokens(native if native is not None else seal and seal.item)
        case ImagePart():
            return IMAGE
        case FilePart(source=source):
            if source.kind == "text":
                return _text_tokens(source.value, letters)
            return PAGE * max(1, len(source.value) * 0.75 / PAGE_BYTES) if source.kind == "base64" else PAGE
        case AudioPart(data=data):
            return len(data) * 0.75 / AUDIO_BYTES_PER_TOKEN
        case ToolCallPart(name=name, input=text, id=id):
            return _text_tokens(text, letters) + (len(name) + len(id)) / BYTES_PER_TOKEN + CALL
        case ToolResultPart(parts=parts, call_id=id):
            return sum(_part_tokens(part, letters) for part in parts) + len(id) / BYTES_PER_TOKEN + CALL
        case NativePart(api=api, item=item):
            return IMAGE * len(made_images(api, item, drafts=True)) or _json_tokens(item)


def _tools_tokens(tools: Iterable[Tool | NativeTool], letters: float) -> float:
    size = 0.0
    for tool in tools:
        if isinstance(tool, NativeTool):
            size += 2000  # a server tool has its own instructions
        else:
            size += TOOL + len(tool.name) / BYTES_PER_TOKEN + _text_tokens(tool.description or "", letters)
            size += _json_tokens(tool.schema)
    return size + TOOLS if size else 0


_ENGLISH: Final = string.ascii_letters.encode() + b" "
_ASCII: Final = bytes(range(128))


def _text_tokens(text: str, letters: float) -> float:
    data = text.encode("utf-8", "surrogatepass")
    others = data.translate(None, _ENGLISH)
    rest = 0 if text.isascii() else len(others.translate(None, _ASCII))
    english = len(data) - len(others)
    words = min(english, LONGEST_WORD * (1 + data.count(b" ") + data.count(b"\n")))
    return words / letters + (english - words) / BYTES_PER_TOKEN + (len(others) - rest) / OTHERS + rest / NOT_ASCII


def _json_tokens(value: Any) -> float:
    return 0.0 if value is None else len(msgspec.json.encode(value)) / BYTES_PER_TOKEN


_COUNTS = ("input_tokens", "totalTokens", "inputTokens")


def read_count_answer(body: bytes) -> int | None:
    """Read the number of tokens in a provider's response, in any API's words, or return ``None``."""
    answer: Any = decode_or(msgspec.json.decode, body, None)
    told = (answer.get(name) for name in _COUNTS) if isinstance(answer, dict) else ()
    return next((tokens for tokens in told if isinstance(tokens, int) and not isinstance(tokens, bool)), None)
