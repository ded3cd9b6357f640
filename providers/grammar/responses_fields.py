"""Tables of the required members of Responses events and items, and of events that belong together.

Source: the types of the openai package.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from providers.grammar.shapes import Shape, one_of


@attrs.frozen
class Text:
    """A streamed text: ``<name>.delta`` events, then ``<name>.done`` with the whole text in ``member``.

    It belongs to an item of type ``item`` and a part of type ``part``; the event's member ``place`` has the part's
    index ("" without parts).
    """

    name: str
    member: str
    item: str
    part: str = ""
    place: str = ""


TEXTS: Mapping[str, Text] = {
    text.name: text
    for text in (
        Text("response.output_text", "text", "message", "output_text", "content_index"),
        Text("response.refusal", "refusal", "message", "refusal", "content_index"),
        Text("response.reasoning_summary_text", "text", "reasoning", "summary_text", "summary_index"),
        Text("response.reasoning_text", "text", "reasoning", "", "content_index"),
        Text("response.function_call_arguments", "arguments", "function_call"),
        Text("response.mcp_call_arguments", "arguments", "mcp_call"),
        Text("response.custom_tool_call_input", "input", "custom_tool_call"),
        Text("response.code_interpreter_call_code", "code", "code_interpreter_call"),
    )
}
STREAMED_CALLS = ("function_call", "custom_tool_call")  # the client's own tools, whose input is streamed

# By event name: the member with the part's index, and by item type the types of parts.
PARTS: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "response.content_part": (
        "content_index",
        {"message": ("output_text", "refusal"), "reasoning": ("reasoning_text",)},
    ),
    "response.reasoning_summary_part": ("summary_index", {"reasoning": ("summary_text",)}),
}
PART: Mapping[str, Shape] = {
    "output_text": {"text": "string", "annotations": "array"},
    "refusal": {"refusal": "string"},
    "summary_text": {"text": "string"},
    "reasoning_text": {"text": "string"},
}

# Required members by event; `@` represents item_id and output_index, which nearly all have.
_EVENTS = """
response: completed created in_progress failed incomplete queued
output_index item: output_item.added output_item.done
@ content_index part: content_part.added content_part.done
@ summary_index part: reasoning_summary_part.added reasoning_summary_part.done
@ content_index delta: output_text.delta refusal.delta reasoning_text.delta
@ content_index text: output_text.done reasoning_text.done
@ content_index refusal: refusal.done
@ content_index annotation_index: output_text.annotation.added
@ summary_index delta: reasoning_summary_text.delta
@ summary_index text: reasoning_summary_text.done
@ delta: function_call_arguments.delta mcp_call_arguments.delta custom_tool_call_input.delta
@ delta: code_interpreter_call_code.delta
@ arguments: function_call_arguments.done mcp_call_arguments.done
@ input: custom_tool_call_input.done
@ code: code_interpreter_call_code.done
@: code_interpreter_call.in_progress code_interpreter_call.interpreting code_interpreter_call.completed
@: file_search_call.in_progress file_search_call.searching file_search_call.completed compaction.compacting
@: web_search_call.in_progress web_search_call.searching web_search_call.completed
@: image_generation_call.in_progress image_generation_call.generating image_generation_call.completed
@: mcp_call.in_progress mcp_call.completed mcp_call.failed
@: mcp_list_tools.in_progress mcp_list_tools.completed mcp_list_tools.failed
@ partial_image_b64 partial_image_index: image_generation_call.partial_image
output_index command_index command: shell_call_command.added shell_call_command.done
output_index command_index delta: shell_call_command.delta
@ command_index delta: shell_call_output_content.delta
@ command_index output: shell_call_output_content.done
delta: audio.delta audio.transcript.delta
: audio.done audio.transcript.done
"""
_KINDS: Mapping[str, Shape] = {
    "response": "object", "item": {"type": "text"}, "part": {"type": "text"}, "item_id": "string", "delta": "string",
    "text": "string", "refusal": "string", "arguments": "string", "input": "string", "code": "string",
}  # fmt: skip


def _read_table(table: str) -> dict[str, Mapping[str, Any]]:
    shapes: dict[str, Mapping[str, Any]] = {"error": {}}
    for line in table.strip().splitlines():
        names, _, events = line.partition(":")
        members = names.replace("@", "item_id output_index").split()
        shape = {name: _KINDS.get(name, "int" if name.endswith("_index") else "any") for name in members}
        shapes |= {f"response.{event}": shape for event in events.split()}
    return shapes


EVENTS: Mapping[str, Mapping[str, Any]] = _read_table(_EVENTS)

_CALL: Mapping[str, Any] = {"id": "text", "call_id": "text", "status": "string"}
_SERVED: Mapping[str, Any] = {"id": "text", "status": "string"}
ITEMS: Mapping[str, Shape] = {
    "message": {"id": "text", "status": "string", "role": one_of("assistant"), "content": "array"},
    "function_call": {"call_id": "text", "name": "text", "arguments": "string"},
    "custom_tool_call": {"call_id": "text", "name": "text", "input": "string"},
    "reasoning": {"id": "text", "summary": "array"},
    "function_call_output": {"id": "text", "output": "any", "status": "string"},
    "custom_tool_call_output": {**_CALL, "output": "any"},
    "file_search_call": {**_SERVED, "queries": "array"},
    "web_search_call": _SERVED,
    "computer_call": _CALL,  # the second version of the tool has no `pending_safety_checks`
    "computer_call_output": {**_CALL, "output": "any"},
    "program": {"id": "text", "call_id": "text", "code": "string", "fingerprint": "any"},
    "program_output": {**_CALL, "result": "any"},
    "tool_search_call": {**_SERVED, "arguments": "any", "execution": "any"},
    "tool_search_output": {**_SERVED, "execution": "any", "tools": "array"},
    "additional_tools": {"id": "text", "role": "string", "tools": "array"},
    "compaction": {"id": "text", "encrypted_content": "string"},
    "image_generation_call": _SERVED,
    "code_interpreter_call": {**_SERVED, "container_id": "any"},
    "local_shell_call": {**_CALL, "action": "object"},
    "local_shell_call_output": {"id": "text", "output": "any"},
    "shell_call": {**_CALL, "action": "object"},
    "shell_call_output": {**_CALL, "output": "any"},
    "apply_patch_call": {**_CALL, "operation": "object"},
    "apply_patch_call_output": _CALL,
    "mcp_call": {"id": "text", "arguments": "string", "name": "text", "server_label": "string"},
    "mcp_list_tools": {"id": "text", "server_label": "string", "tools": "array"},
    "mcp_approval_request": {"id": "text", "arguments": "string", "name": "text", "server_label": "string"},
    "mcp_approval_response": {"id": "text", "approval_request_id": "text", "approve": "boolean"},
}
# Additional members of the gateway's own items, and the prefixes of its ids.
WRITTEN: Mapping[str, Shape] = {
    "function_call": {"id": "text", "status": "string"},
    "custom_tool_call": {"id": "text", "status": "string"},
}
PREFIXES: Mapping[str, str] = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
    "tool_search_call": "tsc_",
    "image_generation_call": "ig_",
}

RESPONSE: Shape = {"id": "text", "object": one_of("response"), "status": "text", "output": "array"}
RESPONSE_MEMBERS: Shape = {
    "created_at": "number", "model": "string", "parallel_tool_calls": "boolean", "tool_choice": "string|object",
    "tools": "array", "text": {"format": {"type": "text"}}, "error": "object|null",
    "incomplete_details": "object|null", "instructions": "any", "metadata": "object|null",
    "temperature": "number|null", "top_p": "number|null",
}  # fmt: skip
# Members that Open Responses also requires (openresponses.org, 2026-04-24).
OPEN_MEMBERS: Shape = {
    **dict.fromkeys(("frequency_penalty", "presence_penalty", "temperature", "top_p"), "number"),
    **dict.fromkeys(("completed_at", "max_output_tokens", "max_tool_calls"), "int|null"),
    **dict.fromkeys(("instructions", "previous_response_id", "prompt_cache_key", "safety_identifier"), "string|null"),
    "created_at": "int", "top_logprobs": "int", "background": "boolean", "store": "boolean", "service_tier": "string",
    "truncation": one_of("auto", "disabled"), "metadata": "object", "usage": "object|null",
    "reasoning": {"effort": "string|null", "summary": "string|null"},
}  # fmt: skip
# Members of repeated tools, formats and choices, by type.
REPEATED: Mapping[str, Shape] = {
    "function": {"name": "text", "description": "string|null", "parameters": "object|null", "strict": "boolean|null"},
    "json_schema": {"name": "text", "description": "string|null", "schema": "any", "strict": "boolean"},
    "allowed_tools": {"tools": [{"type": "text"}], "mode": "text"},
}
STATUS: Mapping[str, frozenset[str]] = {
    "response.created": one_of("in_progress", "queued"),
    "response.queued": one_of("queued"),
    "response.in_progress": one_of("in_progress"),
    "response.completed": one_of("completed"),
    "response.incomplete": one_of("incomplete"),
    "response.failed": one_of("failed"),
}
# By status: the members that explain an incomplete or failed response.
WHY: Mapping[str, Shape] = {
    "completed": {"error?": "null", "incomplete_details?": "null"},
    "incomplete": {
        "error?": "null",
        "incomplete_details": {"reason": one_of("max_output_tokens", "content_filter", "max_messages", "steered")},
    },
    "failed": {"error": {"code": "text", "message": "string"}},
}

USAGE: Shape = {
    "input_tokens": "int", "output_tokens": "int", "total_tokens": "int",
    "input_tokens_details": {"cached_tokens": "int"}, "output_tokens_details": {"reasoning_tokens": "int"},
}  # fmt: skip
WRITES: Shape = {"input_tokens_details": {"cache_write_tokens": "int"}}
