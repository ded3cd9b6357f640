"""Recognition of request members and betas that a provider rejects as unknown, and their removal.

A path is a tuple of names in the provider's spelling, with ``[]`` for any index: ``("tools", "[]", "custom",
"defer_loading")``. It may contain tags that are no members (``custom``) but identify the kind of element.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from providers.errors.other_shapes import find_other_shapes, with_known_name
from providers.neutral.fields import join_path
from providers.neutral.quirks import Quirks
from streams.events import ErrorInfo

Path: TypeAlias = tuple[str, ...]

BETA = "anthropic-beta"
"""The first name of a path to a value of this header instead of a member; alone it means all values."""

INDEX = "[]"
ANYWHERE = "**"
"""The first name of a path that means every array element, at any depth, whose only member is the second name."""

CACHE_POINTS: Path = (ANYWHERE, "cachePoint")
ROUTE: Path = (":route",)
"""The address itself, for a provider that has the model at another address."""
OTHER_API = ":api"
"""The first name of a path to the only API in which the provider serves the model; the API is its second name."""

VECTOR_ENCODINGS = ("encoding_format", "embedding_type")
"""Members for the encoding of vectors.

The gateway encodes numbers itself, so clients lose nothing without them; any rejection about them is therefore enough.
OpenAI's SDKs send the first by default.
"""

_ENCODING = re.compile(rf"\b(?:{'|'.join(VECTOR_ENCODINGS)})\b")
_BASE64 = re.compile(r"\bbase64\b")
_STATUSES = (400, 422)
_MAX_TEXT = 4000  # characters of a message that are searched
_MAX_PATH = 200
_CODES = ("unsupported_parameter", "unknown_parameter")  # OpenAI, with the path in `param`

# The essence of a request and the form of its answer. Without one of these the client would get a different answer, so
# it must see the rejection instead.
_ESSENTIAL = frozenset(
    (
        "model", "messages", "input", "contents", "system", "instructions", "system_instruction", "systemInstruction",
        "prompt", "n", "stream", "background", "thread",
        "previous_response_id", "previous_interaction_id", "continuation_token", "agent", "conversation",
        "tools", "functions", "tool_choice", "function_call",
        "generation_config.tool_choice", "toolConfig", "tool_config",
        "max_tokens", "max_completion_tokens", "max_output_tokens", "generation_config.max_output_tokens",
        "generationConfig.maxOutputTokens", "inferenceConfig.maxTokens",
        "response_format", "text.format", "output_format", "output_config.format",
    )
)  # fmt: skip

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
_ONLY_OF_SOME = ("messages[].images", "messages[].name")
"""Members of messages that only some Chat servers accept: the images of earlier answers, which translated requests for
others lack, too, and the names of participants (nomtek/mistralai_client_dart#44)."""

# Patterns search texts that a client may have written, so none may backtrack over a long word: a name matches only
# whole, from its start.
_NAME = r"[\w\-]++(?:[.\[\]]++[\w\-]++)*+"
_QUOTED = rf"""[`'"]?{_NAME}[`'"]?"""

# Members that a codec can express in another form.
_OTHER_FORMS: Mapping[str, Mapping[str, Any]] = {
    "parametersJsonSchema": {"schemas": "subset"},
    "responseJsonSchema": {"schemas": "subset"},
}

_PathReader: TypeAlias = Callable[[re.Match[str]], Iterable[Path]]


def _listed_paths(found: re.Match[str]) -> Iterable[Path]:
    return map(parse_path, re.findall(_NAME, found[1]))


def snake_path(camel: str) -> Path:
    """Return the path of a member that xAI names in its own spelling (``reasoningEffort``)."""
    return parse_path(re.sub(r"(?<=[a-z0-9])[A-Z]", lambda capital: f"_{capital[0].lower()}", camel))


def _snake_paths(found: re.Match[str]) -> Iterable[Path]:
    path = snake_path(found[1])
    return (path, ("reasoning", "effort")) if path == ("reasoning_effort",) else (path,)  # the latter in Responses


def _named_steps(found: re.Match[str]) -> Iterable[Path]:
    return (parse_path(".".join(re.findall(r"[\w\-]+", found[1].replace("->", " ")))),)


def _nested_path(found: re.Match[str]) -> Iterable[Path]:
    return ((*parse_path(found["at"] or ""), *parse_path(found["name"])),)


_WORDS: tuple[tuple[re.Pattern[str], _PathReader], ...] = (
    # Anthropic, Vertex AI, FastAPI (anthropics/claude-code#51700, #33180)
    (re.compile(rf"(?<![\w\-.\[\]])[.\[\]]*+({_NAME}): Extra inputs are not permitted"), _listed_paths),
    # Fireworks (web-infra-dev/midscene#1322)
    (re.compile(rf"Extra inputs are not permitted, field: '({_NAME})'"), _listed_paths),
    # NVIDIA (BerriAI/litellm#4558)
    (re.compile(r"\bbody((?: -> [\w\-]{1,100}){1,10}+)\s{1,20}Extra inputs are not permitted"), _named_steps),
    # Servers that print FastAPI's list, or its JSON (mistralai/client-ts#65, mistralai/platform-docs-public#7)
    (
        re.compile(
            r"""['"]loc['"]: ?[(\[]['"]body['"],((?: ?(?:['"][\w\-]{1,100}['"]|\d{1,9}),?){1,10}+)[)\]], ?"""
            r"""['"]msg['"]: ?['"]Extra inputs are not permitted"""
        ),
        _named_steps,
    ),
    # xAI (BerriAI/litellm#16265, open-webui/open-webui#21266)
    (re.compile(rf"\bModel [\w.\-/:]{{1,200}}+ does not support parameter ({_NAME})"), _snake_paths),
    # OpenAI's reasoning models
    (
        re.compile(
            rf"Unsupported value: '({_NAME})' does not support [\w.\-]{{1,40}} with this model\. Only the default"
        ),
        _listed_paths,
    ),
    # Kimi (NoFxAiOS/nofx#1415, MoonshotAI/Kimi-K2#141)
    (re.compile(rf"\binvalid ({_NAME}): only (?:type=)?[\w.]{{1,20}} is allowed for this model"), _listed_paths),
    # OpenAI and Azure (Gitlawb/openclaude#739), NVIDIA (MoonshotAI/kimi-cli#2534)
    (
        re.compile(
            r"(?:Unsupported|Unknown|Unrecognized) (?:request )?(?:parameter|argument|field)s?(?:\(s\))?"
            rf"(?: supplied)?: ({_QUOTED}(?:, {_QUOTED})*)"
        ),
        _listed_paths,
    ),
    # Groq
    (re.compile(rf"(?:'(?P<at>{_NAME})' ?: )?property '(?P<name>{_NAME})' is unsupported"), _nested_path),
    # Gemini
    (
        re.compile(rf"""Unknown name "(?P<name>{_NAME})"(?: at '(?P<at>{_NAME}\]?)')?: Cannot find field"""),
        _nested_path,
    ),
    # Bedrock
    (re.compile(r"#(?P<at>[/\w]*): extraneous key \[(?P<name>\w+)\] is not permitted"), _nested_path),
    # Servers in Rust
    (re.compile(rf"unknown field ({_QUOTED})"), _listed_paths),
    # Vertex AI and other gateways (anthropics/claude-code#21767, QuantumNous/new-api#2975), Bedrock, which names none
    # (quarkiverse/quarkus-langchain4j#2132)
    (
        re.compile(r"Unexpected value\(s\) ([\w\-`'\", ]{1,500}) for the [`'\"]?anthropic-beta[`'\"]? header"),
        lambda found: [(BETA, name) for name in re.findall(r"[\w\-]+", found[1])],
    ),
    (re.compile(r"invalid beta flag"), lambda found: ((BETA,),)),
    # Bedrock, of models that cache nothing (BerriAI/litellm#39210, anomalyco/opencode#782)
    (re.compile(r"your request did not allow prompt caching"), lambda found: (CACHE_POINTS,)),
    # Bedrock, whose OpenAI paths differ by model
    # (https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html)
    (re.compile(r"isn['\u2019]t supported on this route"), lambda found: (ROUTE,)),
    # Gemini and Vertex AI (BerriAI/litellm#38229, mlcommons/modelbench#1655)
    (re.compile(r"only support(?:s|ed in) (?:the )?Interactions API"), lambda found: ((OTHER_API, "interactions"),)),
)


def parse_path(text: str) -> Path:
    """Return ``tools.0.custom.x``, ``tools[0].x``, ``tools[].x`` or ``/tools/0/x`` as a path.

    Ignores a leading ``body``, which FastAPI adds.
    """
    names = re.findall(r"\[\]|[\w\-]+", text)
    return tuple(INDEX if name.isdecimal() else name for name in (names[1:] if names[:1] == ["body"] else names))


def find_rejected(error: ErrorInfo) -> tuple[Path, ...]:
    """Return the members that a provider's error rejects as unknown; empty for other errors."""
    if error.status not in _STATUSES:
        return ()
    found = [parse_path(error.param)] if error.code in _CODES and error.param else []
    text = error.message[:_MAX_TEXT]
    for pattern, read in _WORDS:
        for match in pattern.finditer(text):
            found.extend(read(match))
    found += find_other_shapes(text)
    if (encoding := find_rejected_encoding(error)) is not None:
        found.append(encoding)
    found = [with_known_name(path, text) for path in found]
    return tuple(dict.fromkeys(path for path in found if path and sum(map(len, path)) <= _MAX_PATH))


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


def remove_path(value: Any, path: Path, at: str = "") -> tuple[Any, set[str]]:
    """Return ``value`` without the members that ``path`` matches, and their paths (``tools[].defer_loading``).

    Unaffected parts are shared with ``value``, which stays unchanged; without a match the result is ``value`` itself.
    """
    if not path:
        return value, set()
    name, rest = _spelling_in(path[0], value), path[1:]
    if name == ANYWHERE:
        return _remove_elements(value, rest[-1], at)
    if name == INDEX:
        if not isinstance(value, list):
            return value, set()
        items = [remove_path(item, rest, at + INDEX) for item in value]
        found = {place for _, places in items for place in places}
        return ([item for item, _ in items] if found else value), found
    if not isinstance(value, dict):
        return value, set()
    if not rest and name in value:
        return {key: other for key, other in value.items() if key != name}, {join_path(at, name)}
    if isinstance(value.get(name), dict | list):  # a text block also has a member named like the tag
        changed, places = remove_path(value[name], rest, join_path(at, name))
        return ({**value, name: changed} if places else value), places
    return remove_path(value, rest, at) if rest and at and _has_type(name, value) else (value, set())


def _spelling_in(name: str, value: Any) -> str:
    """Return ``name`` as ``value`` spells it; Google's errors and requests differ (``function_declarations``,
    ``functionDeclarations``)."""
    if "_" not in name or not isinstance(value, dict) or name in value:
        return name
    first, *others = name.split("_")
    camel = first + "".join(word[:1].upper() + word[1:] for word in others)
    return camel if camel in value else name


def use_other_form(quirks: Quirks, paths: Iterable[Path]) -> Quirks:
    """Return ``quirks`` of a server that does not know ``paths``, if their meaning has another form."""
    changes = {key: value for path in paths for key, value in _OTHER_FORMS.get(path[-1], {}).items()}
    return attrs.evolve(quirks, **changes) if changes else quirks


def _remove_elements(value: Any, name: str, at: str) -> tuple[Any, set[str]]:
    """Return ``value`` without array elements whose only member is ``name``."""
    places: set[str] = set()
    if isinstance(value, dict):
        changed = {key: _remove_elements(one, name, join_path(at, key)) for key, one in value.items()}
        places.update(*(found for _, found in changed.values()))
        return ({key: one for key, (one, _) in changed.items()} if places else value), places
    if not isinstance(value, list):
        return value, places
    kept = []
    for item in value:
        if isinstance(item, dict) and item.keys() == {name}:
            places.add(f"{at}{INDEX}.{name}")
            continue
        one, found = _remove_elements(item, name, at + INDEX)
        places |= found
        kept.append(one)
    return (kept if places else value), places


def _has_type(tag: str, value: Mapping[str, Any]) -> bool:
    """Return whether ``value`` is of the kind that the provider calls ``tag``, because a rejection may concern blocks
    of one type only."""
    sorts = [value[name] for name in ("type", "role") if name in value]
    return tag in sorts or not sorts
