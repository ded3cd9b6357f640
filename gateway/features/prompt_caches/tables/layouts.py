"""The members with tools, system texts and messages in a request of each API."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from streams.events import Api

TOOL, SYSTEM, USER, ASSISTANT = range(4)
"""The roles of those who speak in a block."""

_ROLES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "user": USER, "assistant": ASSISTANT, "model": ASSISTANT,
        "tool": TOOL, "function": TOOL, "system": SYSTEM, "developer": SYSTEM,
    }
)  # fmt: skip


@attrs.frozen(repr=False, eq=False)
class PromptLayout:
    """An API's layout of prompts. Where it lists several names, the first one in a request counts.

    - ``tools``, ``system``, ``history``: the paths of the lists.
    - ``tool_lists``: members of a tool that are lists of tools. ``tool_wrapper``: the member with a tool's definition.
      ``tool_words``: the members with its description and its schema.
    - ``parts``: the member of a message with its content.
    - ``is_flat``: an item of the history is one block, unless its content has several parts.
    - ``system_roles``: the roles of messages that are in the section ``system`` at the start of the history.
    - ``roles``: the roles of messages.
    - ``left_out``: members of an item that are no part of the prompt.
    - ``settings``: members that may be in a provider's key, perhaps after a translation.
    - ``marks``: the members of a block that mark a boundary; ``mark_block``: the member of a block that marks
      the end of the one before it.
    - ``continues``: a request may continue a response by its id."""

    tools: tuple[str, ...] = ("tools",)
    system: tuple[str, ...] = ()
    history: tuple[str, ...] = ("messages",)
    tool_lists: tuple[str, ...] = ()
    tool_wrapper: tuple[str, ...] = ()
    tool_words: tuple[tuple[str, ...], tuple[str, ...]] = (("description",), ("parameters",))
    parts: str = "content"
    is_flat: bool = False
    system_roles: tuple[str, ...] = ()
    roles: Mapping[str, int] = _ROLES
    left_out: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    marks: tuple[str, ...] = ("cache_control", "prompt_cache_breakpoint")
    mark_block: tuple[str, ...] = ()
    continues: bool = False

    def places(self) -> Iterator[tuple[str, str]]:
        """Yield the members with items of a prompt, each with the member of an item that has its blocks."""
        for path in self.tools:
            yield from ((path, within) for within in ("", *self.tool_lists))
        for name in self.system:
            yield from ((name, ""), (f"{name}.{self.parts}", ""))
        yield from ((name, within) for name in self.history for within in ("", self.parts))


LAYOUTS: Final[Mapping[Api, PromptLayout]] = MappingProxyType(
    {
        "messages": PromptLayout(
            system=("system",), tool_words=(("description",), ("input_schema",)),
            settings=("tool_choice", "thinking", "output_config", "output_format", "speed"),
        ),
        "chat": PromptLayout(
            tools=("tools", "functions"), tool_wrapper=("function",), is_flat=True,
            system_roles=("system", "developer"), left_out=("id",),
            settings=(
                "tool_choice", "reasoning_effort", "reasoning", "response_format", "parallel_tool_calls", "verbosity",
            ),
        ),
        "responses": PromptLayout(
            system=("instructions",), history=("input",), is_flat=True, system_roles=("system", "developer"),
            left_out=("id", "status"), continues=True,
            settings=("tool_choice", "reasoning", "text", "parallel_tool_calls", "context_management"),
        ),
        "gemini": PromptLayout(
            system=("systemInstruction", "system_instruction"), history=("contents",), parts="parts",
            tool_lists=("functionDeclarations", "function_declarations"),
            tool_words=(("description",), ("parameters", "parametersJsonSchema", "parameters_json_schema")),
            settings=("toolConfig", "tool_config", "generationConfig", "generation_config"),
        ),
        "converse": PromptLayout(
            tools=("toolConfig.tools",), system=("system",), tool_wrapper=("toolSpec",),
            tool_words=(("description",), ("inputSchema",)), mark_block=("cachePoint",),
            settings=("toolConfig.toolChoice", "additionalModelRequestFields", "outputConfig"),
        ),
        "interactions": PromptLayout(
            system=("system_instruction",), history=("input",), is_flat=True, left_out=("id",),
            settings=("generation_config", "response_format"), continues=True,
        ),
    }
)  # fmt: skip


def tool_part_path(api: Api, number: int) -> str:
    """Return the path from a tool to its name, description or schema (0, 1, 2)."""
    layout = LAYOUTS[api]
    word = "name" if number == 0 else layout.tool_words[number - 1][0]
    return "." + ".".join((*layout.tool_wrapper, word))
