"""The stand-in's texts: a description of itself, example values in JSON, and the user's words."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from providers.neutral.formats import format_in_words
from providers.neutral.request import Message, Request, TextPart, ToolResultPart

WHO: Final = "This is the stand-in model of trigate."
GREETING: Final = "Hello from the stand-in model of trigate"
POINT: Final = "Give a provider in your configuration a real address, and this client will get real answers."
ANSWER: Final = (
    f"{WHO} It streams its answer word by word, as a real model does, but it does not understand your request. You "
    f"said: “{{said}}”. {POINT}"
)
CALLED: Final = (
    f"{WHO} You said: “{{said}}”. It does not understand that, but it can demonstrate a tool call: your program ran "
    f"{{tool}} with `{{input}}`, {{result}}\n\n{POINT}"
)
NOT_CALLED: Final = (
    f"{WHO} Your program offered {{tools}}. The stand-in calls only read-only tools, unless `tool_choice` requires "
    f"a call. You said: “{{said}}”. {POINT}"
)
THINKING: Final = (
    "Here a real model would think. The stand-in does not think; this text shows where its thoughts would appear."
)

EXAMPLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("answer", "result", "response", "text", "summary", "message", "content", "reply", "output"), WHO),
    **dict.fromkeys(("reason", "reasoning", "explanation", "justification", "thought"), "The stand-in has no reasons."),
    **dict.fromkeys(("city", "location", "place", "destination"), "Paris"),
    "country": "France",
    "address": "1 Example Street, Paris",
    **dict.fromkeys(("email", "mail"), "someone@example.com"),
    **dict.fromkeys(("url", "uri", "link", "website"), "https://example.com"),
    "date": "2026-01-01",
    "time": "12:00",
    "language": "English",
    "currency": "EUR",
    "phone": "+15550100",
    **dict.fromkeys(("author", "person", "user", "username"), "Ada"),
}
"""Example texts by the last word of a member's name."""

MOST_USER_TEXT: Final = 80  # characters shown of the user's text
TITLE: Final = 50  # characters of a title
MOST_RESULT_TEXT: Final = 600  # characters shown of a tool's result

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PROGRAM_TEXT: Final = re.compile(
    r"<([a-z]+[-_][a-z_-]+)\b[^>]*>.*?</\1>", re.S
)  # <system-reminder>, <environment_context>
_QUOTE: Final = re.compile(r"<(task|user_query|session|user_message|conversation)>(.*?)</\1>", re.S)
_TITLE: Final = re.compile(
    r"\btitle generator\b|\b(?:generate|write|create|suggest|come up with)\b[^.\n]{0,60}\btitle\b", re.I
)


# Names


def split_words(name: str) -> list[str]:
    """Return the words of a name such as ``getWeather``, ``get_weather`` or ``get-weather``."""
    return [word.lower() for word in _WORD.findall(name)]


def last_word(name: str) -> str:
    """Return the last word of a name, which usually names its kind."""
    return next(reversed(split_words(name)), "")


def example_text(name: str, request: Request) -> str:
    """Return a text for the member ``name`` of the JSON that ``request`` demands."""
    match last_word(name):
        case "title" | "topic" | "subject" | "headline":
            return title(request)
        case "query" | "question" | "prompt":
            return user_text(request) or GREETING
        case last:
            return EXAMPLES.get(last) or " ".join(["example", *split_words(name)])


# The user


def user_text(request: Request) -> str:
    """Return the user's last words without the text that programs add."""
    return next(
        filter(None, (user_text_in(message) for message in reversed(request.messages) if message.role == "user")), ""
    )


def user_text_in(message: Message) -> str:
    """Return the user's last words in a turn, which follow any hidden text."""
    texts = [
        without_program_text(part.text)
        for part in message.parts
        if isinstance(part, TextPart) and format_in_words(part.text) is None
    ]
    return next(filter(None, reversed(texts)), "")


def without_program_text(text: str) -> str:
    """Return the user's words in a text that a program sends for them."""
    quote = _QUOTE.search(text)
    return _PROGRAM_TEXT.sub("", quote[2] if quote else text).strip().strip('"')


def shorten(text: str, most: int = MOST_USER_TEXT) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def title(request: Request) -> str:
    """Return a title for the user's words."""
    first = next(iter(user_text(request).splitlines()), "").rstrip(" .?!:")
    return shorten(first[:1].upper() + first[1:], TITLE) or "A talk with the stand-in"


def wants_title(request: Request) -> bool:
    """Return whether a program requests only a title for a conversation."""
    texts = (part.text for message in request.messages for part in message.parts if isinstance(part, TextPart))
    return not request.tools and any(map(_TITLE.search, texts))


# Tools


def result_sentence(result: ToolResultPart) -> str:
    """Return a sentence that repeats a tool's result."""
    text = "\n".join(part.text for part in result.parts if isinstance(part, TextPart))
    text = f"{text}\n".rpartition("\nOutput:\n")[2].strip()  # Codex adds its report before the output
    if not text:
        return "which returned nothing."
    how = "which failed" if result.is_error else "which returned"
    return f"{how}:\n\n```\n{shorten(text, MOST_RESULT_TEXT)}\n```"


def names(tools: Sequence[str]) -> str:
    """Return the names of tools, the first few of many."""
    more = f" and {len(tools) - 3} more" if len(tools) > 3 else ""
    return ", ".join(f"`{name}`" for name in tools[:3]) + more
