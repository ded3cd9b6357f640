"""Rejections of the turns of a conversation.

- Ids and order of tool calls and results, by Mistral and by servers with its templates. Conversations of other models
  have ids of other lengths (langchain-ai/langchain#24668, anomalyco/opencode#1680). Claude Code adds messages of the
  user to tool results (NousResearch/hermes-agent#20154, aliou/pi-neuralwatt#12).
- Other ids of calls: OpenAI's APIs reject long ones, Anthropic's those with other characters. A history of several
  models has such ids (vercel/ai#8132, orchidfiles/ungate#26, AnswerDotAI/fastllm#45).
- Texts after the calls of a turn or before their results, by Claude. Other models write texts there
  (BerriAI/litellm#24361, V1ki/dsh-plugin-subscriptions#22).
- Turns that do not alternate, by Perplexity, and by chat templates such as Gemma's and Mistral's
  (vllm-project/vllm#6862, suitenumerique/conversations#197, perplexityai/api-discussion#265).
- Texts of white space alone, by Claude, Grok and Mistral. Zhipu's models write them, and the conversation fails at its
  first turn with Claude (anomalyco/opencode#3375, anomalyco/opencode#31259, anthropics/claude-code#23440). Turns of
  reasoning alone have none either (AstrBotDevs/AstrBot#6551, charmbracelet/crush#964, OpenHands/OpenHands#8685).
- A last message of the model, by models that cannot continue it. After an interruption, Codex and OpenCode send one;
  Codex then fails at every prompt (router-for-me/CLIProxyAPI#5319, anomalyco/opencode#29760, ggml-org/llama.cpp#20861,
  crewAIInc/crewAI#2194).
- Turns without reasoning, by models that require it back. Kimi and DeepSeek reject the history of another model, or of
  a client that drops reasoning (BerriAI/litellm#26156, anomalyco/opencode#29690, anomalyco/opencode#24722).
- Reasoning with ``null``, by xAI's Responses server. Codex returns ``content: null``. xAI takes that for a change of
  the encrypted content, and rejects every turn after the first (lidge-jun/opencodex#2237, Wei-Shaw/sub2api#4223,
  chenyme/grok2api#688).
- Texts in a list, by Chat servers that accept only one text, such as DeepSeek, Groq and Fireworks
  (QwenLM/qwen-code#2320, microsoft/PyRIT#704, mozilla-ai/any-llm#1228).
- Items in which Codex delivers a task to an agent, by Responses servers other than OpenAI's. They do not know an
  ``agent_message`` (ollama/ollama#18286, lidge-jun/opencodex#3907), or an output without a call (openai/codex#45450,
  farion1231/cc-switch#7551). Both are texts of another agent, and become messages of the user.
- Images whose label differs from their bytes, such as a JPEG that is labelled ``image/png``. Claude Code labels
  pictures by their file's name, and sends a rejected one again with each later turn: the conversation is lost
  (anthropics/claude-code#31642, anthropics/claude-code#11975). Other programs write ``image/jpg``
  (BoundaryML/baml#1292, NousResearch/hermes-agent#55429).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from providers.errors.system_place import move_system, template_words
from providers.errors.words import Words, change_list
from providers.neutral.media import image_beginning, is_data_url, standard_base64
from providers.neutral.texts import is_ciphertext, join_texts

_IMAGE_PLACE: Final = r"(?:[\w.\[\]]{1,300}: )?"
IMAGE_WORDS: Final = Words.of(
    # Anthropic, also at Amazon and Google
    rf"{_IMAGE_PLACE}Image does not match the provided media type [\w/+.\-]{{1,60}}"
    rf"|{_IMAGE_PLACE}The image was specified using the [\w/+.\-]{{1,60}} media type, but the image appears to be an? "
    r"[\w/+.\-]{1,60} image"
    r"|[\w.\[\]]{1,300}\.media_type: Input should be 'image/\w{1,9}'(?:(?:, | or )'image/\w{1,9}'){1,9}"
    # Amazon
    r"|The provided image does not match the specified image format"
    r"|(?:1 validation error detected: )?Value (?:'[\w+.\-]{0,60}' )?at '[\w.]{1,300}\.image\.format' failed to "
    r"satisfy constraint: Member must satisfy enum value set: \[[\w, ]{1,100}\]"
    # Google
    r"|Unsupported MIME type: (?:image/)?(?:jpe?g|png|gif|webp)",
    r"(?:The model returned the following errors: )?",
)

IMAGE_LISTS: Final = ("messages", "input", "contents")
_LABELS: Final = (("media_type", "data"), ("mimeType", "data"), ("mime_type", "data"))
"""The members with the label of a file and its bytes."""
_URLS: Final = ("url", "image_url")
_BASE64: Final = ";base64,"
_OTHERS: Final = ("audio/", "video/")
_SHOWN: Final = 24  # characters of base64 that show the type of an image


def relabel(value: Any) -> Any:
    """Return a message in any API, or a part of it, whose images have the labels of their bytes."""
    if isinstance(value, list):
        return [relabel(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_url_label(inner) if key in _URLS else relabel(inner) for key, inner in value.items()}
    for label, data in _LABELS:
        if label in found and (kind := _actual_type(found[label], found.get(data))) is not None:
            found[label] = kind
    source = found.get("source")
    if "format" in found and isinstance(source, dict):  # Converse
        kind = _actual_type(found["format"], source.get("bytes"))
        found["format"] = found["format"] if kind is None else kind.removeprefix("image/")
    return found


def _with_url_label(url: Any) -> Any:
    """Return a ``data:`` URL with the label of its bytes, and other values unchanged."""
    if not isinstance(url, str) or not is_data_url(url):
        return relabel(url)
    head, mark, data = url.partition(_BASE64)
    kind = _actual_type(head[len("data:") :], data) if mark else None
    return url if kind is None else f"data:{kind}{_BASE64}{data}"


def _actual_type(label: Any, data: Any) -> str | None:
    """Return the media type of an image by its bytes, ``None`` for other data."""
    if not isinstance(label, str) or label.startswith(_OTHERS) or not isinstance(data, str):
        return None
    return image_beginning(standard_base64(data[:_SHOWN]))


IDS: Final = Words.of(
    r"Tool call id was [\w.:\-]{1,200} but must be a-z, A-Z, 0-9, with a length of 9"
) | template_words("Tool call IDs should be alphanumeric strings with length 9!")
ORDER: Final = Words.of(r"Unexpected role '?user'? after role '?tool'?")
LAST: Final = Words.of(
    # Anthropic, also at Bedrock
    r"This model does not support assistant message prefill(?:\. The conversation must end with a user message)?"
    # llama.cpp
    r"|Assistant response prefill is incompatible with enable_thinking"
    # Mistral
    r"|Expected last role User or Tool \(or Assistant with prefix True\) for serving but got assistant",
    r"(?:The model returned the following errors: )?",
)

LISTS: Final = ("messages", "input")
"""The members of a request with its conversation."""

_LENGTH: Final = 9
_VALID: Final = re.compile(rf"[a-zA-Z0-9]{{{_LENGTH}}}")
_CONTINUE: Final = "Continue exactly where your last message ends, without repeating it."
_BRIDGE: Final = {"role": "assistant", "content": "I have read the results."}


def shorten_ids(message: Any) -> Any:
    """Return a Chat or Messages message with valid ids of calls and results."""
    return _with_ids(message, lambda _, id: id if _VALID.fullmatch(id) else _digest(id)[:_LENGTH])


LONG_IDS: Final = Words.of(
    r"Invalid '(?:messages|input)\[\d{1,6}\]\.(?:tool_calls\[\d{1,6}\]\.id|tool_call_id|call_id)': string too long\. "
    r"Expected a string with maximum length \d{1,4}, but got a string with length \d{1,6} instead"
    r"|messages\.\d{1,6}\.content\.\d{1,6}\.tool_(?:use\.id|result\.tool_use_id): String should match pattern "
    r"'\^\[a-zA-Z0-9_-\]\+\$'"
)
_ACCEPTED: Final = {
    "tool_call_id": re.compile(r"(?s:.{1,40})"),
    "call_id": re.compile(r"(?s:.{1,64})"),
    "tool_use_id": re.compile(r"[a-zA-Z0-9_-]{1,64}"),
}
"""The ids of calls that Chat, Responses and Messages accept, by the member of a result."""


def replace_ids(item: Any) -> Any:
    """Return an item of a conversation in Chat, Responses or Messages with accepted ids of calls and results."""
    return _with_ids(item, lambda name, id: id if _ACCEPTED[name].fullmatch(id) else f"call_{_digest(id)[:24]}")


def _with_ids(value: Any, change: Callable[[str, str], str]) -> Any:
    """Return ``value`` with its ids of calls and results after ``change`` of each one's member of results and text."""
    if isinstance(value, list):
        return [_with_ids(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _with_ids(inner, change) if name in _INNER else inner for name, inner in value.items()}
    own = {"tool_use_id": "id"} if found.get("type") == "tool_use" else {"tool_call_id": "id"}
    names = own if found.keys() & _OF_CALLS or found.get("type") == "tool_use" else {name: name for name in _ACCEPTED}
    for rule, name in names.items():
        if isinstance(id := found.get(name), str):
            found[name] = change(rule, id)
    return found


_INNER: Final = ("tool_calls", "content")
_OF_CALLS: Final = frozenset(("function", "custom"))  # members of calls in Chat


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()


_TURNS: Final = (
    r"(?:(?:After the optional system message, )?[Cc]onversation roles must alternate "
    r"(?:user/assistant/user/assistant/\.\.\.|user and assistant roles except for tool calls and results)"
    # Perplexity
    r"|After the \(optional\) system message\(s\), user and assistant roles should be alternating)"
)
ALTERNATION: Final = template_words(_TURNS)


def join_turns(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed messages of a Chat ``body``, in which no two texts of one role follow each other, and with one
    system message; ``{}`` if nothing changes."""
    moved = move_system(body) if "messages" in body else {}
    return moved | change_list({**body, **moved}, "messages", _join_texts)


def _join_texts(messages: list[Any]) -> list[Any]:
    return [turn for role, turns in groupby(messages, _role_of_text) for turn in _join(role, [*turns])]


def _role_of_text(message: Any) -> Any:
    """Return the role of a message that is nothing but text of the user or the model, ``None`` for others."""
    if not isinstance(message, dict) or message.keys() != {"role", "content"}:
        return None
    is_text = isinstance(message["content"], str | list) and message["role"] in ("user", "assistant")
    return message["role"] if is_text else None


def _join(role: Any, turns: list[Any]) -> list[Any]:
    if role is None or len(turns) == 1:
        return turns
    contents = [turn["content"] for turn in turns]
    if all(isinstance(content, str) for content in contents):
        return [{"role": role, "content": "\n\n".join(contents)}]
    texts = ([{"type": "text", "text": one}] if isinstance(one, str) else one for one in contents)
    return [{"role": role, "content": [part for parts in texts for part in parts]}]


BLANK: Final = Words.of(
    r"text content blocks? must (?:be non-empty|contain non-whitespace text)"
    r"|(?:user|all) messages must have non-empty content(?: except for the optional final assistant message)?"
    # xAI, Mistral
    r"|Each message must have at least one content element"
    r"|Assistant message must have either content or tool_calls, but not none",
    r"(?:The model returned the following errors: )?(?:(?:messages|system)(?:\.\w{1,20}){0,6}: )?"
    r"(?:Invalid request content: )?",
)


def omit_blanks(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed lists of a Messages or Chat ``body`` without blank texts, and without messages that have no
    other content; ``{}`` if there are none."""
    system = change_list(body, "system", _without_blanks)
    return system | change_list(body, "messages", lambda items: [*filter(_has_content, map(_with_content, items))])


def _has_content(message: Any) -> bool:
    return not isinstance(message, dict) or message.get("content") not in ([], "") or bool(message.get("tool_calls"))


def _with_content(block: Any) -> Any:
    content = block.get("content") if isinstance(block, dict) else None
    if not isinstance(content, str | list):
        return block
    content = content.strip() and content if isinstance(content, str) else _without_blanks(content)
    if not content:
        content = None if block.get("tool_calls") else "(empty)" if block.get("role") == "tool" else ""
    return {**block, "content": content}


def _without_blanks(blocks: list[Any]) -> list[Any]:
    """Return ``blocks`` without blank texts, whose cache mark moves to the block before."""
    kept: list[Any] = []
    for block in map(_with_content, blocks):
        text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
        if not isinstance(text, str) or text.strip():
            kept.append(block)
        elif "cache_control" in block and kept and _can_end_prefix(kept[-1]):
            kept[-1] = {"cache_control": block["cache_control"], **kept[-1]}
    return kept


def _can_end_prefix(block: Any) -> bool:
    """Return whether ``block`` may have the mark of a prompt cache."""
    return isinstance(block, dict) and "thinking" not in str(block.get("type"))


CALL_PLACES: Final = Words.of(
    r"`tool_use` ids were found without `tool_result` blocks immediately after: [\w\-, ]{1,3000}"
    r"(?:\. Each `tool_use` block must have a corresponding `tool_result` block in the next message)?"
    r"|Did not find \d{1,6} `tool_result` block\(s\) at the beginning of this message"
    r"(?:\. Messages following `tool_use` blocks must begin with a matching number of `tool_result` blocks)?",
    r"(?:The model returned the following errors: )?messages\.\d{1,6}: ",
)


def order_calls(message: Any) -> Any:
    """Return a message of Messages with results first and calls last.

    Calls before thinking stay, because the order of Claude's own thinking must not change."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return message
    kinds = [str(block.get("type")) for block in content]
    after = kinds[kinds.index("tool_use") :] if "tool_use" in kinds else []
    if any("thinking" in kind for kind in after):
        return message
    places = {"tool_result": 0, "tool_use": 2}
    return {**message, "content": sorted(content, key=lambda block: places.get(str(block.get("type")), 1))}


LOST_THINKING: Final = Words.of(
    r"Expected `thinking` or `redacted_thinking`, but found `\w{1,20}`",
    r"(?:The model returned the following errors: )?messages\.\d{1,6}\.content\.\d{1,6}\.type: ",
    r"\.?(?: When `thinking` is enabled, a final `assistant` message must start with a thinking block"
    r"[\w `().,:/\-]{0,600})?",
)


def omit_budget(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed member of a Messages ``body`` that thinks with a budget, without thinking; ``{}`` unless the
    current turn has called tools without a thinking block."""
    messages, thinking = body.get("messages"), body.get("thinking")
    if not isinstance(messages, list) or not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return {}
    last: Any = next((one for one in reversed(messages) if _has_role(one, "assistant")), {})
    content = last.get("content")
    kinds = [block.get("type") for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return {"thinking": None} if "tool_use" in kinds and "thinking" not in str(kinds[0]) else {}


def separate_results(messages: list[Any]) -> list[Any]:
    """Return Chat ``messages`` with one of the model between results of tools and a message of the user."""
    changed: list[Any] = []
    for message in messages:
        if _has_role(message, "user") and changed and _has_role(changed[-1], "tool"):
            changed.append(_BRIDGE)
        changed.append(message)
    return changed


def _has_role(message: Any, role: str) -> bool:
    return isinstance(message, dict) and message.get("role") == role


def add_user_turn(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed list of ``body`` with a message of the user at its end, ``{}`` for a conversation that ends
    otherwise.

    The model may have called tools in its last message: only their results may follow that."""
    name = "messages" if "messages" in body else "input"
    messages = body.get(name)
    if not isinstance(messages, list) or not messages:
        return {}
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant" or last.get("tool_calls"):
        return {}
    content = last.get("content")
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    if any(block.get("type") == "tool_use" or "toolUse" in block for block in blocks):
        return {}
    is_converse = any("type" not in block for block in blocks)
    return {name: [*messages, {"role": "user", "content": [{"text": _CONTINUE}] if is_converse else _CONTINUE}]}


_MEMBER: Final = "reasoning_content"
_BLANK: Final = " "
"""The content of the added member. Kimi takes an empty one for missing (NousResearch/hermes-agent#23407)."""

_SENTENCES: Final = (
    rf"thinking is enabled but {_MEMBER} is missing in assistant tool call message at index \d{{1,6}}"
    rf"|The `?{_MEMBER}`? in the thinking mode must be passed back to the API"
    rf"|Missing `?{_MEMBER}`? field in the assistant message at message index \d{{1,6}}"
)
MISSING: Final = Words.of(_SENTENCES, after=r"\.?(?: For more information, please refer to https://[\w./#\-]{1,200})?")
NULL: Final = Words.of(
    r"Could not decode the compaction blob", after=r"(?:\. Ensure it is unmodified from the compact response)?\.?"
)


def add_reasoning(message: Any) -> Any:
    """Return a message, with reasoning if it is a turn of the model."""
    if not isinstance(message, dict) or message.get("role") != "assistant" or message.get(_MEMBER):
        return message
    return {**message, _MEMBER: _BLANK}


def omit_nulls(item: Any) -> Any:
    """Return an item of Responses, without ``null`` if it is reasoning."""
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return item
    return {name: value for name, value in item.items() if value is not None}


_PLACE: Final = r"messages(?:\[\d{1,6}\]|\.\d{1,6})(?:\.\w{1,20})?(?:\.content)?(?:\.str)?"
TEXT_WORDS: Final = Words(
    (
        # Servers in Rust, among them DeepSeek
        rf"{_PLACE}: invalid type: sequence, expected a string"
        # Groq
        rf"|'{_PLACE}' ?: value must be a string"
        # Fireworks, Cerebras
        rf"|Input should be a valid string, field: '{_PLACE}'"
        rf"|{_PLACE}: Input should be a valid string"
        # servers with FastAPI
        r"|'content'(?:, 'str')?\), 'msg': 'Input should be a valid string'"
    ),
    (
        r"(?:Failed to deserialize the JSON body into the target type: )?"
        rf"{_PLACE}: invalid type: sequence, expected a string(?: at line \d+ column \d+)?\.?"
        rf"|'messages\.\d{{1,6}}' ?: for 'role: ?\w{{1,20}}' the following must be satisfied"
        rf"\[\('{_PLACE}' ?: value must be a string\)\]"
        rf"|{_PLACE}: Input should be a valid string\.?"
    ),
)


def join_text_lists(message: Any) -> Any:
    """Return a message with one text instead of a list of texts.

    A list with anything else than texts stays. Marks of a prompt cache are lost with the list."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or not content or not all(map(_is_text, content)):
        return message
    return {**message, "content": join_texts(str(message.get("role")), (part["text"] for part in content))}


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


AGENT_WORDS: Final = Words.of(
    (
        # DeepSeek
        r"input: missing field [`']call_id[`']"
        # Ollama
        r"|input\[\d{1,6}\]: unknown input item type: \"agent_message\""
        # servers in Go
        r"|Invalid input type 'agent_message' at index \d{1,6}"
        # xAI
        r"|data did not match any variant of untagged enum ModelInput"
    ),
    before=r"(?:Failed to deserialize the JSON body into the target type: )?",
    after=r"(?: at line \d+ column \d+)?\.?",
)

_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")


def use_messages(item: Any) -> Any:
    """Return an item of Responses, a message if it delivers a task. Text that only OpenAI can decrypt is omitted."""
    if not isinstance(item, dict):
        return item
    if item.get("type") == "agent_message":
        content = item.get("content")
    elif item.get("type") in _OUTPUTS and item.get("name") and not item.get("call_id"):
        content = item.get("output")
    else:
        return item
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    parts = list(_readable_parts(content)) if isinstance(content, list) else []
    return {"type": "message", "role": "user", "content": parts or [{"type": "input_text", "text": "(no text)"}]}


def _readable_parts(content: list[Any]) -> Iterator[Any]:
    for part in content:
        text = part.get("encrypted_content") if isinstance(part, dict) else None
        if text is None:
            yield part
        elif isinstance(text, str) and not is_ciphertext(text):
            yield {"type": "input_text", "text": text}
