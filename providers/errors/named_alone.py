"""The one member that a refusal names, and says nothing else: the only words of a provider from which anything is
learned.

A refusal may quote the request, and what is quoted was written by a client, or by a web page that a tool has read. Only
a text that is the provider's own from its first character to its last, but for the name, says for certain what is
refused.
"""

import re
from typing import Final

from providers.errors.rejected import BETA, CACHE_POINTS, ROUTE, Path, path_of, refused_encoding
from streams.events import ErrorInfo

_CODES: Final = ("unsupported_parameter", "unknown_parameter")  # OpenAI, with the path in `param`
_LONGEST: Final = 1000  # characters of such a message; a list of what is expected in its place is part of it

_NAME: Final = r"[`'\"]?(?P<name>[\w\-.\[\]]{1,200})[`'\"]?"
_AT: Final = r"'?(?P<at>[\w\-.\[\]/]{1,200})'?"

# The vendors' words as in ``rejected.py``, with what stands before and behind them where nothing is quoted.
_SENTENCES: Final = tuple(
    re.compile(words)
    for words in (
        rf"{_NAME}: Extra inputs are not permitted",
        r"(?:Unsupported|Unknown|Unrecognized) (?:request )?(?:parameter|argument|field)(?: supplied)?: "
        rf"{_NAME}(?: is not supported with this model)?\.?",
        rf"(?:{_AT} ?: )?property {_NAME} is unsupported(?:, did you mean '[\w\-]{{1,100}}'\?)?",
        rf"(?:Invalid JSON payload received\. )?Unknown name {_NAME}(?: at {_AT})?: Cannot find field\.?",
        rf"(?:Malformed input request: )?#(?:{_AT})?: extraneous key \[(?P<name>\w{{1,200}})\] is not permitted"
        r"(?:, please reformat(?: your input and try again)?)?\.?",
        r"(?:Failed to deserialize(?: the JSON body into the target type)?: )?"
        rf"unknown field {_NAME}(?:, (?:expected|there are no fields)[\w`, \-]*)?(?: at line \d+ column \d+)?",
    )
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
_ELSEWHERE: Final = re.compile(
    r"(?:The )?model [`'\"]?[\w.:/\-]{1,300}[`'\"]? isn['\u2019]t supported on this route\.?"
)


def named_alone(failed: ErrorInfo) -> tuple[Path, ...]:
    """Return the member that ``failed`` names alone: as its ``param``, or with a message that is one sentence about it.
    Empty for every other refusal.

    Betas are an exception: one sentence may name several, for they are words of the client's own header and no members
    of a request. The encoding of vectors is another: any words will do, because nothing is lost without it."""
    if failed.code in _CODES and failed.param:
        return _one(re.fullmatch(_NAME, failed.param))
    if len(failed.message) > _LONGEST:
        return ()
    if failed.message == _ANY_BETA:
        return ((BETA,),)
    if _UNCACHED.fullmatch(failed.message):
        return (CACHE_POINTS,)
    if _ELSEWHERE.fullmatch(failed.message):
        return (ROUTE,)
    if (betas := _BETAS.fullmatch(failed.message)) is not None:
        return tuple((BETA, name) for name in re.findall(r"[\w\-]+", betas["betas"]))
    found = next(filter(None, (_one(words.fullmatch(failed.message)) for words in _SENTENCES)), ())
    encoding = None if found else refused_encoding(failed)
    return found if encoding is None else (encoding,)


def _one(found: re.Match[str] | None) -> tuple[Path, ...]:
    if found is None:
        return ()
    path = (*path_of(found.groupdict().get("at") or ""), *path_of(found["name"]))
    return (path,) if path else ()
