"""Rejections of a JSON Schema for the answer, by models that only have JSON mode.

DeepSeek and some models at Groq reject it (BerriAI/litellm#7580, llm-exe/llm-exe#662).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.errors.words import Words
from providers.neutral.formats import describe_schema, end_of_prompt

FORMAT: Final = "response_format"
MESSAGES: Final = "messages"

_SENTENCES: Final = (
    r"This response_format type is unavailable now"
    r"|response_format: response_format\.type `?json_schema`? is unavailable now"
    r"|This model does not support response format `json_schema`"
)
WORDS: Final = Words.of(
    _SENTENCES,
    r"(?:Failed to deserialize the JSON body into the target type: )?",
    r"(?: at line \d+ column \d+)?\.?(?: See supported models at https://[\w./#\-]{1,200})?",
)


def use_json_mode(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of a Chat ``body``: JSON mode, and an instruction with the schema after the last
    message that is not the model's. Return ``{}`` for a body without a schema."""
    format, messages = body.get(FORMAT), body.get(MESSAGES)
    if not isinstance(format, dict) or format.get("type") != "json_schema" or not isinstance(messages, list):
        return {}
    named = format.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    end = end_of_prompt([message.get("role") if isinstance(message, dict) else None for message in messages])
    instruction = {"role": "system", "content": describe_schema(schema)}
    return {FORMAT: {"type": "json_object"}, MESSAGES: [*messages[:end], instruction, *messages[end:]]}
