"""Recognition of the one request member that a rejection names, which the gateway then learns to omit.

A rejection may quote the request, which a client or a web page may have written. So only a message that, except for the
name, consists entirely of the provider's known words is trusted.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from providers.errors.other_shapes import find_sole_shape, with_known_name
from providers.errors.rejected import (
    BETA,
    CACHE_POINTS,
    OTHER_API,
    ROUTE,
    Path,
    find_rejected_encoding,
    parse_path,
    snake_path,
)
from streams.events import ErrorInfo

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


_CODES: Final = ("unsupported_parameter", "unknown_parameter")  # OpenAI, with the path in `param`
_MAX_TEXT: Final = 4000  # characters of such a message; it may list the expected members, or many messages

_NAME: Final = r"[`'\"]?(?P<name>[\w\-.\[\]]{1,200})[`'\"]?"
_OTHER: Final = r"[`'\"]?max_(?:completion_)?tokens[`'\"]?"
_AT: Final = r"'?(?P<at>[\w\-.\[\]/]{1,200})'?"

# The vendors' messages as in ``rejected.py``, completed so that they match whole messages without quotes.
_SENTENCES: Final = (
    rf"(?:Validation error at #/|The model returned the following errors: )?{_NAME}: Extra inputs are not permitted",
    r"body -> (?P<name>[\w\-]{1,100})\n {1,4}Extra inputs are not permitted(?: \(type=extra_forbidden\))?",
    rf"Extra inputs are not permitted, field: {_NAME}(?:, value: '?[\w.\-]{{0,100}}'?)?\.?",
    r"(?:Validation: )?(?:Unsupported|Unknown|Unrecognized) (?:request )?(?:parameter|argument|field)(?:\(s\))?"
    rf"(?: supplied)?: {_NAME}(?: is not supported with this model)?\.?(?: Use {_OTHER} instead\.?)?",
    rf"Unsupported value: {_NAME} does not support [\w.\-]{{1,40}} with this model\. "
    r"Only the default \([\w.\-]{1,20}\) value is supported\.?",
    rf"invalid {_NAME}: only (?:type=)?[\w.]{{1,20}} is allowed for this model\.?",
    r"(?P<same>[\w.\-]{1,200}): property '(?P<name>(?P=same))' is unsupported",
    rf"(?:{_AT} ?: )?property {_NAME} is unsupported(?:, did you mean '[\w\-]{{1,100}}'\?)?",
    rf"(?:Invalid JSON payload received\. )?Unknown name {_NAME}(?: at {_AT})?: Cannot find field\.?",
    rf"(?:Malformed input request: )?#(?:{_AT})?: extraneous key \[(?P<name>\w{{1,200}})\] is not permitted"
    r"(?:, please reformat(?: your input and try again)?)?\.?",
    r"(?:Failed to deserialize(?: the JSON body into the target type)?: )?"
    rf"unknown field {_NAME}(?:, (?:expected|there are no fields)[\w`, \-]*)?(?: at line \d+ column \d+)?",
)
_BETAS: Final = re.compile(
    r"Unexpected value\(s\) (?P<betas>[\w\-`'\", ]{1,500}) for the [`'\"]?anthropic-beta[`'\"]? header"
    r"(?:\. Please consult [\w :/.\-\u2026]*)?\.?"
)
_ANY_BETA: Final = "invalid beta flag"
_UNCACHED: Final = re.compile(
    r"You invoked an unsupported model or your request did not allow prompt caching\."
    r"(?: See the documentation for more information\.)?"
)
_OTHER_ROUTE: Final = re.compile(
    r"(?:The )?model [`'\"]?[\w.:/\-]{1,300}[`'\"]? isn['\u2019]t supported on this route\.?"
)

_CAMEL: Final = re.compile(r"Model [\w.\-/:]{1,200} does not support parameter (?P<name>\w{1,100})\.?")
_OTHER_API: Final = re.compile(
    r"(?:(?:models/)?[\w.\-]{1,200} is only supported in the Interactions API"
    r"(?: and cannot be called directly via \w{1,60})?"
    r"|This model only supports Interactions API)\.?"
)


@cache
def _compiled_sentences() -> tuple[re.Pattern[str], ...]:
    """Return ``_SENTENCES``, compiled for the first error."""
    return tuple(re.compile(words) for words in _SENTENCES)


def find_sole_rejected(error: ErrorInfo) -> tuple[Path, ...]:
    """Return the one member that ``error`` names, in ``param`` or in a message that only concerns it; else nothing.
    Return its other name instead, if it has one.

    There are two exceptions. A message may name several betas, which are values of the client's header rather than
    members. For the encoding of vectors any message counts, because omitting it loses nothing.
    """
    return tuple(with_known_name(path, error.message) for path in _sole_paths(error))


def _sole_paths(error: ErrorInfo) -> tuple[Path, ...]:
    if error.code in _CODES and error.param:
        return _matched_path(re.fullmatch(_NAME, error.param))
    if len(error.message) > _MAX_TEXT:
        return ()
    if error.message == _ANY_BETA:
        return ((BETA,),)
    if _UNCACHED.fullmatch(error.message):
        return (CACHE_POINTS,)
    if _OTHER_ROUTE.fullmatch(error.message):
        return (ROUTE,)
    if shapes := find_sole_shape(error.message):
        return shapes
    if _OTHER_API.fullmatch(error.message):
        return ((OTHER_API, "interactions"),)
    if (camel := _CAMEL.fullmatch(error.message)) is not None:
        return (snake_path(camel["name"]),)
    if (betas := _BETAS.fullmatch(error.message)) is not None:
        return tuple((BETA, name) for name in re.findall(r"[\w\-]+", betas["betas"]))
    found = _sole_path(error.message)
    encoding = None if found else find_rejected_encoding(error)
    return found if encoding is None else (encoding,)


_BETWEEN: Final = re.compile(r"; |\n(?! )")


def _sole_path(message: str) -> tuple[Path, ...]:
    """Return the one path that all sentences of ``message`` name, such as a member of several messages."""
    paths = {
        next(filter(None, (_matched_path(words.fullmatch(sentence)) for words in _compiled_sentences())), ())
        for sentence in _BETWEEN.split(message)
    }
    return paths.pop() if len(paths) == 1 else ()


def _matched_path(found: re.Match[str] | None) -> tuple[Path, ...]:
    if found is None:
        return ()
    path = (*parse_path(found.groupdict().get("at") or ""), *parse_path(found["name"]))
    return (path,) if path else ()
