"""Recognition of request members and betas that a provider rejects, and the members that may be omitted then.

A rejection may quote the request, which a client or a web page may have written. So the gateway learns from a rejection
for later requests only if its message, except for the names, consists entirely of the provider's known words.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from providers.errors.member_paths import Path, parse_path
from providers.neutral.api_members import ANSWER_COUNTS, OUTPUT_LIMITS, conversation_members, spellings, tool_members
from providers.neutral.quirks import Quirks
from streams.events import APIS, ErrorInfo

VECTOR_ENCODINGS = ("encoding_format", "embedding_type")
"""Members for the encoding of vectors.

The gateway encodes numbers itself, so clients lose nothing without them; any rejection about them is therefore enough.
OpenAI's SDKs send the first by default.
"""

_ENCODING = re.compile(rf"\b(?:{'|'.join(VECTOR_ENCODINGS)})\b")
_BASE64 = re.compile(r"(?<!\.)\bbase64\b")  # not the source of a picture
_STATUSES = (400, 422)
_MAX_TEXT = 4000  # characters of a message that are searched
_MAX_PATH = 200
_CODES = ("unsupported_parameter", "unknown_parameter")  # OpenAI, with the path in `param`
_VALUE_CODE = "unsupported_value"  # OpenAI, whose message only has the value
_VALUES = ("reasoning.summary", "text.verbosity", "verbosity")
_OTHER_VALUES = "Supported values are"
_EFFORTS = ("reasoning.effort", "reasoning_effort")
"""Settings without which the model answers with its own value. Codex sends the value of one model to another
(openai/codex#19188, openai/codex#2376, openai/codex#6647), and others request summaries for organizations that may not
have them (continuedev/continue#12047, OpenHands/software-agent-sdk#987). Another effort may be accepted, so that is not
remembered, and no rejection that states other values; if these are efforts, it names the levels instead."""
_PARAM = re.compile(r"[`'\"]?(?P<name>[\w\-.\[\]]{1,200})[`'\"]?")

_ESSENTIAL: Final = frozenset(
    ("model", "stream", "background", "response_format", "text.format", "output_format", "output_config.format")
).union(
    *(
        (
            *(name for member in conversation_members(api) for name in spellings(api, member)),
            *tool_members(api),
            *ANSWER_COUNTS[api],
            *OUTPUT_LIMITS[api],
        )
        for api in APIS
    )
)
"""The essence of a request and the form of its answer. Without one of these the client would get a different answer, so
it must see the rejection instead."""

# The only members inside the conversation and the tools that may be removed.
_CONVERSATION = (
    "messages", "input", "contents", "system", "system_instruction", "systemInstruction", "tools", "toolConfig",
    "tool_config",
)  # fmt: skip
_REMOVABLE = frozenset(
    (
        "cache_control", "scope", "ttl", "prompt_cache_breakpoint", "defer_loading", "allowed_callers", "caller",
        "toolset_name", "input_examples", "eager_input_streaming", "strict", "citations", "annotations", "logprobs",
        "transformations", "cachePoint", "reasoning", "reasoning_content", "reasoning_details", "phase", "status",
        "parametersJsonSchema",
    )
)  # fmt: skip
_ONLY_OF_SOME = ("messages[].images", "messages[].name", "input[].metadata", "toolConfig.toolChoice")
"""Members that only some servers and models accept: the images of earlier answers, which translated requests for
others lack, too, and the names of participants (nomtek/mistralai_client_dart#44). Codex notes metadata of its own,
which Azure rejects (openai/codex#29469). Translations drop a choice for models that are known to have none."""

# Members that a codec can express in another form.
_OTHER_FORMS: Mapping[str, Mapping[str, Any]] = {
    "parametersJsonSchema": {"schemas": "subset"},
    "responseJsonSchema": {"schemas": "subset"},
}

PROTECTED: Final[Mapping[str, str]] = {
    "store": "whether the provider keeps the conversation",
    "user": "which end user is answered for an abuse",
    "safety_identifier": "which end user is answered for an abuse",
    "user_profile_id": "which end user is answered for an abuse",
    "workspace_id": "whose data and whose bill it is",
    "billing_policy": "whose bill it is",
    "metadata": "which user and which request a kept answer is of",
    "client_metadata": "which user and which request a kept answer is of",
    "labels": "which user and which request a bill is of",
    "prompt_cache_key": "who shares a cache of prompts",
    "prompt_cache_options": "how long a prompt is kept, and for whom",
    "prompt_cache_retention": "how long a prompt is kept",
    "cache_salt": "who shares a cache of prompts (vLLM)",
    "inference_geo": "in which country the request is worked on",
    "provider": "which providers may see the request, and keep it (OpenRouter: data_collection, zdr, only)",
    "data_collection": "whether the request may be kept and learned from",
    "zdr": "whether the request may be kept",
    "moderation": "what is looked for in the request and the answer",
    "safe_prompt": "what the model is told of safety (Mistral)",
    "safety_settings": "what is blocked (Google)",
    "guardrails": "what is blocked",
    "guardrail_config": "what is blocked (Bedrock)",
    "guardrailConfig": "what is blocked (Bedrock)",
    "content_filter": "what is blocked",
}
"""The members about privacy, safety, identity and storage, with the protection that would be lost.

The answer looks the same without them, so they must not be dropped unnoticed: a request omits one only if a rejection
names this member alone, and later requests are unaffected.
"""


def is_protected(path: Path) -> bool:
    """Return whether ``path`` (see ``providers/errors/rejected.py``) is such a member or part of one."""
    return path[0] in PROTECTED or path[-1] in PROTECTED


def find_rejected(error: ErrorInfo) -> tuple[Path, ...]:
    """Return the members that a provider's error rejects as unknown; empty for other errors."""
    from providers.errors.other_shapes import find_paths, with_known_name  # imported soon after the start

    if error.status not in _STATUSES:
        return ()
    text = error.message[:_MAX_TEXT]
    found = [*find_paths(text, error.param)]
    states_none = error.code == _VALUE_CODE and error.param in _EFFORTS and not found
    if error.param and (_rejects_param(error) or states_none):
        found.insert(0, parse_path(error.param))
    if (encoding := find_rejected_encoding(error)) is not None:
        found.append(encoding)
    found = [with_known_name(path, text) for path in found]
    return tuple(dict.fromkeys(path for path in found if path and sum(map(len, path)) <= _MAX_PATH))


def find_sole_rejected(error: ErrorInfo) -> tuple[Path, ...]:
    """Return the one member that ``error`` names, in ``param`` or in a message that only concerns it; else nothing.
    Return its other name instead, if it has one.

    There are two exceptions. A message may name several betas, which are values of the client's header rather than
    members. For the encoding of vectors any message counts, because omitting it loses nothing.
    """
    from providers.errors.other_shapes import with_known_name  # imported soon after the start

    found = [with_known_name(path, error.message) for path in _sole_paths(error)]
    return tuple(path for path in found if sum(map(len, path)) <= _MAX_PATH)


def _sole_paths(error: ErrorInfo) -> tuple[Path, ...]:
    if error.param and _rejects_param(error) and _OTHER_VALUES not in error.message:
        named = _PARAM.fullmatch(error.param)
        return () if named is None else (parse_path(named["name"]),)
    if len(error.message) > _MAX_TEXT:
        return ()
    from providers.errors.other_shapes import find_sole_paths  # imported soon after the start

    if found := find_sole_paths(error.message, error.param):
        return found
    encoding = find_rejected_encoding(error)
    return () if encoding is None else (encoding,)


def _rejects_param(error: ErrorInfo) -> bool:
    return error.code in _CODES or (error.code == _VALUE_CODE and error.param in _VALUES)


def find_rejected_encoding(error: ErrorInfo) -> Path | None:
    """Return the member for the encoding of vectors if ``error`` concerns it, in any vendor's words, or ``None``."""
    if error.status not in _STATUSES:
        return None
    about = parse_path(error.param[:_MAX_PATH])[-1:] if error.param else ()
    if about and about[0] in VECTOR_ENCODINGS:
        return about
    text = error.message[:_MAX_TEXT]
    if (found := _ENCODING.search(text)) is not None:
        return (found[0],)
    return VECTOR_ENCODINGS[:1] if _BASE64.search(text) else None


def may_omit(at: str, body: Mapping[str, Any]) -> bool:
    """Return whether ``body`` may be sent without its member ``at`` (a path that ``without`` has returned)."""
    top, last = re.split(r"[.\[]", at, maxsplit=1)[0], at.rpartition(".")[2]
    if top in _CONVERSATION and top != at:
        return last in _REMOVABLE or at in _ONLY_OF_SOME
    if any(at == name or at.startswith(f"{name}.") for name in _ESSENTIAL):
        return False
    member = body.get(at)
    return not isinstance(member, dict) or not any(f"{at}.{name}" in _ESSENTIAL for name in member)


def use_other_form(quirks: Quirks, paths: Iterable[Path]) -> Quirks:
    """Return ``quirks`` of a server that does not know ``paths``, if their meaning has another form."""
    changes = {key: value for path in paths for key, value in _OTHER_FORMS.get(path[-1], {}).items()}
    return attrs.evolve(quirks, **changes) if changes else quirks
