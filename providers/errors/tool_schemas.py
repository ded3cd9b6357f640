"""Rejections of tools because of their JSON Schemas, which other providers accept.

MCP servers describe tools without arguments as ``{"type": "object"}``, which OpenAI rejects
(langchain-ai/langchain-mcp-adapters#137, modelcontextprotocol's Go SDK: xpzouying/xiaohongshu-mcp#677). So it does with
JavaScript's patterns, such as that of Claude Code's tool ``Artifact`` (raine/claude-code-proxy#141). One such tool
fails every request of an agent.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from providers.errors.words import Words, change_items
from providers.neutral.fields import Drops
from providers.neutral.schemas import is_combined, map_schemas, object_schema

TOOLS: Final = "tools"
_TOOL: Final = r"Invalid schema for function '[\w.:\-]{1,200}': "

INCOMPLETE: Final = Words.of(
    # OpenAI (microsoft/playwright-mcp#1191, sigoden/aichat#1049), DeepSeek (farion1231/cc-switch#5490)
    r"(?:In context=\([\w'\"$, \-]{0,300}\), )?(?:object schema missing properties|array schema missing items)"
    r"|schema must be a JSON Schema of 'type: \"object\"', got 'type: \"?(?:None|null)\"?'"
    # Anthropic
    r"|tools\.\d{1,5}\.custom\.input_schema\.type: Field required",
    f"(?:{_TOOL})?",
)
COMBINED: Final = Words.of(
    # OpenAI (langchain-ai/langchainjs#9804), Anthropic (anthropics/claude-code#5319)
    r"schema must have type 'object' and not have (?:'\w{1,20}'/){1,9}'\w{1,20}' at the top level"
    r"|tools\.\d{1,5}\.custom\.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
    f"(?:{_TOOL})?",
)

LIMITS: Final = Words.of(
    # Anthropic, also at OpenRouter and Bedrock (sherifkozman/the-llm-council#55, BerriAI/litellm#29624), of answers and
    # of strict tools (experientiallabs/experiential#804)
    r"(?:output_config\.format\.schema|output_format\.schema|tools\.\d{1,5}\.custom(?:\.input_schema)?): "
    r"(?:For '\w{1,20}' type, (?:property '\w{1,40}' is|properties [\w, ]{1,200} are"
    r"|'minItems' values other than 0 or 1 are) not supported|Schema type 'oneOf' is not supported)",
    r"(?:The model returned the following errors: )?",
)

_LOOKAROUND: Final = r"Invalid JSON schema: regex lookaround is not supported"  # vercel/ai#20021
PATTERNS: Final = Words(
    # OpenAI compiles them with Python's `re` (raine/claude-code-proxy#141).
    rf"' is not a 'regex'|{_LOOKAROUND}",
    rf"{_TOOL}'[^\n]{{1,1000}}' is not a 'regex'\.?|(?:{_TOOL})?{_LOOKAROUND}\.?",
)


def complete_schemas(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed tools of a Chat, Responses or Messages ``body``, ``{}`` if nothing changes.

    Each root has a type, each object ``properties``, each array ``items``. The added ones allow every value."""
    return _change_schemas(body, _complete)


def merge_combinations(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed tools of ``body``, in which no root combines other schemas; ``{}`` if nothing changes."""
    return _change_schemas(body, lambda schema: object_schema(schema, "", Drops()) if is_combined(schema) else schema)


def omit_patterns(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed tools of ``body`` without regular expressions in their schemas; ``{}`` if nothing changes."""
    return _change_schemas(body, lambda schema: map_schemas(schema, _remove_patterns))


def _remove_patterns(schema: dict[str, Any]) -> None:
    schema.pop("pattern", None)
    schema.pop("patternProperties", None)


def _complete(schema: Any) -> Any:
    root = schema if not isinstance(schema, dict) or schema.get("type") is not None else {**schema, "type": "object"}
    return map_schemas(root, _add_members)


def _add_members(schema: dict[str, Any]) -> None:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "object" in kinds:
        schema.setdefault("properties", {})
    if "array" in kinds:
        schema.setdefault("items", {})


def _change_schemas(body: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, list[Any]]:
    return change_items(body, TOOLS, lambda tool: _change_tool(tool, change))


def _change_tool(tool: Any, change: Callable[[Any], Any]) -> Any:
    if not isinstance(tool, dict):
        return tool
    found = dict(tool)
    for name in ("parameters", "input_schema"):
        if isinstance(found.get(name), dict):
            found[name] = change(found[name])
    if isinstance(found.get("function"), dict):
        found["function"] = _change_tool(found["function"], change)
    if isinstance(found.get(TOOLS), list):  # a namespace of Responses
        found[TOOLS] = [_change_tool(inner, change) for inner in found[TOOLS]]
    return found
