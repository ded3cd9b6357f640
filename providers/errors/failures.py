"""Readers of provider errors into ``ErrorInfo``, and writers of ``ErrorInfo`` for clients.

One tolerant function reads the errors of all APIs, because the sender is not always the API that was called (a proxy's
HTML, a router's own format). Writing uses a table for each format.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from providers.errors import rejected_turns, system_place
from providers.errors.limits import Headers, limit_wait, plan_delays, reset_delays, seconds
from providers.errors.overflow import as_overflow, has_anthropic_words, has_openai_code, overflows
from providers.errors.reasons import (
    NO_REASON,
    concerns_all_clients,
    details_of,
    failure_reason,
    log_message,
    plain_word,
)
from providers.neutral.values import load, text_or_none
from streams.errors import GatewayError
from streams.events import STATUS, ErrorInfo, ErrorKind, FailureReason
from streams.surrogates import NOT_JSON, any_json

EARLY: Final = ErrorInfo("upstream", "the provider ended the stream early", reason="bad_answer")
NO_JSON: Final = ErrorInfo("upstream", "the provider sent an event that is not valid JSON", reason="bad_answer")
EMPTY: Final = ErrorInfo("upstream", "the provider's answer is empty", reason="bad_answer")
NOT_OBJECT: Final = ErrorInfo("upstream", "the provider's answer is not a JSON object", reason="bad_answer")
NO_OBJECT: Final = ErrorInfo("upstream", "the provider sent an event that is not a JSON object", reason="bad_answer")
_CHECK_ADDRESS: Final = "check that base_url is the address of its API"
_NO_RETRY: Final = (("x-should-retry", "false"),)  # the address stays wrong while a client repeats the request
WEB_PAGE: Final = ErrorInfo(
    "upstream", f"the provider sent a web page: {_CHECK_ADDRESS}", headers=_NO_RETRY, reason="bad_answer"
)

# Sentences with a delay, of providers that state it nowhere else.
_SENTENCES: Final = tuple(
    re.compile(words)
    for words in (
        r"[^\n]{0,300}?Please try again in (?P<wait>[\d.hms]{1,20}?)\.?(?:\s|$)",  # OpenAI, Groq
        r"(?s:.{0,1000}?)Please retry in (?P<wait>[\d.hms]{1,30}?)\.?(?:\s|$)",  # Google
        r"usage limit exceeded, .{0,200}?resets at (?P<wait>[\d:TZ-]{1,30})",  # MiniMax
        r"You have reached your specified (?:workspace )?API usage limits\. You will regain access on "
        r"(?P<date>\d{4}-\d\d-\d\d) at (?P<hour>\d\d:\d\d) UTC",  # Anthropic
    )
)


_LIMITS: Final[frozenset[FailureReason]] = frozenset(("rate_limited", "quota"))
"""The reasons about limits. Delays of limits do not apply to other failures."""


def find_delay(
    reason: FailureReason, error: Mapping[str, Any], headers: Headers = (), now: float | None = None
) -> float | None:
    """Return the longest delay in seconds that a failure for ``reason`` states, or ``None``.

    The target is usable only after all of them. ``now`` is in Unix seconds.
    """
    at = time.time() if now is None else now
    headers = (*headers, *_inner_headers(error))
    limits = reason in _LIMITS
    delays = [
        *_delays_in_headers(headers, at),
        *(_delays_in_body(error, at) if limits else ()),
        *(plan_delays(headers, at) if limits else ()),
    ]
    delays = [wait for wait in delays if wait is not None and wait > 0]
    if not delays and limits:
        delays = list(reset_delays(headers, at)) or list(_delays_in_message(error.get("message"), at))
    return limit_wait(max(delays)) if delays else None


def _delays_in_headers(headers: Headers, now: float) -> Iterator[float | None]:
    for name, value in headers:
        if name == "retry-after":
            yield seconds(value, now)
        elif name == "retry-after-ms":
            yield seconds(f"{value.strip()}ms", now)


def _delays_in_body(error: Mapping[str, Any], now: float) -> Iterator[float | None]:
    for member in ("resets_in_seconds", "retry_after"):  # ChatGPT's plans; routers
        if type(number := error.get(member)) in (int, float):
            yield seconds(str(number), now)
    if (moment := error.get("resets_at")) is not None:
        yield seconds(str(moment), now)
    for detail in details_of(error):
        if isinstance(delay := detail.get("retryDelay"), str):  # Google
            yield seconds(delay, now)


def _inner_headers(error: Mapping[str, Any]) -> Headers:
    """Return the headers that OpenRouter repeats in its body."""
    metadata = error.get("metadata")
    inner = metadata.get("headers") if isinstance(metadata, dict) else None
    if not isinstance(inner, dict):
        return ()
    return tuple((str(name).lower(), value) for name, value in inner.items() if isinstance(value, str))


def _delays_in_message(message: Any, now: float) -> Iterator[float]:
    if not isinstance(message, str):
        return
    for words in _SENTENCES:
        if (found := words.match(message)) is not None:
            given = found.groupdict()
            text = given.get("wait") or f"{given['date']}T{given['hour']}:00Z"
            if (wait := seconds(text, now)) is not None:
                yield wait


# Kinds by HTTP status. 401 and 403 stay unchanged here, because only the gateway knows whose credential it was.
KIND_OF_STATUS: Mapping[int, ErrorKind] = {
    400: "invalid_request",
    401: "authentication",
    402: "billing",
    403: "permission",
    404: "not_found",
    407: "upstream",  # the proxy's between gateway and provider (RFC 9110, section 15.5.8)
    408: "timeout",
    410: "not_found",  # Nvidia's retired models (ellipticmarketing/modelrelay#68, NVIDIA/NemoClaw#11902)
    413: "too_large",
    415: "invalid_request",
    422: "invalid_request",
    429: "rate_limited",
    500: "upstream",
    501: "unsupported",
    502: "upstream",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}

# Kinds by `type` or `code` in the body, which are more specific than the status of a stream (200).
KIND_OF_WORD: Mapping[str, ErrorKind] = {
    "invalid_request_error": "invalid_request",
    "invalid_prompt": "invalid_request",
    "context_length_exceeded": "invalid_request",
    "authentication_error": "authentication",
    "invalid_api_key": "authentication",
    "billing_error": "billing",
    "insufficient_quota": "rate_limited",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "model_not_found": "not_found",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limited",
    "rate_limit_exceeded": "rate_limited",
    "overloaded_error": "overloaded",
    "overloaded": "overloaded",
    "timeout_error": "timeout",
    "api_error": "upstream",
    "server_error": "upstream",
    "internal_server_error": "upstream",
    # Google's Interactions
    "invalid_request": "invalid_request",
    "unauthenticated": "authentication",
    "permission_denied": "permission",
    "not_found": "not_found",
    "too_many_requests": "rate_limited",
    "resource_exhausted": "rate_limited",
    "unavailable": "overloaded",
    "deadline_exceeded": "timeout",
    "internal": "upstream",
    # Bedrock, where a status does not state the kind; streams begin the words in lower case
    "ValidationException": "invalid_request",
    "ThrottlingException": "rate_limited",
    "ServiceUnavailableException": "overloaded",
    "ModelTimeoutException": "timeout",
    "ModelStreamErrorException": "upstream",
    "InternalServerException": "upstream",
    "AccessDeniedException": "permission",
    "ResourceNotFoundException": "not_found",
}

_BAD_REQUEST: Final = "invalid_request_error"

# By kind: the type in Messages, the type in OpenAI's APIs, their default code, which the SDKs or Codex read, Google's
# status, Bedrock's exception.
_WORDS: Final[Mapping[ErrorKind, tuple[str, str, str, str, str]]] = {
    "invalid_request": (_BAD_REQUEST, _BAD_REQUEST, "", "INVALID_ARGUMENT", "ValidationException"),
    "authentication": (
        "authentication_error", _BAD_REQUEST, "invalid_api_key", "UNAUTHENTICATED", "AccessDeniedException",
    ),
    "billing": ("billing_error", "billing_error", "", "FAILED_PRECONDITION", "ServiceQuotaExceededException"),
    "permission": ("permission_error", "permission_error", "", "PERMISSION_DENIED", "AccessDeniedException"),
    "not_found": ("not_found_error", _BAD_REQUEST, "", "NOT_FOUND", "ResourceNotFoundException"),
    "too_large": ("request_too_large", _BAD_REQUEST, "", "INVALID_ARGUMENT", "ValidationException"),
    "rate_limited": (
        "rate_limit_error", "rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED", "ThrottlingException",
    ),
    "overloaded": ("overloaded_error", "server_error", "overloaded", "UNAVAILABLE", "ServiceUnavailableException"),
    "upstream": ("api_error", "server_error", "server_error", "INTERNAL", "InternalServerException"),
    "timeout": ("timeout_error", "server_error", "server_error", "DEADLINE_EXCEEDED", "ModelTimeoutException"),
    "unsupported": (_BAD_REQUEST, _BAD_REQUEST, "", "UNIMPLEMENTED", "ValidationException"),
    "internal": ("api_error", "server_error", "server_error", "INTERNAL", "InternalServerException"),
}  # fmt: skip
MESSAGES_TYPE, OPENAI_TYPE, OPENAI_CODE, GOOGLE_STATUS, BEDROCK_EXCEPTION = (
    {kind: words[column] for kind, words in _WORDS.items() if words[column]} for column in range(5)
)

# Rejections of reasoning from an earlier turn: OpenAI sends a code or only a message, Anthropic and Google a message
# (maximhq/bifrost#5892, anthropics/anthropic-sdk-python#1598, BerriAI/litellm#32140). Clients that lose a signature
# send a block without one (WordPress/ai-provider-for-anthropic#30, justlovemaki/AIClient2API#437). OpenAI also rejects
# items whose reasoning is missing, reasoning without its item, and items that come twice (cline/cline#12242,
# openai/openai-agents-python#2503, vercel/ai#7883, continuedev/continue#10723). So it does with ids of items that it
# has not stored, in a 404, and with ids of others (can1357/oh-my-pi#41, openai/codex#33176).
_REASONING_CODES = frozenset(("invalid_encrypted_content",))
_REASONING_WORDS = re.compile(
    r"encrypted content .{0,200}could not be (verified|decrypted)|Invalid `?signature`? in `?thinking`? block"
    r"|was provided without its required (?:'reasoning'|following) item|Duplicate item found with id"
    r"|Items are not persisted when `store` is set to false|Expected an ID that begins with '\w{1,9}'"
    r"|\.thinking\.signature: Field required"
    r"|(thinking|redacted_thinking)`? .{0,200}cannot be modified"
    r"|(?:Corrupted|[Ii]nvalid|Unable to validate) thought.?signature|[Tt]hought.?signature is not valid"
)
_MAX_SEARCHED = 4000  # characters of a message that are searched

_MAX_TEXT = 2000
"""Limit of a text that counts as a message. It is never cut, because redaction would miss half a credential."""

_MESSAGE_NAMES: Final = ("Message", "msg", "error_msg", "error_message", "errorMessage")
"""Other names of an error's message: AWS' front end, Zhipu (songoao25/dsh-bottom-info-bar#25), Baidu and Lambda."""

# Kinds that the reason corrects: a 403 for an empty account or a blocked prompt, a 400 for the gateway's key.
_KIND_OF_REASON: Mapping[tuple[ErrorKind, FailureReason], ErrorKind] = {
    ("authentication", "quota"): "billing",
    ("permission", "quota"): "billing",
    ("permission", "content_filter"): "invalid_request",
    ("permission", "bad_answer"): "invalid_request",
    ("permission", "invalid"): "invalid_request",
    ("invalid_request", "credential"): "authentication",
    ("invalid_request", "bad_answer"): "upstream",  # a 424 of Text Embeddings Inference, a 400 of Groq
    ("invalid_request", "server_error"): "upstream",  # a router's 400 or 404 without a reason
    ("not_found", "server_error"): "upstream",
    # an error without a kind, inside a 200
    ("upstream", "quota"): "rate_limited",
    ("upstream", "overloaded"): "overloaded",
    ("upstream", "credential"): "authentication",
    ("upstream", "gone"): "not_found",
    ("upstream", "content_filter"): "invalid_request",
}

# An HTML page comes from a firewall that blocked the request (anthropics/claude-code#58294), not from a provider that
# rejects a key.
_FIREWALL_MESSAGE = "the provider returned status 403 and a web page: a firewall in front of it blocked the request"

# Messages of servers that do not have the path, in lower case: Go's, FastAPI's and those of proxies.
_NO_PATH_WORDS: Final = frozenset(("not found", "404 page not found", "404 not found", "method not allowed"))

# Rejections that llama.cpp and Ollama report as failures of their own (ggml-org/llama.cpp#19851, sipeed/picoclaw#207),
# and MLX in a 404 (ml-explore/mlx-lm#1375).
_OF_REQUESTS: Final = (system_place.WORDS, rejected_turns.ALTERNATION, rejected_turns.IDS, rejected_turns.LAST)

# Headers of a provider's error that clients act on (api7/aisix#144).
RETRY_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry")


def read_failure(status: int, body: bytes, headers: Headers = ()) -> ErrorInfo:
    """Return the error in a provider's error response.

    Never raises; without a readable message, describes the status instead.
    """
    try:
        error = error_object(any_json(body))
    except NOT_JSON:
        error = _plain_text_error(body, headers)
    blocked = status == 403 and body.lstrip().startswith(b"<")
    given = None if blocked else text_or_none(error.get("message"))
    if status in (404, 500) and given and any(words.are_in(given) for words in _OF_REQUESTS):
        status = 400
    kind = KIND_OF_STATUS.get(status) or ("invalid_request" if 400 <= status < 500 else "upstream")
    own = _FIREWALL_MESSAGE if blocked else f"the provider returned status {status} without a readable error"
    has_moved = 300 <= status < 400
    is_wrong_address = has_moved or (status in (404, 405) and _names_no_path(given))
    if status < 400 or status == 500:  # inside a stream, or a generic status
        kind = kind_of(error, kind)
    reason = "bad_answer" if blocked else failure_reason(status, error, kind, headers)
    corrected = _KIND_OF_REASON.get((kind, reason), kind)
    keeps_status = status >= 400 and (corrected == kind or (status == 400 and reason != "server_error"))
    info = ErrorInfo(
        corrected,
        f"{given or own}: {_CHECK_ADDRESS}" if is_wrong_address else given or own,
        status=status if keeps_status else STATUS[corrected],
        code=_code_word(error.get("code")),
        param=text_or_none(error.get("param")),
        headers=(
            *((name, text) for name, text in headers if name in RETRY_HEADERS),
            *(_NO_RETRY if has_moved else ()),
        ),
        details=error.get("details"),
        reason=reason,
        wait=find_delay(reason, error, headers),
        concerns_all=concerns_all_clients(status, error, reason, headers),
        log_message=log_message(status, error, headers) if given else None,
    )
    return as_overflow(info) if overflows(error, status) else info


def _names_no_path(given: str | None) -> bool:
    """Return whether a 404's message only repeats the status, as servers send it that do not have the path."""
    return given is None or given.casefold().rstrip(".") in _NO_PATH_WORDS


def read_event_failure(value: Any) -> ErrorInfo:
    """Return the error in ``value``, the JSON of an event in a stream that started with 200.

    The error may have any of the formats that ``error_object`` knows.
    """
    error = error_object(value)
    kind = kind_of(error, "upstream")
    given = text_or_none(error.get("message"))
    reason = failure_reason(200, error, kind)
    info = ErrorInfo(
        _KIND_OF_REASON.get((kind, reason), kind),
        given or "the provider ended the stream with an error",
        code=_code_word(error.get("code")),
        param=text_or_none(error.get("param")),
        details=error.get("details"),
        reason=reason,
        wait=find_delay(reason, error),
        concerns_all=concerns_all_clients(200, error, reason),
        log_message=log_message(None, error) if given else None,
    )
    return as_overflow(info) if overflows(error, 200) else info


def error_or_raise(value: Any, own: str) -> ErrorInfo:
    """Return the error in a whole answer without the form of its API. Raises ``GatewayError`` (502) with ``own`` as its
    message if it has none.

    Some servers send their errors with status 200 (songoao25/dsh-bottom-info-bar#25)."""
    has_error = isinstance(value, dict) and (value.get("error") or value.get("__type"))
    if has_error or text_or_none(error_object(value).get("message")):
        return read_event_failure(value)
    raise GatewayError("upstream", own, reason="bad_answer")


def array_failure(data: bytes) -> ErrorInfo | None:
    """Return the error in ``data``, an event or a body, if it is an array with one (Google; langroid/langroid#988)."""
    value = load(data)
    is_error = isinstance(value, list) and text_or_none(error_object(value).get("message"))
    return read_event_failure(value) if is_error else None


def load_answer(body: bytes) -> Any:
    """Return a provider's whole answer, decoded. Raises ``GatewayError`` (502) for invalid JSON."""
    try:
        return any_json(body)
    except NOT_JSON:
        raise GatewayError("upstream", "the provider's response is not valid JSON", reason="bad_answer") from None


def error_object(value: Any) -> Mapping[str, Any]:
    """Return the members of an error, wherever they are: under ``error``, at the top level, or a plain string (xAI).

    Returns the first of several errors in an array.
    """
    value = _first_element(value)
    if not isinstance(value, dict):
        return {}
    if isinstance(detail := value.get("detail"), dict) and not value.get("error"):  # FastAPI servers
        value = detail
    several = value.get("errors")
    inner = _first_element(value.get("error")) or (_first_element(several) if isinstance(several, list) else None)
    if isinstance(inner, dict):
        return _with_reason(inner)
    if isinstance(inner, str):
        message = value.get("error_description") or inner  # OAuth (RFC 6749)
        return {"message": message, "code": value.get("code"), "type": value.get("error_type")}
    for holder in (value, value.get("message")):  # FastAPI servers; Mistral one level deeper
        if isinstance(holder, dict) and (message := _detail_text(holder.get("detail"))):
            return {"message": message}
    if "message" not in value and (
        said := [text for name in _MESSAGE_NAMES if (text := text_or_none(value.get(name)))]
    ):
        return {**value, "message": said[0]}
    if isinstance(status := value.get("base_resp"), dict):  # MiniMax (adrianlyjak/obsidian-aloud-tts#114)
        return {"message": status.get("status_msg"), "code": status.get("status_code")}
    return _with_reason(value)


def _with_reason(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a router's ``error`` with the message of the provider that it called.

    OpenRouter puts that into ``metadata.raw``, as JSON or text (OpenRouterTeam/ai-sdk-provider#422)."""
    metadata = error.get("metadata")
    if error.get("message") != NO_REASON or not isinstance(metadata, dict):
        return error
    raw = metadata.get("raw")
    if isinstance(raw, str):
        raw = load(raw.encode(errors="replace")) if raw[:1] in ("{", "[") else raw.strip()
    if isinstance(raw, dict | list):
        raw = {**error_object(raw)}.get("message")
    return {**error, "message": raw} if isinstance(raw, str) and _is_message(raw) else error


def _is_message(text: str) -> bool:
    return 0 < len(text) <= _MAX_TEXT and not text.startswith("<")


def _first_element(value: Any) -> Any:
    """Return the first element of an array, any other value unchanged."""
    return next((item for item in value if item), None) if isinstance(value, list) else value


def _plain_text_error(body: bytes, headers: Iterable[tuple[str, str]]) -> Mapping[str, Any]:
    """Return a short plain text as an error, as proxies and simple servers send it; nothing for an HTML page."""
    kind = next((value for name, value in headers if name == "content-type"), "")
    if not kind.lower().startswith("text/plain") or len(body) > _MAX_TEXT:
        return {}
    text = body.decode("utf-8", "replace").strip()
    return {} if text.startswith("<") else {"message": text}


def _detail_text(detail: Any) -> str | None:
    """Return FastAPI's ``detail``, a text or a list of errors with paths, as text."""
    if not isinstance(detail, list):
        return text_or_none(detail)
    found = [item for item in detail if isinstance(item, dict) and isinstance(item.get("loc"), list)]
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item.get('msg')}" for item in found) or None


def kind_of(error: Mapping[str, Any], default: ErrorKind) -> ErrorKind:
    """Return the kind for a code or type, else for a status in one, else ``default``."""
    for word in (error.get("code"), error.get("type"), error.get("__type")):
        if isinstance(word, str) and (name := plain_word(word)) in KIND_OF_WORD:
            return KIND_OF_WORD[name]
        if isinstance(word, int) and word in KIND_OF_STATUS:
            return KIND_OF_STATUS[word]
    return default


def rejects_reasoning(error: ErrorInfo) -> bool:
    """Return whether a provider rejected a request because of its reasoning, so that it may be sent without."""
    if error.status not in (400, 404):
        return False
    return error.code in _REASONING_CODES or _REASONING_WORDS.search(error.message[:_MAX_SEARCHED]) is not None


def openai_error(error: ErrorInfo) -> dict[str, Any]:
    """Return the ``error`` member of Chat and Responses. ``code`` is never a status (anthropics/claude-code#51700)."""
    return {
        "message": error.message,
        "type": OPENAI_TYPE[error.kind],
        "param": error.param,
        "code": error.code or OPENAI_CODE.get(error.kind),
    }


STEP_CODES: Final = frozenset(("content_filter", "unchecked_content", "unchecked_endpoint", "step_unavailable"))
"""The codes of refusals by an operator's steps, which APIs without codes state as well."""


def messages_error(error: ErrorInfo) -> dict[str, Any]:
    """Return the ``error`` member of Messages."""
    member: dict[str, Any] = {"type": MESSAGES_TYPE[error.kind], "message": error.message}
    if error.code in STEP_CODES:
        member["code"] = error.code
    if error.details is not None:
        member["details"] = error.details
    return member


def is_openai_error(body: Mapping[str, Any]) -> bool:
    """Return whether an error body has the format of Chat and Responses, with codes that their clients act on."""
    error = body.get("error")
    return isinstance(error, dict) and isinstance(error.get("message"), str) and has_openai_code(error)


def is_messages_error(body: Mapping[str, Any]) -> bool:
    """Return whether an error body has the format of Messages, with words that its clients act on."""
    error = body.get("error")
    if body.get("type") != "error" or not isinstance(error, dict):
        return False
    return isinstance(error.get("message"), str) and has_anthropic_words(error)


def _code_word(value: Any) -> str | None:
    """Return a code that is a word; numeric statuses (OpenRouter) give ``None``."""
    text = text_or_none(value)
    return None if text is None or text.isdigit() else text
