"""The texts of the lines of batch files and of their results, in the formats of OpenAI, Mistral, Anthropic and Google.

Sources: https://platform.openai.com/docs/guides/batch, https://docs.anthropic.com/en/docs/build-with-claude/batch-processing
and https://ai.google.dev/gemini-api/docs/batch-api.
"""

from typing import Final

from gateway.steps.shapes import (
    ANYTHING,
    ECHO,
    EXEMPT,
    EXEMPT_LIST,
    FAILURE,
    TEXT,
    Shape,
    array,
    cases,
    exempt,
    record,
)
from gateway.steps.tables import chat, endpoints, gemini, messages, responses

_BODIES: Final = {
    "/v1/chat/completions": chat.REQUEST, "/v1/responses": responses.REQUEST, "/v1/messages": messages.REQUEST,
}  # fmt: skip


def _line(body: Shape) -> Shape:
    return record(None, body=body, request=gemini.REQUEST, params=messages.REQUEST,
                  **exempt("custom_id", "key", "method", "url"))  # fmt: skip


LINE: Final = cases("url", _line(endpoints.REQUEST), {url: _line(body) for url, body in _BODIES.items()})
"""A request in a file, whose API its ``url`` states."""

_ANSWER: Final = cases(
    "object", endpoints.ANSWER,
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
BATCH: Final = record(
    None, data=array(record(None, **_BATCH)), **exempt("first_id", "last_id"), **_BATCH,
)  # fmt: skip
"""A batch, or a list of batches. Mistral's has results itself."""
