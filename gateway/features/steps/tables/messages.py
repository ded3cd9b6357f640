"""The texts of a Messages request, and of a request to count its tokens.

Source: the parameter types of the anthropic package (``anthropic/types/beta``).
"""

from typing import Final

from gateway.features.steps.shapes import *
from trigate.steps import Part

_CALLER: Final = record(None, **exempt("type", "tool_id"))
_COMMON: Final = {
    "cache_control": MARK,
    "caller": _CALLER,
    **exempt("type", "id", "tool_use_id", "toolset_name", "is_error"),
}
_CITATION: Final = record(
    None, cited_text=TEXT, title=TEXT, document_title=TEXT, url=TEXT, source=TEXT,
    **exempt("type", "encrypted_index", "file_id"),
)  # fmt: skip
_CITATIONS: Final = Shape(Leaf("text"), members={"enabled": EXEMPT}, items=_CITATION)

_TEXT_BLOCK: Final = record(None, text=JOINED, citations=_CITATIONS, **_COMMON)
_TEXTS: Final = array(_TEXT_BLOCK, Leaf("text"))

_SOURCE: Final = cases(
    "type",
    record(None, url=URL, data=text("other"), **exempt("type", "file_id", "media_type")),
    {
        "base64": record(Scope(media=("media_type",)), data=DATA, **exempt("type", "media_type")),
        "text": record(None, data=TEXT, **exempt("type", "media_type")),
        "content": record(
            None, type=EXEMPT,
            content=array(
                cases("type", _TEXT_BLOCK, {"image": record(None, source=ANYTHING, **_COMMON)}), Leaf("text")
            ),
        ),
    },
)  # fmt: skip
_MEDIUM: Final = record(
    None, source=_SOURCE, title=TEXT, context=TEXT, citations=_CITATIONS, transformations=ANYTHING, **_COMMON,
)  # fmt: skip
_SEARCH_RESULT: Final = record(None, content=_TEXTS, source=TEXT, title=TEXT, citations=_CITATIONS, **_COMMON)
_REFERENCE: Final = record(None, tool_name=TEXT, **_COMMON)
_INNER: Final = {
    "text": _TEXT_BLOCK, "image": _MEDIUM, "document": _MEDIUM, "search_result": _SEARCH_RESULT,
    "tool_reference": _REFERENCE,
}  # fmt: skip
_OTHER_BLOCK: Final = record(
    None, text=TEXT, content=Shape(Leaf("text")), **exempt("file_id", "encrypted_index"), **_COMMON,
)  # fmt: skip

_HOSTED: Final = dict(
    text=TEXT, stdout=TEXT, stderr=TEXT, title=TEXT, url=TEXT, page_age=TEXT, retrieved_at=TEXT, error_message=TEXT,
    lines=array(TEXT), tool_references=array(_REFERENCE), stop_reason=EXEMPT,
    **exempt("type", "encrypted_content", "encrypted_stdout", "file_id", "error_code", "file_type", "tool_use_id"),
)  # fmt: skip
_FILES: Final = array(record(None, **exempt("type", "file_id")), Leaf("text"))
_HOSTED_CONTENT: Final = Shape(
    Leaf("text"), members={**_HOSTED, "content": Shape(Leaf("text"), members=_MEDIUM.members, items=_FILES.items)},
    items=cases("type", record(None, **_HOSTED), _INNER),
)  # fmt: skip


def _result(content: Shape) -> Shape:
    return record(Scope("tool_results", result_of=("tool_use_id",)), content=content, **_COMMON)


_CALL: Final = record(
    Scope("tool_calls", tool=("name",), call_id=("id",)),
    name=NAME, input=document("tool_calls"), server_name=text("other"), **_COMMON,
)  # fmt: skip
_THINKING: Final = record(Scope("reasoning", sealed=("signature",)), thinking=TEXT, **exempt("type", "signature"))
_COMPACTION: Final = record(
    Scope("assistant", sealed=("signature", "encrypted_content")),
    content=TEXT, tool_changes=Shape(Leaf("json", "tools")), cache_control=MARK,
    **exempt("type", "encrypted_content", "signature"),
)  # fmt: skip
_TOOL_CHANGE: Final = record(None, tool=tool("name", "definition.name"), **_COMMON)
_HOSTED_RESULTS: Final = (
    "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result",
    "bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "tool_search_tool_result",
    "advisor_tool_result",
)  # fmt: skip

_BLOCK: Final = cases(
    "type", _OTHER_BLOCK,
    {
        **_INNER, "thinking": _THINKING, "redacted_thinking": record(Scope("reasoning"), **exempt("type", "data")),
        "tool_use": _CALL, "server_tool_use": _CALL, "mcp_tool_use": _CALL,
        "tool_result": _result(array(cases("type", _OTHER_BLOCK, _INNER), Leaf("text"))),
        "mcp_tool_result": _result(_TEXTS), **dict.fromkeys(_HOSTED_RESULTS, _result(_HOSTED_CONTENT)),
        "compaction": _COMPACTION, "tool_addition": _TOOL_CHANGE, "tool_removal": _TOOL_CHANGE,
        "mcp_tool_listing": Shape(Leaf("json", "tools")),
        "fallback": record(None, type=EXEMPT, to=record(None, model=EXEMPT), trigger=ANYTHING),
    },
)  # fmt: skip


def _message(part: Part) -> Shape:
    return record(
        Scope(part), content=array(_BLOCK, Leaf("text")), output_config=record(None, effort=EXEMPT),
        **exempt("role", "clear_at", "id", "type", "model", "stop_reason"),
    )  # fmt: skip


REQUEST: Final = record(
    None,
    messages=array(
        cases(
            "role", _message("other"),
            {"user": _message("user"), "assistant": _message("assistant"), "system": _message("system")},
        ),
        turns=True,
    ),
    system=array(record(Scope("system"), text=JOINED, citations=_CITATIONS, **_COMMON), Leaf("text", "system")),
    tools=array(tool("name")), mcp_servers=array(tool("name")), tool_choice=CHOICE,
    metadata=record(None, user_id=text("other")), stop_sequences=array(text("other")),
    output_config=record(
        None, effort=EXEMPT, format=record(None, type=EXEMPT, schema=document("other")),
        task_budget=record(None, **exempt("type", "total", "remaining")),
    ),
    output_format=record(None, type=EXEMPT, schema=document("other")),
    thinking=record(None, **exempt("type", "budget_tokens", "display")),
    container=record(None, EXEMPT_LEAF, id=EXEMPT, skills=array(record(None, **exempt("type", "skill_id", "version")))),
    thread=record(None, type=EXEMPT, previous_message_id=EXEMPT), diagnostics=record(None, previous_message_id=EXEMPT),
    context_management=ANYTHING, compaction=ANYTHING, fallbacks=ANYTHING, billing_policy=ANYTHING,
    betas=EXEMPT_LIST, cache_control=MARK,
    **exempt(
        "model", "max_tokens", "stream", "temperature", "top_p", "top_k", "service_tier", "speed", "inference_geo",
        "fallback_credit_token", "workspace_id", "anthropic_version", "anthropic_beta",
    ),
)  # fmt: skip

_CONTAINER: Final = record(
    None, id=EXEMPT, expires_at=EXEMPT, skills=array(record(None, **exempt("type", "skill_id", "version")))
)  # fmt: skip
_STOP_DETAILS: Final = record(
    None, explanation=TEXT, **exempt("type", "category", "fallback_credit_token", "recommended_model"),
)  # fmt: skip
_ENDED: Final[dict[str, Shape]] = {
    "container": _CONTAINER, "stop_details": _STOP_DETAILS, "usage": ECHO, "stop_sequence": ECHO,
    "context_management": record(None, applied_edits=array(record(None, type=EXEMPT))),
    "diagnostics": record(None, cache_miss_reason=ECHO), "stop_reason": EXEMPT,
    "input_transformations": array(record(None, **exempt("type", "id", "action", "reason"))),
}  # fmt: skip
_WHOLE: Final[dict[str, Shape]] = {**_ENDED, "content": array(_BLOCK), **exempt("id", "type", "role", "model")}
_DELTA: Final = record(
    None, text=TEXT, partial_json=TEXT, thinking=TEXT, content=TEXT, citation=_CITATION,
    **exempt("type", "signature", "encrypted_content"), **_ENDED,
)  # fmt: skip
ANSWER: Final = Shape(
    scope=Scope("assistant"),
    members={
        **_WHOLE,
        "message": Shape(members=_WHOLE),
        "content_block": _BLOCK,
        "delta": _DELTA,
        "error": FAILURE,
        **exempt("index", "request_id"),
    },
)
"""The shape of a complete response and of each event of a stream."""

NATIVE: Final = _BLOCK
"""The shape of items that readers report whole."""
