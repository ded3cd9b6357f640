"""The texts of a Gemini request, and of a request to count its tokens.

Source: the reference of the Gemini API (https://ai.google.dev/api/generate-content) and of Vertex AI.
"""

import re
from collections.abc import Mapping
from typing import Final

from gateway.features.steps.shapes import *
from trigate.steps import Part

_UNDERSCORE: Final = re.compile(r"_([a-z])")


def camel_case(name: str) -> str:
    """Return the name of a member in camel case. Protocol Buffers' JSON has both spellings."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name) if "_" in name else name


_BLOB: Final = record(
    Scope(media=("mimeType",)), data=DATA, displayName=text("media"), fileUri=URL, **exempt("mimeType")
)  # fmt: skip
_MEMBERS: Final[Mapping[str, Shape]] = {
    "text": JOINED,
    "inlineData": _BLOB, "fileData": _BLOB,
    "functionCall": record(
        Scope("tool_calls", tool=("name",), call_id=("id",)),
        name=NAME, args=document(), partialArgs=document(), willContinue=EXEMPT, id=EXEMPT,
    ),
    "functionResponse": record(
        Scope("tool_results", tool=("name",), result_of=("id",)),
        name=NAME, response=document(), parts=array(record(None, inlineData=_BLOB, fileData=_BLOB)),
        **exempt("id", "willContinue", "scheduling"),
    ),
    "executableCode": record(Scope("tool_calls", tool_name="code_execution"), code=TEXT, **exempt("language", "id")),
    "codeExecutionResult": record(
        Scope("tool_results", tool_name="code_execution"), output=TEXT, **exempt("outcome", "id"),
    ),
    "toolCall": record(
        Scope("tool_calls", tool=("toolType",), call_id=("id",)), toolType=NAME, args=document(), id=EXEMPT,
    ),
    "toolResponse": record(
        Scope("tool_results", tool=("toolType",), result_of=("id",)), toolType=NAME, response=document(), id=EXEMPT,
    ),
    "partMetadata": ANYTHING, "videoMetadata": record(None, **exempt("startOffset", "endOffset", "fps")),
    "mediaResolution": record(None, Leaf("exempt"), **exempt("level", "numTokens")),
    **exempt("thought", "thoughtSignature"),
}  # fmt: skip

PARTS: Final = array(
    cases(
        "thought", Shape(members=_MEMBERS),
        {"true": Shape(members={**_MEMBERS, "text": TEXT}, scope=Scope("reasoning", sealed=("thoughtSignature",)))},
    ),
    Leaf("text"),
)  # fmt: skip


def _content(part: Part) -> Shape:
    return Shape(Leaf("text", part), members={"parts": PARTS, "role": EXEMPT}, scope=Scope(part))


_CONTENT: Final = cases(
    "role", _content("user"),
    {"model": _content("assistant"), "function": _content("tool_results"), "system": _content("system")},
    Leaf("text", "user"),
)  # fmt: skip
CONTENT: Final = _content("input")
"""The content of a request for embeddings."""

_TOOLS: Final = Shape(Leaf("json", "tools"))
_TOOL: Final = record(
    Scope("tools"), Leaf("json", "tools"), functionDeclarations=array(tool("name")),
    **dict.fromkeys(
        (
            "googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext", "computerUse", "fileSearch",
            "retrieval", "googleMaps", "enterpriseWebSearch", "parallelAiSearch", "mcpServers",
        ),
        _TOOLS,
    ),
)  # fmt: skip

_GENERATION: Final = record(
    None,
    stopSequences=array(TEXT), responseSchema=document(), responseJsonSchema=document(), _responseJsonSchema=document(),
    speechConfig=ANYTHING, imageConfig=record(None, **exempt("aspectRatio", "imageSize", "imageOutputOptions")),
    thinkingConfig=record(None, **exempt("includeThoughts", "thinkingBudget", "thinkingLevel")),
    responseModalities=EXEMPT_LIST, translationConfig=ANYTHING, responseFormat=ANYTHING,
    routingConfig=ANYTHING, modelSelectionConfig=ANYTHING, modelConfig=ANYTHING,
    **exempt(
        "candidateCount", "maxOutputTokens", "temperature", "topP", "topK", "seed", "presencePenalty",
        "frequencyPenalty", "responseLogprobs", "logprobs", "responseMimeType", "mediaResolution", "audioTimestamp",
        "enableEnhancedCivicAnswers", "enableAffectiveDialog",
    ),
)  # fmt: skip

_REQUEST: Final[dict[str, Shape]] = {
    "contents": array(_CONTENT, Leaf("text", "user"), turns=True), "systemInstruction": _content("system"),
    "tools": array(_TOOL), "toolConfig": _TOOLS, "generationConfig": _GENERATION,
    "safetySettings": array(record(None, **exempt("category", "threshold", "method"))),
    "labels": ANYTHING, "cachedContent": FOREIGN,
    "modelArmorConfig": record(None, **exempt("promptTemplateName", "responseTemplateName")),
    **exempt("model", "serviceTier", "store"),
}  # fmt: skip
REQUEST: Final = Shape(members={**_REQUEST, "generateContentRequest": Shape(members=_REQUEST)})

_SAFETY: Final = array(record(None, **exempt("category", "probability", "severity", "blocked")))
_CITATION: Final = record(None, title=TEXT, uri=TEXT, license=EXEMPT, publicationDate=ECHO)
_CANDIDATE: Final = record(
    None,
    content=_content("assistant"), safetyRatings=_SAFETY, finishMessage=TEXT,
    citationMetadata=record(None, citationSources=array(_CITATION), citations=array(_CITATION)),
    logprobsResult=ECHO, groundingMetadata=ANYTHING, urlContextMetadata=ANYTHING,
    **exempt("finishReason", "index", "tokenCount", "avgLogprobs"),
)  # fmt: skip
ANSWERED: Final[dict[str, Shape]] = {
    "candidates": array(_CANDIDATE), "usageMetadata": ECHO, "createTime": EXEMPT, "error": FAILURE,
    "promptFeedback": record(None, blockReason=EXEMPT, blockReasonMessage=TEXT, safetyRatings=_SAFETY),
    "modelStatus": record(None, message=TEXT, **exempt("modelStage", "retirementTime")),
    **exempt("modelVersion", "responseId"),
}  # fmt: skip
ANSWER: Final = array(Shape(members=ANSWERED, scope=Scope("assistant")))
"""The shape of a complete response and of each event of a stream. A stream may be an array."""

NATIVE: Final = PARTS.items
"""The shape of parts that readers report whole."""
