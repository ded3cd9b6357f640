"""Names of request members in a configuration, and their paths in each API.

A neutral name (``temperature``) means the member of the same meaning in each API. A prefixed path
(``responses.text.verbosity``) belongs to one API or endpoint. ``other.NAME`` is any provider's own member.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Any, Final, Literal, TypeAlias

import attrs

from configfile.wording import Wrong, describe, nearest
from providers.endpoints.endpoint import ENDPOINTS
from providers.gemini.spellings import snake
from providers.members.raw_paths import EVERY, Path
from providers.neutral.api_members import (
    API_MEMBERS,
    SETTINGS,
    conversation_members,
    inner_members,
    other_members,
    setting_paths,
    spellings,
)
from providers.neutral.parameters import BY_NAME, ROWS
from streams.events import APIS, Api

Wire: TypeAlias = str
"""An API or an endpoint: the format of a request's body."""

Use: TypeAlias = Literal["default", "set", "max", "drop"]

_MORE: Final = "additionalModelRequestFields"

_OWN: Final[Mapping[str, Mapping[Wire, tuple[str, ...]]]] = {
    "max_tokens": {
        "converse": tuple(f"{_MORE}.{name}" for name in (
            "max_tokens", "max_new_tokens", "max_gen_len", "max_completion_tokens", "max_tokens_to_sample",
        )),
        "completions": ("max_tokens",),
        "fim": ("max_tokens",),
    },
    "verbosity": {"responses": ("text.verbosity",)},
    "user": {"messages": ("metadata.user_id",), "embeddings": ("user",), "image_generations": ("user",)},
    "reasoning_effort": {
        "chat": ("reasoning_effort", "reasoning.effort"),
        "messages": ("output_config.effort",),
        "responses": ("reasoning.effort",),
        "gemini": ("generationConfig.thinkingConfig.thinkingLevel",),
        "converse": (
            "outputConfig.effort", f"{_MORE}.output_config.effort", f"{_MORE}.reasoning_effort",
            f"{_MORE}.reasoningConfig.maxReasoningEffort",
        ),
        "interactions": ("generation_config.thinking_level",),
    },
    "thinking_budget": {
        "chat": (
            "reasoning.max_tokens", "thinking.budget_tokens", "thinking_budget",
            "extra_body.google.thinking_config.thinking_budget",
        ),
        "messages": ("thinking.budget_tokens",),
        "gemini": ("generationConfig.thinkingConfig.thinkingBudget",),
        "converse": (
            f"{_MORE}.thinking.budget_tokens", f"{_MORE}.reasoning_config.budget_tokens",
            f"{_MORE}.reasoningConfig.budget_tokens",
        ),
    },
    "top_k": {"converse": (f"{_MORE}.top_k", f"{_MORE}.topK")},
    "n": {"image_generations": ("n",)},
    "tools": {
        "chat": ("tools", "functions"),
        "messages": ("tools",),
        "responses": ("tools",),
        "gemini": ("tools",),
        "converse": ("toolConfig", f"{_MORE}.tools"),
        "interactions": ("tools",),
    },
}  # fmt: skip
"""Paths beyond the neutral table; a new member gets the first one."""

_NEVER_ADDED: Final = frozenset((("thinking_budget", "chat"),))
"""Members that only some servers of an API know: in Chat, those of OpenRouter, Anthropic
(https://platform.claude.com/docs/en/api/openai-sdk), Alibaba and Google."""

_COMPLETIONS: Final = (
    "temperature", "top_p", "stop", "seed", "n", "frequency_penalty", "presence_penalty", "logit_bias", "user",
)  # fmt: skip
"""Settings of the older text completions, which have their neutral names."""

_TOOL_ITEMS: Final[Mapping[Wire, tuple[str, ...]]] = {
    "chat": ("tools[]", "tools[].function", "tools[].custom", "functions[]"),
    "messages": ("tools[]",),
    "responses": ("tools[]", "tools[].tools[]"),
    "gemini": ("tools[].functionDeclarations[]", "tools[]"),
    "converse": ("toolConfig.tools[].toolSpec", "toolConfig.tools[]"),
    "interactions": ("tools[]",),
}
"""The places of a tool's members."""

WITH_TOOLS: Final[Mapping[Wire, tuple[str, ...]]] = {
    api: tuple(name for word in f"{one.with_tools} {one.hints}".split() for name in spellings(api, word))
    for api, one in API_MEMBERS.items()
}
"""Members that providers refuse without tools."""

_KINDS: Final[Mapping[str, type]] = {
    **{row.name: row.kind for row in ROWS if not row.selects_words and any(map(row.field, APIS))},
    "reasoning_effort": str,
    "thinking_budget": int,
    "tools": list,
}
"""The neutral names with the types of their values."""

EFFORT: Final = "reasoning_effort"
BUDGET: Final = "thinking_budget"
LIMIT: Final = "max_tokens"

_CONVERSATION: Final[Mapping[Wire, str]] = {
    **{api: " ".join(conversation_members(api)) for api in APIS},
    "completions": "prompt suffix",
    "fim": "prompt suffix",
    "embeddings": "input texts images inputs content requests",
    "rerank": "query documents texts",
    "speech": "input",
    "moderations": "input",
    "image_generations": "prompt",
    "ocr": "document",
}
_FIXED: Final = frozenset(
    ("model", "stream", *(name for names in _CONVERSATION.values() for name in names.split()))
)  # fmt: skip

KNOWN: Final[Mapping[Api, tuple[str, ...]]] = {api: other_members(api) for api in APIS}
"""The members of each API's requests besides the conversation."""

INNER: Final[Mapping[Api, Mapping[str, tuple[str, ...]]]] = {api: inner_members(api) for api in APIS}
"""The members of objects that have no others, by the object's name."""

_NO_JSON: Final = frozenset(
    ("image_edits", "image_variations", "transcriptions", "translations", "files", "uploads", "vector_stores",
     "containers", "batches", "message_batches", "videos", "realtime", "voices", "passthrough")
)  # fmt: skip
"""Endpoints whose requests are no JSON bodies for a model."""

BODY_ENDPOINTS: Final = tuple(name for name in ENDPOINTS if name not in _NO_JSON)
"""The endpoints whose members can be set."""

OTHER: Final = "other"
_PREFIXES: Final = (*APIS, *BODY_ENDPOINTS, OTHER)
_CLIENTS: Final = "model, stream and the conversation belong to the client"
_STEP: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*(?:\[\])?")
_NAMED: Final[Mapping[type, str]] = {
    int: "a whole number", float: "a number", str: "text", bool: "true or false", list: "a list", dict: "a mapping",
}  # fmt: skip


@attrs.frozen(repr=False)
class NamedMember:
    """A request member that a configuration names.

    ``scope`` is ``""`` for a neutral name, an API, an endpoint, or ``other``. ``path`` is the path without the prefix;
    a neutral name is its first step. ``shown`` is that path as text, for reports.
    """

    scope: str
    path: Path
    shown: str

    @property
    def neutral(self) -> str | None:
        """The neutral name that it is, ``None`` for a member within one, or of one API."""
        return self.path[0] if not self.scope and len(self.path) == 1 else None

    @property
    def is_limit(self) -> bool:
        """Whether it is the limit on output tokens."""
        return self.neutral == LIMIT

    def may_be_added(self, wire: Wire) -> bool:
        """Return whether a request in the format ``wire`` may get it as a new member."""
        return (self.neutral, wire) not in _NEVER_ADDED and bool(self.paths_in(wire))

    def paths_in(self, wire: Wire) -> tuple[Path, ...]:
        """Return its paths in the API or endpoint ``wire``, first the one for a new member; none if it has no such
        member."""
        return _paths_in(self, wire)


@lru_cache(4096)
def _paths_in(member: NamedMember, wire: Wire) -> tuple[Path, ...]:
    if member.scope == OTHER or member.scope == wire:
        found: Iterable[Path] = (member.path,)
    elif member.scope:
        return ()
    elif member.path[:2] == ("tools", EVERY):
        found = ((*parse_steps(place), *member.path[2:]) for place in _TOOL_ITEMS.get(wire, ()))
    else:
        found = ((*head, *member.path[1:]) for head in _neutral_paths(member.path[0], wire))
    if wire == "gemini" and member.scope != OTHER:
        # Gemini's clients mix both spellings of each step.
        found = (path for one in found for path in product(*(dict.fromkeys((step, snake(step))) for step in one)))
    return tuple(dict.fromkeys(found))


def _neutral_paths(name: str, wire: Wire) -> Iterator[Path]:
    own = _OWN.get(name, {})
    if wire in API_MEMBERS and name in BY_NAME:
        yield from map(parse_steps, setting_paths(name, wire))
        if wire in SETTINGS and name in API_MEMBERS[wire].more.split():  # it is no setting there
            yield (name,)
    if wire in own:
        yield from map(parse_steps, own[wire])
    elif wire in ("completions", "fim") and name in _COMPLETIONS:
        yield (name,)


def parse_steps(text: str) -> Path:
    """Return the path that ``text`` means: ``tools[].strict`` is ``("tools", "[]", "strict")``."""
    return tuple(part for step in text.split(".") for part in ((step[:-2], EVERY) if step.endswith(EVERY) else (step,)))


# Names in a configuration


def read_member(text: str, use: Use) -> NamedMember:
    """Return the member that a configuration names for ``use``. Raises ``Wrong`` with a suggestion."""
    steps = text.split(".")
    if not all(map(_STEP.fullmatch, steps)):
        raise Wrong(f"{describe(text)} is not a path", "write names joined by dots, with `[]` for every item of a list")
    head = steps[0].removesuffix(EVERY)
    scope = head if head in _PREFIXES and head not in _KINDS else ""
    if head in _NO_JSON:
        raise Wrong(f"requests to {head} have no members that can be set", f"prefixes are {', '.join(_PREFIXES)}")
    if scope in _FIXED and len(steps) == 1:
        raise Wrong(f"{scope} cannot be changed", _CLIENTS)
    if scope and len(steps) == 1:
        raise Wrong(f"{text} is a prefix", f"add a member, such as `{scope}.temperature`")
    path = parse_steps(text.removesuffix(EVERY))
    member = NamedMember(scope, path[1:] if scope else path, text.partition(".")[2] if scope else text)
    _check_head(member, text, use)
    return member


def _check_head(member: NamedMember, text: str, use: Use) -> None:
    head = member.path[0]
    if head in _client_members_in(member.scope):
        advice = "use `system` for instructions" if head in ("system", "instructions", "systemInstruction") else None
        raise Wrong(f"{head} cannot be changed", advice or _CLIENTS)
    if use != "drop" and _is_tools(member):
        raise Wrong("tools cannot be set", 'tools can only be dropped, or lose members: `drop: ["tools[].strict"]`')
    if not member.scope and head not in _KINDS:
        raise _unknown_member_error(member, text, _KINDS)
    if member.scope in APIS and not _is_known(member.scope, head):
        raise _unknown_member_error(member, text, KNOWN[member.scope])
    if member.scope in APIS and len(member.path) > 1:
        _check_inner(member, text)


def _check_inner(member: NamedMember, text: str) -> None:
    """Raise ``Wrong`` for a member that an object does not have, if the object has no others."""
    head, name, *rest = member.path
    inner = INNER[member.scope]
    known = next((names for one, names in inner.items() if head in spellings(member.scope, one)), None)
    if known is None or name == EVERY or any(name in spellings(member.scope, one) for one in known):
        return
    suggestion = nearest(name, known)
    if suggestion is not None:
        suggestion = ".".join((member.scope, head, suggestion, *rest))
    raise Wrong(
        f"unknown member {describe(text)}",
        "" if suggestion else f"{head} has {', '.join(known)}; or write {OTHER}.{member.shown}",
        suggestion,
    )


def _is_tools(member: NamedMember) -> bool:
    head = member.path[0]
    if member.scope == "converse":
        return head == "toolConfig" and member.path[1:2] in ((), ("tools",))
    return head in ("tools", "functions")


def _is_known(api: str, name: str) -> bool:
    return any(name in spellings(api, known) for known in KNOWN[api])


def _client_members_in(scope: str) -> frozenset[str]:
    """Return the members that belong to the client: those of every API for a neutral name or an unknown server."""
    if scope in ("", OTHER):
        return _FIXED - (frozenset(_KINDS) if not scope else frozenset())
    own = _CONVERSATION.get(scope, "").split()
    return frozenset(("model", "stream", *own, *(snake(name) for name in own if scope == "gemini")))


def _unknown_member_error(member: NamedMember, text: str, names: Iterable[str]) -> Wrong:
    """Return the error for an unknown name, with the most similar one of its scope, or the API that has it."""
    head, rest = member.path[0], member.shown.partition(".")[2]
    suggestion = nearest(head, names)
    if suggestion is not None:
        prefix = f"{member.scope}." if member.scope else ""
        suggestion = prefix + suggestion + (f".{rest}" if rest else "")
    elif not member.scope and (having := [api for api in APIS if _is_known(api, head)]):
        suggestion = f"{having[0]}.{text}"
    advice = f"write a name such as temperature, a path such as responses.text.verbosity, or {OTHER}.{member.shown}"
    return Wrong(f"unknown member {describe(text)}", "" if suggestion else advice, suggestion)


def checked_value(member: NamedMember, value: Any) -> Any:
    """Return the value of a neutral name in its type. Raises ``Wrong``.

    The values of other members are sent unchanged. A number that JSON lacks is an error in every member.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong(describe(value), "JSON has no such number")
    if (name := member.neutral) is None:
        return value
    kind = _KINDS[name]
    if name in BY_NAME and BY_NAME[name].single and isinstance(value, str):
        return [value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = kind is object or (is_number if kind is float else isinstance(value, kind))
    if not fits or (kind is int and not is_number):
        raise Wrong(describe(value), f"{name} is {_NAMED.get(kind, 'another type')}")
    return value
