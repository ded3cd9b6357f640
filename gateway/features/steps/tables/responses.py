"""The texts of a Responses request, and of a request to count its tokens or to compact it.

Source: the parameter types of the openai package (``openai/types/responses``).
"""

from collections.abc import Mapping
from typing import Final

from gateway.features.steps.shapes import *
from trigate.steps import Part

_COMMON: Final = {
    "caller": record(None, **exempt("type", "caller_id")),
    "prompt_cache_breakpoint": MARK, "cache_control": MARK,
    **exempt("type", "id", "call_id", "status", "role", "phase", "execution", "created_by"),
}  # fmt: skip
_ANNOTATIONS: Final = array(
    record(None, title=TEXT, url=TEXT, filename=TEXT, **exempt("type", "file_id", "container_id"))
)  # fmt: skip
_LOGPROBS: Final = Shape(Leaf("json", "other"))
_FILE: Final = dict(
    image_url=URL, file_url=URL, file_data=DATA, filename=text("media"), **exempt("file_id", "detail")
)  # fmt: skip
CONTENT: Final = array(
    record(
        None, text=JOINED, refusal=JOINED, annotations=_ANNOTATIONS, logprobs=_LOGPROBS,
        input_audio=record(Scope(media=("format",), media_types="audio/"), data=DATA, format=EXEMPT),
        encrypted_content=TEXT, **_FILE, **_COMMON,
    ),
    Leaf("text"),
)  # fmt: skip


def _message(part: Part) -> Shape:
    return record(Scope(part), content=CONTENT, **_COMMON)


def _call(*members: str, tool: str | None = None, **shapes: Shape) -> Shape:
    """Return the shape of a call, whose arguments are in ``members``."""
    known = {**_COMMON, **dict.fromkeys(members, document()), "name": NAME, **shapes}
    return Shape(members=known, scope=Scope("tool_calls", tool=("name",), call_id=("call_id", "id"), tool_name=tool))


def _result(*members: str, **shapes: Shape) -> Shape:
    known = {**_COMMON, **dict.fromkeys(members, CONTENT), "name": NAME, **shapes}
    return Shape(members=known, scope=Scope("tool_results", tool=("name",), result_of=("call_id", "id")))


_RESULT_TEXT: Final = text("tool_results")
_ERROR: Final = Shape(Leaf("json", "tool_results"), scope=None)
_SAFETY: Final = array(record(None, message=TEXT, **exempt("id", "code")))
_OUTPUTS: Final = array(
    record(
        Scope("tool_results"), stdout=TEXT, stderr=TEXT, logs=TEXT, url=URL, text=TEXT, filename=TEXT,
        outcome=record(None, **exempt("type", "exit_code")), attributes=ANYTHING,
        **exempt("type", "file_id", "created_by"),
    ),
    Leaf("text", "tool_results"),
)  # fmt: skip
_TOOLS: Final = array(tool("name", "server_label", "type"))

_REASONING: Final = record(
    Scope("reasoning", sealed=("encrypted_content",)),
    summary=array(record(None, text=TEXT, type=EXEMPT), Leaf("text")),
    content=array(record(None, text=TEXT, type=EXEMPT), Leaf("text")), encrypted_content=EXEMPT, **_COMMON,
)  # fmt: skip
_COMPACTION: Final = record(Scope("assistant"), encrypted_content=SUMMARY, **_COMMON)

ITEMS: Final[Mapping[str, Shape]] = {
    "reasoning": _REASONING,
    "function_call": _call("arguments", namespace=text("other"), encrypted_function_args=EXEMPT_LIST),
    "custom_tool_call": _call(input=text("tool_calls"), namespace=text("other")),
    "function_call_output": _result("output", namespace=text("other")),
    "custom_tool_call_output": _result("output", namespace=text("other")),
    "agent_message": record(
        Scope("user"), content=CONTENT, agent=record(None, **exempt("agent_name")), **exempt("author", "recipient"),
        **_COMMON,
    ),
    "tool_search_call": _call("arguments", tool="tool_search"),
    "tool_search_output": record(Scope("tools"), tools=_TOOLS, **_COMMON),
    "additional_tools": record(Scope("tools"), tools=_TOOLS, **_COMMON),
    "web_search_call": _call("action", tool="web_search"),
    "file_search_call": _call("queries", tool="file_search", results=_OUTPUTS),
    "code_interpreter_call": _call(tool="code_interpreter", code=text(), container_id=EXEMPT, outputs=_OUTPUTS),
    "computer_call": _call("action", "actions", tool="computer", pending_safety_checks=_SAFETY),
    "computer_call_output": _result(
        acknowledged_safety_checks=_SAFETY, output=record(None, **_FILE, **_COMMON),
    ),
    "local_shell_call": _call("action", tool="local_shell"),
    "local_shell_call_output": _result("output"),
    "shell_call": _call("action", tool="shell", environment=ANYTHING),
    "shell_call_output": _result(output=_OUTPUTS, max_output_length=EXEMPT),
    "apply_patch_call": _call("operation", tool="apply_patch"),
    "apply_patch_call_output": _result("output"),
    "image_generation_call": _call(
        tool="image_generation", revised_prompt=TEXT, result=DATA, error=_ERROR, svg_usage=ANYTHING,
        **exempt("action", "background", "output_format", "quality", "size"),
    ),
    "mcp_list_tools": record(Scope("tools"), tools=_TOOLS, server_label=text("other"), error=TEXT, **_COMMON),
    "mcp_approval_request": _call("arguments", server_label=text("other")),
    "mcp_approval_response": record(Scope("user"), reason=TEXT, **exempt("approval_request_id", "approve"), **_COMMON),
    "mcp_call": _call(
        "arguments", server_label=text("other"), approval_request_id=EXEMPT, error=_ERROR, output=_RESULT_TEXT,
    ),
    "program": _call(code=text(), fingerprint=EXEMPT, tool="program"),
    "program_output": _result("result"),
    "item_reference": record(None, type=EXEMPT, id=FOREIGN),
    "compaction": _COMPACTION, "compaction_summary": _COMPACTION, "compaction_trigger": record(None, **_COMMON),
}  # fmt: skip

_ROLES: Final = {
    "user": _message("user"), "assistant": _message("assistant"),
    "system": _message("system"), "developer": _message("system"),
}  # fmt: skip
_BY_ROLE: Final = cases("role", record(None, content=CONTENT, **_COMMON), _ROLES)
_UNTYPED: Final = cases("role", record(None, content=CONTENT, **{**_COMMON, "id": FOREIGN}), _ROLES)
ITEM: Final = cases("type", _BY_ROLE, {**ITEMS, "": _UNTYPED})

REQUEST: Final = record(
    None,
    input=array(ITEM, Leaf("text", "user"), turns=True), instructions=text("system"),
    tools=_TOOLS, tool_choice=CHOICE,
    text=record(
        None, verbosity=EXEMPT,
        format=record(None, type=EXEMPT, name=TEXT, description=TEXT, schema=document("other"), strict=EXEMPT),
    ),
    reasoning=record(None, **exempt("effort", "summary", "generate_summary", "context", "mode")),
    prompt=record(None, id=EXEMPT, version=EXEMPT, variables=Shape(Leaf("json", "user"))),
    metadata=ANYTHING, user=TEXT, safety_identifier=TEXT, prompt_cache_key=TEXT, client_metadata=ANYTHING,
    previous_response_id=EXEMPT, conversation=record(None, EXEMPT_LEAF, id=EXEMPT),
    prompt_cache_options=record(None, **exempt("mode", "ttl", "prewarm", "comparison_response_id")),
    stream_options=record(None, include_obfuscation=EXEMPT), include=EXEMPT_LIST,
    context_management=array(record(None, **exempt("type", "compact_threshold"))),
    moderation=record(None, model=EXEMPT, policy=ANYTHING), access_programs=record(None, cyber=EXEMPT),
    image=record(None, context_compression=EXEMPT), generate=EXEMPT,
    **exempt(
        "model", "stream", "store", "background", "temperature", "top_p", "top_logprobs", "max_output_tokens",
        "max_tool_calls", "parallel_tool_calls", "service_tier", "truncation", "prompt_cache_retention", "personality",
        "type", "stream_id",
    ),
)  # fmt: skip

_ERROR_OBJECT: Final = record(None, message=TEXT, misalignment=ANYTHING, **exempt("code", "param", "type"))
_MODERATION: Final = record(
    None, message=TEXT, **exempt("model", "type", "code"),
    **dict.fromkeys(("categories", "category_scores", "category_applied_input_types"), ECHO),
)  # fmt: skip
_RESPONSE: Final[dict[str, Shape]] = {
    "output": array(ITEM), "error": _ERROR_OBJECT, "incomplete_details": record(None, reason=EXEMPT),
    "moderation": record(None, input=_MODERATION, output=_MODERATION), "output_text": TEXT,
    "input_transformations": array(record(None, **exempt("id", "action", "reason", "type"))),
    "conversation": record(None, EXEMPT_LEAF, id=EXEMPT), "previous_response_id": EXEMPT,
    **dict.fromkeys(
        (
            "instructions", "tools", "tool_choice", "metadata", "text", "reasoning", "prompt", "user",
            "safety_identifier", "prompt_cache_key", "prompt_cache_options", "prompt_cache_diagnostics", "usage",
            "content_filters",
            "tool_usage", "access_programs", "image", "billing", "context_management", "max_output_tokens",
        ),
        ECHO,
    ),
    **exempt(
        "id", "object", "model", "status", "service_tier", "truncation", "prompt_cache_retention", "created_at",
        "completed_at", "background", "max_tool_calls", "top_logprobs",
        "presence_penalty", "frequency_penalty", "parallel_tool_calls", "store", "temperature", "top_p",
    ),
}  # fmt: skip
_EVENT: Final = record(
    None, delta=TEXT, text=TEXT, refusal=TEXT, arguments=TEXT, input=TEXT, code=TEXT, command=TEXT, output=TEXT,
    transcript=TEXT, message=TEXT, error=_ERROR_OBJECT, item=ITEM, part=CONTENT.items or ANYTHING,
    response=Shape(members=_RESPONSE), annotation=_ANNOTATIONS.items or ANYTHING, logprobs=ECHO, partial_image_b64=DATA,
    **exempt(
        "type", "sequence_number", "item_id", "output_index", "content_index", "summary_index", "annotation_index",
        "obfuscation", "response_id", "param", "stream_id", "id", "event_id",
    ),
)  # fmt: skip
_AUDIO: Final = Shape(members={**(_EVENT.members or {}), "delta": DATA})
ANSWER: Final = cases(
    "object",
    cases("type", _EVENT, {"response.audio.delta": _AUDIO}),
    {"response": Shape(members=_RESPONSE), "response.compaction": Shape(members=_RESPONSE)},
)
"""The shape of a complete response and of each event of a stream."""

NATIVE: Final = ITEM
"""The shape of items that readers report whole."""
