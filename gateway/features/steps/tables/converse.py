"""The texts of a Converse request, and of a request to count its tokens.

Source: botocore's service model ``bedrock-runtime``.
"""

from collections.abc import Mapping
from typing import Final

from gateway.features.steps.shapes import *
from trigate.steps import Part

_DOCUMENT_TYPES: Final[Mapping[str, str]] = {
    "txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html", "pdf": "application/pdf",
}  # fmt: skip
_TEXTS: Final = array(record(None, text=JOINED))
_SOURCE: Final = record(
    None, bytes=DATA, text=TEXT, content=_TEXTS, s3Location=record(None, uri=URL, bucketOwner=EXEMPT),
)  # fmt: skip
_CITED: Final = record(None, enabled=EXEMPT)


def _medium(types: str) -> Shape:
    error = record(None, message=TEXT)
    return record(Scope(media=("format",), media_types=types), source=_SOURCE, error=error, format=EXEMPT)


_DOCUMENT: Final = record(
    Scope(media=("format",), media_types=_DOCUMENT_TYPES),
    source=_SOURCE, name=TEXT, context=TEXT, citations=_CITED, format=EXEMPT,
)  # fmt: skip
_SEARCH_RESULT: Final = record(None, source=TEXT, title=TEXT, content=_TEXTS, citations=_CITED)
_GUARDED: Final = record(
    None, text=record(None, text=TEXT, qualifiers=array(EXEMPT)), image=_medium("image/"),
)  # fmt: skip
_INNER: Final = {
    "text": JOINED, "image": _medium("image/"), "video": _medium("video/"), "audio": _medium("audio/"),
    "document": _DOCUMENT, "searchResult": _SEARCH_RESULT, "cachePoint": MARK,
}  # fmt: skip
_CITATION: Final = record(None, title=TEXT, source=TEXT, sourceContent=_TEXTS, location=ANYTHING)
_TOOL_CHANGE: Final = record(Scope("tools"), tool=tool("name"))
_BLOCK: Final = record(
    Scope(sealed=("reasoningContent.reasoningText.signature",)),
    toolUse=record(
        Scope("tool_calls", tool=("name",), call_id=("toolUseId",)),
        name=NAME, input=document(), **exempt("toolUseId", "type"),
    ),
    toolResult=record(
        Scope("tool_results", result_of=("toolUseId",)),
        content=array(record(None, json=document(), **_INNER)), **exempt("toolUseId", "status", "type"),
    ),
    guardContent=_GUARDED,
    reasoningContent=record(
        Scope("reasoning"), reasoningText=record(None, text=TEXT, signature=EXEMPT), redactedContent=EXEMPT,
    ),
    citationsContent=record(None, content=_TEXTS, citations=array(_CITATION)),
    toolAddition=_TOOL_CHANGE, toolRemoval=_TOOL_CHANGE, **_INNER,
)  # fmt: skip


def _message(part: Part) -> Shape:
    return record(Scope(part), content=array(_BLOCK, Leaf("text")), role=EXEMPT)


_MESSAGES: Final = array(
    cases("role", _message("other"), {"user": _message("user"), "assistant": _message("assistant")}), turns=True
)  # fmt: skip
_SYSTEM: Final = array(
    record(Scope("system"), text=JOINED, guardContent=_GUARDED, cachePoint=MARK), Leaf("text", "system")
)  # fmt: skip
_TOOLS: Final = record(
    None,
    tools=array(record(None, toolSpec=tool("name"), systemTool=tool("name"), cachePoint=MARK)),
    toolChoice=Shape(Leaf("json", "tools")),
)  # fmt: skip

_REQUEST: Final[dict[str, Shape]] = {
    "messages": _MESSAGES, "system": _SYSTEM, "toolConfig": _TOOLS,
    "inferenceConfig": record(None, stopSequences=array(TEXT), **exempt("maxTokens", "temperature", "topP")),
    "guardrailConfig": record(
        None, **exempt("guardrailIdentifier", "guardrailVersion", "trace", "streamProcessingMode")
    ),
    # Claude's own tools
    "additionalModelRequestFields": record(None, tools=array(tool("name", "type")), mcp_servers=array(tool("name"))),
    "additionalModelResponseFieldPaths": array(TEXT),
    "promptVariables": Shape(Leaf("json", "user")), "requestMetadata": ANYTHING,
    "performanceConfig": record(None, latency=EXEMPT), "serviceTier": record(None, type=EXEMPT),
    "outputConfig": record(
        None, effort=EXEMPT,
        textFormat=record(
            None, type=EXEMPT,
            structure=record(None, jsonSchema=record(None, schema=document(), name=TEXT, description=TEXT)),
        ),
    ),
    "modelId": EXEMPT,
}  # fmt: skip
REQUEST: Final = Shape(
    members={**_REQUEST, "input": record(None, converse=Shape(members=_REQUEST), invokeModel=ANYTHING)}
)  # fmt: skip

_DELTA: Final = record(
    None, text=TEXT, toolUse=record(None, input=TEXT), toolResult=array(record(None, text=TEXT, json=document())),
    reasoningContent=record(None, text=TEXT, redactedContent=EXEMPT, signature=EXEMPT),
    citation=_CITATION, image=_medium("image/"),
)  # fmt: skip
ANSWER: Final = record(
    Scope("assistant"),
    output=record(None, message=record(None, content=array(_BLOCK), role=EXEMPT)),
    start=record(
        None, toolUse=record(None, name=NAME, **exempt("toolUseId", "type")),
        toolResult=record(None, **exempt("toolUseId", "type", "status")), image=record(None, format=EXEMPT),
    ),
    delta=_DELTA, additionalModelResponseFields=ANYTHING, usage=ECHO, metrics=ECHO, trace=ANYTHING,
    performanceConfig=record(None, latency=EXEMPT), serviceTier=record(None, type=EXEMPT),
    **exempt("stopReason", "role", "contentBlockIndex", "p"),
)  # fmt: skip
"""The shape of a complete response and of each event of a stream."""

NATIVE: Final = _BLOCK
"""The shape of blocks that readers report whole."""
