"""The reason of a provider's failure, determined from status, codes and headers, and from messages only if necessary.

A status is not enough: a short rate limit and an exhausted quota are both 429, and a rejected key may be a 400.
Messages change (arspesk/sur9e#75), so anything outside these tables is decided by the status.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any, Final

from providers.errors.limits import Headers, is_plan_exhausted
from streams.events import FAILURE_REASON, ErrorKind, FailureReason

# Statuses whose reason differs from that of their kind. 500 has no meaning; the others follow their kinds.
_BY_STATUS: Final[Mapping[int, FailureReason]] = {
    407: "connection",
    501: "server_error",
    529: "overloaded",
}

# `code` or `type` of an error, Google's `reason` and AWS's exceptions, if they are unambiguous whatever the status is.
REASON_OF_WORD: Final[Mapping[str, FailureReason]] = {
    # OpenAI, and servers with its words
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "usage_limit_reached": "quota",  # ChatGPT's plans (openai/codex#32341)
    "usage_not_included": "quota",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "invalid_api_key": "credential",
    "account_deactivated": "credential",
    "model_not_found": "gone",
    "content_policy_violation": "content_filter",
    "content_filter": "content_filter",  # Azure, Moonshot
    "ResponsibleAIPolicyViolation": "content_filter",
    # Anthropic
    "billing_error": "quota",
    # Google
    "QUOTA_EXHAUSTED": "quota",
    "API_KEY_INVALID": "credential",  # https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto
    "API_KEY_SERVICE_BLOCKED": "credential",
    "API_KEY_HTTP_REFERRER_BLOCKED": "credential",
    "API_KEY_IP_ADDRESS_BLOCKED": "credential",
    "CONSUMER_SUSPENDED": "credential",
    "ACCESS_TOKEN_EXPIRED": "credential",
    "ACCOUNT_STATE_INVALID": "credential",
    # AWS
    "ModelNotReadyException": "overloaded",
    "ServiceQuotaExceededException": "quota",
    "ModelErrorException": "server_error",
    "ExpiredTokenException": "credential",
    "UnrecognizedClientException": "credential",
    "InvalidClientTokenId": "credential",
    # Moonshot
    "exceeded_current_quota_error": "quota",
    "engine_overloaded_error": "overloaded",
    # Alibaba
    "Arrearage": "quota",
    "AllocationQuota.FreeTierOnly": "quota",
    "data_inspection_failed": "content_filter",
    "DataInspectionFailed": "content_filter",
    # Zhipu: an empty account, a plan's windows
    "1113": "quota",
    "1308": "quota",
    "1310": "quota",
    # Text Embeddings Inference, in `type` or `error_type`
    "Backend": "bad_answer",
    "Overloaded": "overloaded",
    "Unhealthy": "overloaded",
    # Groq, for an answer of the model that it cannot read (tashfeenahmed/freellmapi#168, anomalyco/opencode#1018,
    # thepersonalaicompany/amurex-backend#38)
    "tool_use_failed": "bad_answer",
    "json_validate_failed": "bad_answer",
    "output_parse_failed": "bad_answer",
    # others
    "insufficient_user_quota": "quota",  # new-api
    "key_model_access_denied": "gone",  # LiteLLM, with 401 (winfunc/opcode#358)
    "team_model_access_denied": "gone",
    "quota_exceeded": "quota",  # GitHub Copilot
    "model_decommissioned": "gone",  # Groq's, like those below, with 403
    "model_permission_blocked_org": "gone",
    "model_permission_blocked_project": "gone",
    "DeploymentNotFound": "gone",  # Azure
}

# Beginnings of messages that are a provider's only indication. The rest of a message is ignored, because it may quote
# the client.
SENTENCES: Final[tuple[tuple[str, FailureReason], ...]] = (
    # Anthropic (anthropics/claude-code#66314)
    (r"Your credit balance is too low", "quota"),
    (r"You have reached your specified (?:workspace )?API usage limits", "quota"),
    (r"Output blocked by content filtering policy", "content_filter"),
    # OpenAI
    (r"Invalid prompt: your prompt was flagged", "content_filter"),
    # Anthropic (anthropics/claude-code#65101, can1357/oh-my-pi#38)
    (r"OAuth (?:authentication is currently not|token has been revoked|token does not)", "credential"),
    # a key in any vendor's words (continuedev/continue#11541)
    (
        r"(?:(?:Your|The|This|Provided) |)API[ _-]?key (?:\S{1,200} )?(?:is|was|has been|have been) (?:currently )?"
        r"(?:not valid|invalid|expired|revoked|disabled|blocked|deactivated|deleted|suspended|reported as leaked)",
        "credential",
    ),
    # xAI (continuedev/continue#10373, #12670)
    (r"Your team [\w-]{1,60} has either used all available credits", "quota"),
    (r"Your newly created team doesn't have any credits", "quota"),
    (r"You have run out of credits", "quota"),
    (r"Incorrect API key provided", "credential"),
    # Google
    (r"API key not valid", "credential"),
    (r"User location is not supported", "gone"),
    (r"Your prepayment credits are depleted", "quota"),
    # Kimi's plan, with 403 (openclaw/openclaw#142656, NanmiCoder/cc-haha#1208)
    (r"You've reached your [\w ()-]{0,40}usage limit", "quota"),
    # MiniMax's (MiniMax-AI/MiniMax-M2.7#36)
    (r"usage limit exceeded", "quota"),
    # Ollama's (continuedev/continue#10579)
    (r"you \([^()]{1,100}\) have reached your \w{1,20} usage limit", "quota"),
    # OpenRouter
    (r"Rate limit exceeded: free-models-per-day", "quota"),
    # DeepSeek
    (r"Model Not Exist", "gone"),
    (r"Content Exists Risk", "content_filter"),
    # Groq, without a code (anomalyco/opencode#1018)
    (r"Failed to (?:call a function|(?:generate|validate) JSON)\. Please adjust your prompt", "bad_answer"),
    # Bedrock
    (r"The security token included in the request is (?:expired|invalid)", "credential"),
    (r"The provided model identifier is invalid", "gone"),
    (r"You don't have access to the model with the specified model ID", "gone"),
    # posit-dev/positron#10683, aws-samples/semantic-search-with-amazon-opensearch#43
    (
        r"User: \S{1,300} is not authorized to perform: bedrock:InvokeModel\w{0,40} (?:on|with) resource: "
        r"\S{1,200}:(?:foundation-model|inference-profile|application-inference-profile|provisioned-model)/",
        "gone",
    ),
    (r"You invoked an unsupported model or your request did not allow prompt caching", "invalid"),
    # Vertex AI
    (r"Permission '[\w.]{1,60}' denied on resource '[\w./-]{1,300}/models/", "gone"),
)


OF_SOME_REQUESTS: Final[frozenset[str]] = frozenset(
    (
        "ServiceQuotaExceededException", "usage_not_included", "quota_exceeded", "AllocationQuota.FreeTierOnly",
        "Rate limit exceeded: free-models-per-day",
    )
)  # fmt: skip
"""Words and sentences above that concern some models or large requests only, not the whole account."""


@cache
def _sentences() -> tuple[tuple[re.Pattern[str], FailureReason], ...]:
    """Return ``SENTENCES``, compiled for the first error."""
    return tuple((re.compile(words), reason) for words, reason in SENTENCES)


# A 404 or 403 about something else than the model: an object in the request, or a feature that a router's model lacks
# (pydantic/pydantic-ai#2896, zed-industries/zed#36094, googleapis/python-genai#1218). A client must not disable a model
# for all others.
_OTHER_OBJECT: Final = re.compile(
    r"No endpoints found that |No such (?:File|Container|Vector)|(?:File|Container|Skill|Item|Response|Conversation|"
    r"Previous response|Vector store|Prompt|CachedContent)\b.{0,200}not found|You do not have permission to access the "
    r"(?:File|CachedContent)|.{0,200}\b(?:file[_-]|container_|cntr_|skill_|resp_|conv_|vs_|msg_|pmpt_)\w{4}",
    re.IGNORECASE,
)

NO_REASON: Final = "Provider returned error"
_NO_REASONS: Final = re.compile(rf"{NO_REASON}|Error from provider \([\w ]{{1,40}}\): Upstream request failed")
"""The messages of routers for a failure that their provider did not explain. Their status is often 400 or 404, although
the same request succeeds later (MoonshotAI/kimi-code#3686, langchain-ai/openwiki#831, anomalyco/opencode#39124)."""

_GENERIC_STATUS: Final = 500
_OF_OBJECTS: Final = (403, 404, 410)
_LIMITED: Final = 429
_UNAUTHORIZED: Final = 401
_PER_DAY: Final = "PerDay"


def failure_reason(status: int, error: Mapping[str, Any], kind: ErrorKind, headers: Headers = ()) -> FailureReason:
    """Return the reason of a failure with ``status`` (200 inside a stream).

    ``error`` is the provider's error object, ``kind`` the kind derived from its status or codes.
    """
    if status <= _GENERIC_STATUS and (reason := _stated_reason(error, headers)) is not None:
        return reason
    if status == _LIMITED and is_plan_exhausted(headers):
        return "quota"
    if status in _OF_OBJECTS and _is_about_other_object(error):
        return "invalid"
    if kind in ("invalid_request", "not_found") and _has_no_reason(error):
        return "server_error"
    if 300 <= status < 400:
        return "bad_answer"
    return _BY_STATUS.get(status) or FAILURE_REASON[kind] or "server_error"


def concerns_all_clients(status: int, error: Mapping[str, Any], reason: FailureReason, headers: Headers = ()) -> bool:
    """Return whether a failure's words concern the account or its credential, whatever the request contains.

    A 403 or a limit without such words may concern what the client requested: a file, a model, a large request. A
    router repeats errors of one model's provider (OpenRouterTeam/ai-sdk-provider#24)."""
    metadata = error.get("metadata")
    if reason not in ("credential", "quota") or error.get("param") or _is_about_other_object(error):
        return False
    if isinstance(metadata, dict) and "provider_name" in metadata:
        return False
    if reason == "credential" and status == _UNAUTHORIZED:
        return True
    if (word := next((word for word in error_words(error, headers) if word in REASON_OF_WORD), None)) is not None:
        return word not in OF_SOME_REQUESTS
    message = error.get("message")
    return isinstance(message, str) and any(
        words.match(message) for words, of in _sentences() if of == reason and words.pattern not in OF_SOME_REQUESTS
    )


def _stated_reason(error: Mapping[str, Any], headers: Headers) -> FailureReason | None:
    """Return the reason that codes, details or the message state, or ``None``."""
    words = (REASON_OF_WORD[word] for word in error_words(error, headers) if word in REASON_OF_WORD)
    if (reason := next(words, None)) is not None:
        return reason
    if _is_per_day(error):
        return "quota"
    metadata = error.get("metadata")  # OpenRouter's, of its 403 for flagged input
    if isinstance(metadata, dict) and isinstance(metadata.get("reasons"), list) and "flagged_input" in metadata:
        return "content_filter"
    message = error.get("message")
    if not isinstance(message, str):
        return None
    return next((reason for words, reason in _sentences() if words.match(message)), None)


def error_words(error: Mapping[str, Any], headers: Headers) -> Iterator[str]:
    """Yield the codes and types of an error, the most specific first."""
    inner = error.get("innererror")  # Azure
    holders = (error, inner if isinstance(inner, dict) else {}, *details_of(error))
    for holder in holders:
        for name in ("code", "type", "reason", "__type"):
            if isinstance(word := holder.get(name), str):
                yield plain_word(word)
    for name, value in headers:
        if name == "x-amzn-errortype":
            yield value.partition(":")[0]


def plain_word(word: str) -> str:
    """Return a code or type; an exception of AWS without its namespace, and not in a stream's lower case."""
    name = word.rpartition("#")[2]
    return name[:1].upper() + name[1:] if name.endswith("Exception") else name


def details_of(error: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the objects in ``details``, Google's list."""
    details = error.get("details")
    return tuple(item for item in details if isinstance(item, dict)) if isinstance(details, list) else ()


def _is_per_day(error: Mapping[str, Any]) -> bool:
    """Return whether a daily limit of Google's was exceeded, which differs from the one for a minute only
    in its name."""
    for detail in details_of(error):
        violations, metadata = detail.get("violations"), detail.get("metadata")
        names = (
            [one.get("quotaId") for one in violations if isinstance(one, dict)] if isinstance(violations, list) else []
        )
        if isinstance(metadata, dict):
            names.append(metadata.get("quota_limit"))
        if any(isinstance(name, str) and _PER_DAY in name for name in names):
            return True
    return False


def _has_no_reason(error: Mapping[str, Any]) -> bool:
    message = error.get("message")
    return isinstance(message, str) and _NO_REASONS.fullmatch(message) is not None


def _is_about_other_object(error: Mapping[str, Any]) -> bool:
    param, message = error.get("param"), error.get("message")
    if isinstance(param, str) and param not in ("", "model"):
        return True
    return isinstance(message, str) and _OTHER_OBJECT.match(message) is not None


SHOWN_AT_DEBUG: Final = "its message is logged at log_level: debug"
_MOST_WORDS: Final = 4
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$/\[][\w.$/:\[\]-]{0,79}", re.ASCII)


def log_message(status: int | None, error: Mapping[str, Any], headers: Headers = ()) -> str:
    """Return the message for the log about a provider's ``error``. ``status`` is None in a successful response."""
    words = [*error_words(error, headers), *_identifiers(error.get("status"))]
    names = list(islice(dict.fromkeys(word for one in words for word in _identifiers(one)), _MOST_WORDS))
    names += [f"param {param}" for param in _identifiers(error.get("param"))]
    where = "an error in its response" if status is None else f"status {status}"
    return f"the provider sent {where}{': ' if names else ''}{', '.join(names)} ({SHOWN_AT_DEBUG})"


def _identifiers(value: Any) -> tuple[str, ...]:
    """Return ``value`` in a tuple if it is an identifier, else an empty tuple."""
    return (value,) if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else ()
