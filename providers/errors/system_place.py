"""System messages after the beginning of a conversation, for models whose chat template allows only one, and for
Messages servers that allow none among the messages.

The templates of Qwen 3.5 and later, Llama and Gemma reject them (ggml-org/llama.cpp#27367, ollama/ollama#17774,
raullenchai/Rapid-MLX#1543). The servers are those of DeepSeek, Qwen and others (anthropics/claude-code#63366,
deepseek-ai/DeepSeek-V3#1370). MiniMax rejects a second system message in Chat, and each one among the messages of
Messages (openclaw/openclaw#19386, MiniMax-AI/MiniMax-M2.7#43). Google's Gemma 3 has no instructions at all
(0xPlaygrounds/rig#788, lobehub/lobehub#7128, google/adk-python#3900), nor have Titan and Mistral 7B at Bedrock
(danny-avila/LibreChat#6456, 567-labs/instructor#1753). Claude Code and Codex send system messages in
every longer conversation.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from providers.errors.words import Words, change_items

PLACES: Final = ("messages", "input", "system", "instructions")
"""The members of a request that may have instructions."""

_INSTRUCTIONS: Final = ("system", "developer")
_SENTENCE: Final = r"[Ss]ystem message must be at the beginning"
_MINIMAX: Final = Words.of(
    r"invalid params, (?:chat content has invalid message role: system|invalid chat setting) \(2013\)", after=""
)


def template_words(sentence: str) -> Words:
    """Return the words of a chat template that raises ``sentence``, as servers report it."""
    return Words(
        sentence,
        (
            # vLLM, which may repeat it, SGLang, Ollama, Rapid-MLX
            rf"(?:(?:Chat template error|Error|Jinja Exception): ){{0,2}}{sentence}\.?(?: {sentence}\.?)?"
            # llama.cpp, which quotes its template; in 2025 it did so after the sentence (ggml-org/llama.cpp#14349)
            rf"|{sentence}\.? at row \d{{1,6}}, column \d{{1,6}}:\n[\s\S]{{0,4000}}"
            r"|(?:Unable to generate parser for this template\. Automatic parser generation failed: )?\n-{1,40}\n"
            rf"While executing CallExpression at line \d+, column \d+ in source:\n[^\n]{{0,300}}\n *\^\n"
            rf"Error: Jinja Exception: {sentence}\.?"
        ),
    )


WORDS: Final = template_words(_SENTENCE) | _MINIMAX

_ROLE: Final = r"messages(?:\[\d{1,6}\]|\.\d{1,6})\.role"
ROLE_WORDS: Final = Words.of(
    rf"{_ROLE}: unknown variant `system`, expected `user` or `assistant`"
    rf"|{_ROLE} must be either 'user' or 'assistant', but got 'system'"
    # servers with FastAPI (jundot/omlx#1503, fuergaosi233/claude-code-proxy#83)
    rf"|{_ROLE}: Input should be 'user' or 'assistant'"
    r"|'role'\), 'msg': [\"']Input should be 'user' or 'assistant'"
    # Anthropic
    r"|messages: Unexpected role [\"']system[\"']",
    r"(?:Failed to deserialize the JSON body into the target type: |body\.)?",
    r"(?: at line \d+ column \d+)?\.?"
    r"(?: The Messages API accepts a top-level `system` parameter, not [\"']system[\"'] as an input message role\.)?",
)


GEMMA: Final = Words.of(
    r"Developer instruction is not enabled for models/[\w.\-]{1,200}"
    # Bedrock
    r"|This model doesn't support system messages"
    r"(?:\. Try again without a system message or use a model that supports system messages)?"
)


def use_first_turn(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of a Chat, Gemini or Converse ``body``, the instructions as texts of the user; ``{}``
    without instructions."""
    changed: dict[str, Any] = dict(change_items(body, "messages", use_user_role))
    system, messages = body.get("system"), changed.get("messages", body.get("messages"))
    first = messages[0] if isinstance(messages, list) and messages else None
    content = first.get("content") if isinstance(first, dict) else None
    if isinstance(system, list) and isinstance(messages, list) and isinstance(content, list):
        joined = {**messages[0], "content": [*map(_mark_part, system), *content]}
        changed |= {"system": None, "messages": [joined, *messages[1:]]}
    contents = body.get("contents")
    for name in ("systemInstruction", "system_instruction"):
        parts = instruction.get("parts") if isinstance(instruction := body.get(name), dict) else None
        if isinstance(parts, list) and isinstance(contents, list):
            changed |= {name: None, "contents": [{"role": "user", "parts": list(map(_mark_part, parts))}, *contents]}
    return changed


def move_system(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed member of ``body`` with a single system message at the beginning, ``{}`` if nothing changes.

    The first ones become one message with one text. Later ones stay in place as messages of the user, so that the
    conversation keeps its prefix for prompt caches.
    """
    name = "messages" if "messages" in body else "input"
    messages = body.get(name)
    if not isinstance(messages, list):
        return {}
    # The server puts these members at the beginning.
    leading = [] if body.get("system") or body.get("instructions") else list(takewhile(_is_instruction, messages))
    later = messages[len(leading) :]
    if len(leading) < 2 and not any(_is_instruction(message) for message in later) and not _has_list(leading):
        return {}
    first = [{**leading[0], "content": _join_contents(leading)}] if leading else []
    return {name: [*first, *map(use_user_role, later)]}


def _is_instruction(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in _INSTRUCTIONS


def _has_list(messages: Sequence[Mapping[str, Any]]) -> bool:
    return any(isinstance(message.get("content"), list) for message in messages)


def _join_contents(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the texts of ``messages`` as one, because Ollama makes a message of each part of a list."""
    texts: list[str] = []
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        texts += [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "\n\n".join(texts)


def use_user_role(message: Any) -> Any:
    """Return an instruction as a message of the user, and other messages unchanged."""
    if not _is_instruction(message):
        return message
    content = message.get("content")
    if isinstance(content, list):
        content = [_mark_part(part) for part in content]
    elif isinstance(content, str):
        content = mark_text(content)
    return {**message, "role": "user", "content": content}


def _mark_part(part: Any) -> Any:
    text = part.get("text") if isinstance(part, dict) else None
    return {**part, "text": mark_text(text)} if isinstance(text, str) else part


def mark_text(text: str) -> str:
    """Return an instruction for a message of the user."""
    return f"<system>\n{text}\n</system>"
