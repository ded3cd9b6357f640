"""The texts of a Chat Completions request.

Sources: the parameter types of the openai package (``openai/types/chat``), and the members of other Chat servers.
"""

from collections.abc import Mapping
from typing import Final

from gateway.features.steps.shapes import *
from trigate.steps import Part

_MARKS: Final = {"cache_control": MARK, "prompt_cache_breakpoint": MARK}

_FILE: Final = record(
    Scope(media=("format", "mime_type")),
    file_data=DATA, filename=text("media"), file_id=EXEMPT, **exempt("format", "mime_type"),
)  # fmt: skip
_CONTENT: Final = array(
    record(
        text=JOINED, refusal=JOINED,
        thinking=array(record(text=text("reasoning"), **exempt("type")), Leaf("text", "reasoning")),
        image_url=record(None, Leaf("url"), url=URL, detail=EXEMPT),
        input_audio=record(Scope(media=("format",), media_types="audio/"), data=DATA, format=EXEMPT),
        video_url=record(None, Leaf("url"), url=URL), audio_url=record(None, Leaf("url"), url=URL),
        file=_FILE, **_MARKS, **exempt("type"),
    ),
    Leaf("text"),
)  # fmt: skip

LOGPROBS: Final = record(None, content=ECHO, refusal=ECHO, tokens=ECHO, top_logprobs=ECHO)

_FUNCTION: Final = record(None, name=NAME, arguments=document("tool_calls"))
_CALL: Final = record(
    Scope("tool_calls", tool=("function.name", "custom.name"), call_id=("id",)),
    function=_FUNCTION,
    custom=record(None, name=NAME, input=text("tool_calls")),
    extra_content=record(None, google=record(None, thought_signature=EXEMPT)),
    **exempt("id", "type", "index"),
)
_OLD_CALL: Final = record(Scope("tool_calls", tool=("name",)), name=NAME, arguments=document("tool_calls"))

_DETAILS: Final = array(
    record(
        Scope("reasoning"),
        text=text("reasoning"), summary=text("reasoning"), **exempt("type", "id", "format", "signature", "data"),
    )
)  # fmt: skip

_IMAGES: Final = array(record(None, image_url=record(None, Leaf("url"), url=URL), **exempt("type", "index")))
"""The images that a model made."""

_MEMBERS: Final = dict(
    content=_CONTENT, refusal=TEXT, reasoning_content=text("reasoning"), reasoning=text("reasoning"),
    reasoning_details=_DETAILS, tool_calls=array(_CALL), function_call=_OLD_CALL, audio=record(None, id=EXEMPT),
    images=_IMAGES, **_MARKS, **exempt("role", "tool_call_id", "channel"),
)  # fmt: skip


def _message(part: Part) -> Shape:
    seals = ("reasoning", "reasoning_content", "reasoning_details")
    return record(Scope(part, sealed=("reasoning_details",), removes=seals), name=TEXT, **_MEMBERS)


_RESULT: Final = record(Scope("tool_results", tool=("name",), result_of=("tool_call_id",)), name=NAME, **_MEMBERS)
BY_ROLE: Final[Mapping[str, Shape]] = {
    "system": _message("system"), "developer": _message("system"), "user": _message("user"),
    "assistant": _message("assistant"), "tool": _RESULT, "function": _RESULT,
}  # fmt: skip

_TOOL: Final = tool("function.name", "custom.name", "name")

REQUEST: Final = record(
    None,
    messages=array(cases("role", _message("other"), BY_ROLE), turns=True),
    tools=array(_TOOL), functions=array(_TOOL), plugins=array(tool("id")), web_search_options=tool(),
    prediction=record(Scope("user"), content=array(record(None, text=TEXT, type=EXEMPT), Leaf("text")), type=EXEMPT),
    metadata=ANYTHING, user=TEXT, safety_identifier=TEXT, prompt_cache_key=TEXT, stop=array(TEXT),
    response_format=record(None, type=EXEMPT, json_schema=document("other")),
    modalities=EXEMPT_LIST, audio=record(None, **exempt("format", "voice")),
    stream_options=record(None, **exempt("include_usage", "include_obfuscation")),
    prompt_cache_options=record(None, **exempt("mode", "ttl", "scope", "type")),
    reasoning=record(None, **exempt("effort", "max_tokens", "enabled", "exclude", "summary")),
    thinking=record(None, **exempt("type", "budget_tokens")),
    tool_choice=CHOICE, function_call=CHOICE, cache_control=MARK, prompt_cache_breakpoint=MARK,
    **exempt(
        "model", "reasoning_effort", "service_tier", "verbosity", "prompt_cache_retention", "temperature", "top_p",
        "top_k", "n", "seed", "stream", "store", "max_tokens", "max_completion_tokens", "frequency_penalty",
        "presence_penalty", "logprobs", "top_logprobs", "parallel_tool_calls",
    ),
)  # fmt: skip

_ANSWERED: Final = record(
    Scope("assistant"), name=NAME,
    **{
        **_MEMBERS,
        "audio": record(None, id=EXEMPT, data=DATA, transcript=TEXT),
        "annotations": array(record(None, type=EXEMPT, url_citation=record(None, title=TEXT, url=TEXT))),
    },
)  # fmt: skip
_MODERATION: Final = record(
    None, model=EXEMPT, type=EXEMPT, code=EXEMPT, message=TEXT,
    results=array(record(None, **exempt("model", "type"), categories=ECHO, category_scores=ECHO,
                         category_applied_input_types=ECHO)),
)  # fmt: skip
ANSWER: Final = record(
    Scope("assistant"),
    choices=array(
        record(
            None, message=_ANSWERED, delta=_ANSWERED, text=TEXT, logprobs=LOGPROBS,
            **exempt("finish_reason", "native_finish_reason", "stop_reason", "index"),
        )
    ),
    error=FAILURE, metadata=ECHO, moderation=record(None, input=_MODERATION, output=_MODERATION), usage=ECHO,
    x_groq=record(None, id=EXEMPT, usage=ECHO, error=TEXT),
    **exempt(
        "id", "object", "created", "model", "system_fingerprint", "service_tier", "obfuscation", "p", "provider",
    ),
)  # fmt: skip
"""The shape of a complete response and of each event of a stream."""

NATIVE: Final = record(
    None, reasoning_details=_DETAILS, url_citation=record(None, title=TEXT, url=TEXT),
    image_url=record(None, Leaf("url"), url=URL), **exempt("type", "field", "index"),
)  # fmt: skip
"""The shape of reasoning, citations and images that readers report whole."""
