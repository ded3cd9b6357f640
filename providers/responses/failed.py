"""The last events of a Responses stream that someone else has begun and that fails."""

from collections.abc import Mapping

from providers.errors.failures import OPENAI_CODE
from providers.neutral.echo import ECHO, NOT_DONE
from streams import sse
from streams.events import AnswerStart, ErrorInfo


def failed_events(failed: ErrorInfo, begin: AnswerStart, sequence: int) -> bytes:
    """``response.failed``, whose number in the stream is ``sequence``. A stream that has shown nothing begins first."""
    error = {"code": failed.code or OPENAI_CODE.get(failed.kind, "server_error"), "message": failed.message}
    if sequence:
        return _response_event("failed", begin, sequence, error)
    return _response_event("created", begin, 0, None) + _response_event("failed", begin, 1, error)


def _response_event(word: str, begin: AnswerStart, sequence: int, error: Mapping[str, str] | None) -> bytes:
    """An event with a response object that has every member clients ask for, though little is known of it."""
    response = {
        "id": begin.id or "resp_unknown",
        "object": "response",
        "created_at": begin.created or 0,
        "status": "in_progress" if error is None else "failed",
        "completed_at": None,
        "error": error,
        "incomplete_details": None,
        "model": begin.model,
        "output": [],
        "usage": None,
        **ECHO,
        **NOT_DONE,
    }
    name = f"response.{word}"
    return sse.event(name, {"type": name, "sequence_number": sequence, "response": response})
