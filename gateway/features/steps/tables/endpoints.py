"""The texts of requests to the endpoints besides conversations, in the formats of all their makers.

One table has the members of all formats, because the same name means the same in all of them. Sources: the openai,
cohere, mistralai and voyageai packages, and the descriptions of vLLM, Text Embeddings Inference and Vertex AI; for the
lines of batch files, https://platform.openai.com/docs/guides/batch,
https://docs.anthropic.com/en/docs/build-with-claude/batch-processing and https://ai.google.dev/gemini-api/docs/batch-api.
"""

from collections.abc import Mapping
from typing import Final

from gateway.features.steps.shapes import *
from gateway.features.steps.tables import TextTable, chat, gemini, messages, responses

_PICTURE: Final = record(None, Leaf("data"), url=URL, data=DATA, detail=EXEMPT, bytesBase64Encoded=DATA, gcsUri=URL)
_URL: Final = record(None, Leaf("url"), url=URL, detail=EXEMPT)
_MEMBERS: Final[Mapping[str, Shape]] = {
    "image": _PICTURE, "image_url": _URL, "image_base64": DATA, "video": _PICTURE, "video_url": _URL,
    "audio": _PICTURE, "title": TEXT, **exempt("type", "id"),
}  # fmt: skip
_CONTENT: Final = array(record(None, text=TEXT, **_MEMBERS), Leaf("text"))
_PART: Final = record(Scope("input"), text=TEXT, prompt=TEXT, query=TEXT, content=_CONTENT, parts=_CONTENT, **_MEMBERS)
_ITEM: Final = cases("role", _PART, chat.BY_ROLE, Leaf("tokens", "input"))
_ITEMS: Final = Shape(Leaf("tokens", "input"), cases=_ITEM.cases, items=_ITEM)
INPUT: Final = Shape(Leaf("tokens", "input"), cases=_ITEM.cases, items=_ITEMS)
"""Text, token ids, an object with text or media, a message, or a list of these."""

_LINE: Final = text("input")
_CHAT: Final = dict(chat.REQUEST.members or {})
_EMBED: Final = record(
    None, content=gemini.CONTENT, title=_LINE, **exempt("model", "taskType", "outputDimensionality", "autoTruncate"),
)  # fmt: skip
_OCR: Final = record(
    Scope("media"), document_url=URL, image_url=_URL, document_name=TEXT,
    type=EXEMPT, file_id=EXEMPT,
)  # fmt: skip

REQUEST: Final = Shape(
    members={
        **_CHAT,
        **dict.fromkeys(
            (
                "input", "inputs", "prompt", "suffix", "query", "queries", "documents", "texts", "text", "text_1",
                "text_2", "sentences", "source_sentence", "data", "data_1", "data_2", "instances",
            ),
            INPUT,
        ),
        **dict.fromkeys(("instruction", "instructions", "negative_prompt", "lyrics", "title"), _LINE),
        "content": gemini.CONTENT, "requests": array(_EMBED),
        "contents": array(gemini.CONTENT, Leaf("text", "input")), "document": _OCR,
        "image": array(_PICTURE, Leaf("data")), "images": array(_PICTURE, Leaf("data")), "mask": _PICTURE,
        "voice": record(None, Leaf("exempt"), id=EXEMPT), "parameters": ANYTHING, "extra_body": ANYTHING,
        "embedding_types": EXEMPT_LIST, "rank_fields": EXEMPT_LIST, "pages": EXEMPT_LIST,
        "bbox_annotation_format": ANYTHING, "document_annotation_format": ANYTHING,
        **exempt(
            "encoding_format", "dimensions", "input_type", "truncate", "truncation", "output_dimension", "output_dtype",
            "embedding_type", "task", "task_type", "taskType", "outputDimensionality", "autoTruncate", "top_n",
            "return_documents", "return_text", "raw_scores", "max_chunks_per_doc", "max_tokens_per_doc", "priority",
            "echo", "best_of", "max_tokens", "min_tokens", "quality", "size", "style", "background", "moderation",
            "output_format", "output_compression", "partial_images", "input_fidelity", "aspect_ratio", "resolution",
            "response_format", "speed", "stream_format", "late_chunking", "normalized", "truncation_direction",
            "include_image_base64", "image_limit", "image_min_size", "table_format", "width", "height", "steps",
            "guidance", "add_special_tokens", "random_seed",
        ),
    }
)  # fmt: skip

CONVERSATION: Final = record(
    None, items=array(responses.ITEM, Leaf("text", "user"), turns=True), metadata=ANYTHING, type=EXEMPT,
)  # fmt: skip
MESSAGE_BATCH: Final = record(None, requests=array(record(None, custom_id=EXEMPT, params=messages.REQUEST)))
BATCH: Final = record(
    None, metadata=ANYTHING, input_files=EXEMPT_LIST, input_file_id=EXEMPT,
    requests=array(record(None, custom_id=EXEMPT, body=REQUEST)), model=EXEMPT,
    output_expires_after=record(None, **exempt("anchor", "seconds")),
    **exempt("endpoint", "completion_window", "timeout_hours", "agent_id"),
)  # fmt: skip
_VECTORS: Final = ("float", "int8", "uint8", "binary", "ubinary", "base64")
_LINES: Final = array(
    record(
        None,
        text=JOINED,
        word=TEXT,
        speaker=EXEMPT,
        tokens=ECHO,
        **exempt(
            "id", "type", "start", "end", "seek", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob"
        ),
    )
)
"""The lines of a transcript: the text of each continues the one before."""
ANSWER: Final = record(
    Scope("input"), Leaf("text", "input"),
    choices=array(
        record(
            None, text=text("assistant"), message=record(None, content=text("assistant"), role=EXEMPT),
            delta=record(None, content=text("assistant"), role=EXEMPT), logprobs=ECHO,
            **exempt("finish_reason", "index"),
        )
    ),
    text=TEXT, segments=_LINES, words=_LINES, logprobs=ECHO, delta=TEXT, transcript=TEXT, language=EXEMPT, task=EXEMPT,
    data=Shape(
        items=record(
            None, b64_json=DATA, url=URL, revised_prompt=TEXT, embedding=EXEMPT, document=record(None, text=TEXT),
            **exempt("object", "index", "relevance_score", "score"),
        ),
    ),
    embeddings=Shape(Leaf("exempt"), members=dict.fromkeys(_VECTORS, EXEMPT_LIST), items=EXEMPT_LIST),
    results=array(
        record(
            None, document=record(None, text=TEXT), categories=ECHO, category_scores=ECHO,
            category_applied_input_types=ECHO, **exempt("index", "relevance_score", "flagged"),
        )
    ),
    pages=array(record(None, markdown=TEXT, images=array(record(None, id=EXEMPT, image_base64=DATA)))),
    usage=ECHO, meta=ECHO, usage_info=ECHO, b64_json=DATA, audio=DATA,
    **exempt("id", "object", "created", "model", "type", "response_type", "system_fingerprint", "background",
             "output_format", "quality", "size", "mime_type", "duration"),
)  # fmt: skip
"""The shape of a complete response and of each event of a stream."""

_BODIES: Final = {
    "/v1/chat/completions": chat.REQUEST, "/v1/responses": responses.REQUEST, "/v1/messages": messages.REQUEST,
}  # fmt: skip


def _batch_line(body: Shape) -> Shape:
    return record(None, body=body, request=gemini.REQUEST, params=messages.REQUEST,
                  **exempt("custom_id", "key", "method", "url"))  # fmt: skip


LINE: Final = cases("url", _batch_line(REQUEST), {url: _batch_line(body) for url, body in _BODIES.items()})
"""A request in a file, whose API its ``url`` states."""

_ANSWER: Final = cases(
    "object", ANSWER,
    {"chat.completion": chat.ANSWER, "response": responses.ANSWER},
)  # fmt: skip
RESULT: Final = record(
    None,
    response=record(None, body=_ANSWER, **gemini.ANSWERED, **exempt("request_id", "status_code")),
    result=record(None, message=messages.ANSWER, error=record(None, error=FAILURE, **exempt("type", "request_id")),
                  type=EXEMPT),
    error=FAILURE, **exempt("id", "custom_id", "key"),
)  # fmt: skip
"""A line of a result file. OpenAI's and Mistral's have ``response.body``, Google's ``response``, Anthropic's
``result``."""

_BATCH: Final = dict(
    outputs=array(RESULT), metadata=ANYTHING, name=TEXT, request_counts=ECHO, usage=ECHO,
    errors=Shape(TEXT.leaf, members={"object": EXEMPT, "data": array(FAILURE)}, items=FAILURE),
    input_files=EXEMPT_LIST,
    **exempt(
        "id", "object", "type", "endpoint", "model", "status", "processing_status", "completion_window",
        "input_file_id", "output_file_id", "error_file_id", "output_file", "error_file", "created_at", "ended_at",
        "expires_at", "archived_at", "cancel_initiated_at", "results_url", "agent_id", "started_at", "completed_at",
    ),
)  # fmt: skip
BATCH_ANSWER: Final = record(
    None, data=array(record(None, **_BATCH)), **exempt("first_id", "last_id"), **_BATCH,
)  # fmt: skip
"""A batch, or a list of batches. Mistral's has results itself."""

OWN: Final[Mapping[tuple[str, str], TextTable]] = {
    ("conversations", "REQUEST"): TextTable(CONVERSATION), ("message_batches", "REQUEST"): TextTable(MESSAGE_BATCH),
    ("batches", "REQUEST"): TextTable(BATCH), ("batch_line", "REQUEST"): TextTable(LINE, "assistant"),
    ("batch_result", "REQUEST"): TextTable(RESULT, "assistant"),
    **dict.fromkeys((("message_batches", "ANSWER"), ("batches", "ANSWER")), TextTable(BATCH_ANSWER, "assistant")),
}  # fmt: skip
"""The tables that differ, and those of the lines of batch files."""
