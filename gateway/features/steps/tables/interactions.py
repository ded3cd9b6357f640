"""The texts of an Interactions request, and of its responses.

Source: the types of the google-genai package (``_gaos/types/interactions``).
"""

from collections.abc import Mapping
from typing import Final

from gateway.features.steps.shapes import *
from trigate.steps import Part

_ANNOTATIONS: Final = array(
    record(
        None, title=TEXT, url=TEXT, file_name=TEXT, name=TEXT, text=TEXT, custom_metadata=ANYTHING,
        review_snippets=ANYTHING, **exempt("type", "start_index", "end_index", "document_uri", "place_id", "source"),
    )
)  # fmt: skip
_MEMBERS: Final[dict[str, Shape]] = {
    "text": JOINED, "annotations": _ANNOTATIONS, "data": DATA, "uri": URL, "name": text("media"),
    "processing": ANYTHING, **exempt("type", "mime_type", "resolution", "channels", "sample_rate"),
}  # fmt: skip
_RESULT: Final = record(
    Scope("tool_results", tool=("name",), result_of=("call_id",)),
    name=text("tool_results"), result=array(Shape(members=_MEMBERS), Leaf("json")),
    **exempt("type", "call_id", "is_error", "signature"),
)  # fmt: skip
_CONTENT: Final = cases(
    "type", Shape(members=_MEMBERS, scope=Scope(media=("mime_type",))), {"function_result": _RESULT}, Leaf("text")
)
CONTENT: Final = array(_CONTENT, Leaf("text"))


def _spoken_step(part: Part) -> Shape:
    """Return the shape of an interaction's step whose content is text of ``part``."""
    error = record(None, message=TEXT, details=ANYTHING, code=EXEMPT)
    return record(Scope(part), content=CONTENT, type=EXEMPT, error=error)


def _call(name: str) -> Shape:
    """Return the shape of a call of one of Google's tools."""
    return record(
        Scope("tool_calls", tool_name=name), arguments=document(), name=NAME, server_name=text("other"),
        **exempt("type", "id", "signature", "search_type", "retrieval_type"),
    )  # fmt: skip


_TOOLS: Final = (
    "code_execution", "google_search", "google_maps", "url_context", "file_search", "mcp_server_tool", "retrieval",
    "tool_search", "processing",
)  # fmt: skip
_SUMMARY: Final = array(record(None, text=TEXT, data=DATA, uri=URL, **exempt("type", "mime_type")), Leaf("text"))

STEPS: Final[Mapping[str, Shape]] = {
    "user_input": _spoken_step("user"),
    "model_output": _spoken_step("assistant"),
    "thought": record(
        Scope("reasoning", sealed=("signature",)), summary=_SUMMARY, **exempt("type", "signature")
    ),
    "function_call": record(
        Scope("tool_calls", tool=("name",), call_id=("id",)), name=NAME, arguments=document(), **exempt("type", "id")
    ),
    "function_result": _RESULT,
    **{f"{name}_call": _call(name) for name in _TOOLS},
    **dict.fromkeys((f"{name}_result" for name in _TOOLS), _RESULT),
}  # fmt: skip

_LONE: Final = Shape(Leaf("text", "user"), members=_MEMBERS, scope=Scope("user", media=("mime_type",)))
STEP: Final = cases("type", _LONE, STEPS, Leaf("text", "user"))
"""A step of the input, or a content of the user's."""

_FORMAT: Final = record(
    None, Leaf("json", "other"), schema=document("other"),
    **exempt("type", "mime_type", "aspect_ratio", "image_size", "delivery"),
)  # fmt: skip
REQUEST: Final = record(
    None,
    input=array(STEP, Leaf("text", "user"), turns=True), system_instruction=text("system"),
    tools=array(tool("name", "type")),
    generation_config=record(
        None, stop_sequences=array(TEXT), tool_choice=CHOICE,
        **dict.fromkeys(("speech_config", "image_config", "video_config", "transcription_config"), ANYTHING),
        **exempt("max_output_tokens", "seed", "temperature", "top_p", "thinking_level", "thinking_summaries"),
    ),
    response_format=array(_FORMAT), response_modalities=EXEMPT_LIST, labels=ANYTHING, cached_content=FOREIGN,
    safety_settings=array(record(None, **exempt("category", "threshold", "method"))),
    previous_interaction_id=EXEMPT, continuation_token=EXEMPT, environment=ANYTHING, agent_config=ANYTHING,
    webhook_config=ANYTHING,
    **exempt("model", "agent", "stream", "store", "background", "service_tier", "response_mime_type"),
)  # fmt: skip

_ERROR: Final = record(None, message=TEXT, code=EXEMPT)
_INTERACTION: Final[dict[str, Shape]] = {
    "steps": array(STEP), "errors": array(_ERROR), "error": _ERROR, "previous_interaction_id": EXEMPT,
    **dict.fromkeys(
        (
            "usage", "input", "system_instruction", "tools", "generation_config", "response_format", "labels",
            "safety_settings", "environment", "agent_config", "webhook_config", "continuation_token", "cached_content",
            "response_modalities",
        ),
        ECHO,
    ),
    **exempt(
        "id", "object", "status", "model", "agent", "created", "updated", "service_tier", "environment_id", "role",
        "store", "background", "response_mime_type",
    ),
}  # fmt: skip
_DELTA: Final = record(
    None, text=TEXT, arguments=TEXT, content=_SUMMARY.items or ANYTHING, annotations=_ANNOTATIONS,
    result=array(Shape(members=_MEMBERS), Leaf("json", "tool_results")), data=DATA, uri=URL, name=NAME,
    server_name=text("other"),
    **exempt("type", "signature", "mime_type", "resolution", "is_error", "channels", "sample_rate", "call_id"),
)  # fmt: skip
_EVENT: Final = record(
    None, interaction=Shape(members=_INTERACTION), step=STEP, delta=_DELTA, error=_ERROR, metadata=ECHO, usage=ECHO,
    step_usage=ECHO,
    **exempt("event_type", "event_id", "index", "interaction_id", "status", "continuation_token"),
)  # fmt: skip
ANSWER: Final = Shape(members={**_INTERACTION, **(_EVENT.members or {})}, scope=Scope("assistant"))
"""The shape of a complete response and of each event of a stream."""

NATIVE: Final = STEP
"""The shape of steps and contents that readers report whole."""
