"""A request in the form for one provider, and the output that it allows.

Reservations read the possible cost of a request only from here, because the provider processes these bytes. A client's
own request may have members that are renamed, dropped or ignored."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import cache
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from gateway.config.settings import Reserve
from gateway.http.headers import Headers
from gateway.request.further_models import fallback_models
from gateway.request.members import check_members
from gateway.routing.target import NOTHING, Omissions, Target
from providers.apis import CODECS
from providers.errors.member_paths import parse_paths
from providers.neutral.api_members import ANSWER_COUNTS, OUTPUT_LIMITS
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Edit
from providers.neutral.values import as_count
from streams.errors import GatewayError
from streams.events import Api, Usage
from streams.surrogates import NOT_JSON, decode_or

MediaUsage: TypeAlias = Callable[[str, Reserve], Usage]
"""A function that returns the expected tokens of pictures or sound for a model name."""

MAX_REQUESTED: Final = 10**7
"""Tokens that no response exceeds: reserving more would only block other requests."""

MAX_ANSWERS: Final = 2**14
"""The most answers to one request: vLLM's limit (``VLLM_MAX_N_SEQUENCES``), OpenAI's is 128."""


@attrs.frozen(repr=False)
class RequestedOutput:
    """The output that a request allows: ``max_tokens`` for each of ``answers``, and ``units`` billed besides tokens.

    ``input`` is the number of input tokens, if the request's bytes do not determine it. ``media`` estimates tokens of
    pictures or sound if the target bills them by tokens. ``tier`` is the requested service tier. ``max_units`` replace
    ``units`` with ``reserve: max``. ``tools`` are the folded types of the tools, each with its limit of calls.
    ``fallbacks`` are models that the provider may use instead."""

    max_tokens: int | None = None
    answers: int = 1
    units: tuple[tuple[str, int], ...] = ()
    media: MediaUsage | None = None
    input: int | None = None
    tier: str | None = None
    max_units: tuple[tuple[str, int], ...] = ()
    tools: tuple[tuple[str, int | None], ...] = ()
    fallbacks: tuple[str, ...] = ()


UNSPECIFIED: Final = RequestedOutput()
"""The output of a request that limits nothing."""

NO_OUTPUT: Final = RequestedOutput(max_tokens=0)
"""The output of a request whose response has no tokens."""


@attrs.frozen(repr=False, slots=False)  # created for each request; cheaper to construct without slots
class Prepared:
    """A request prepared for a provider.

    ``names`` maps tool names that were shortened for the provider to the client's names. ``output`` is the output that
    it allows; ``None`` for a conversation, whose members state it. ``later_bodies`` are the bodies of additional
    requests to the same provider, each sent after the response to the one before. ``on_usage`` are called with the
    usage of the attempt, once it has ended."""

    outgoing: Outgoing
    names: Mapping[str, str] = attrs.field(factory=dict)
    omissions: Omissions = NOTHING
    output: RequestedOutput | None = None
    later_bodies: tuple[bytes, ...] = ()
    on_usage: tuple[Callable[[Usage], None], ...] = ()

    @property
    def size(self) -> int:
        """The number of bytes in all bodies."""
        size = len(self.outgoing.body)
        return size + sum(map(len, self.later_bodies)) if self.later_bodies else size

    @property
    def requests(self) -> int:
        """The number of requests that the provider receives."""
        return 1 + len(self.later_bodies)

    def output_at(self, api: Api) -> RequestedOutput:
        """Return the output that the request allows at a provider with ``api``."""
        return requested_output(api, self.outgoing.body) if self.output is None else self.output

    def refuses(self, target: Target, member: str) -> bool:
        """Return whether the provider is known to refuse the member or a part of it, or has refused that."""
        known = parse_paths(target.recipient.quirks.refused_fields)
        return any(path[0] == member for path in (*known, *self.omissions.paths))

    def with_addition(self, name: str, body: bytes | None = None, headers: Headers | None = None) -> "Prepared":
        """Return the request with another body or other headers, to which the operator added ``name``."""
        edit, outgoing = Edit(name, lost=False, form="+", why="operator"), self.outgoing
        outgoing = attrs.evolve(
            outgoing,
            body=outgoing.body if body is None else body,
            headers=outgoing.headers if headers is None else headers,
            edits=(*outgoing.edits, edit),
        )
        return attrs.evolve(self, outgoing=outgoing)

    def without_text(self) -> "Prepared":
        """Return the request without its bodies, which may have megabytes."""
        return attrs.evolve(self, outgoing=attrs.evolve(self.outgoing, body=b""), later_bodies=())


Preparation: TypeAlias = Callable[[Target, Omissions], Prepared]
"""Writes a request for a target with omissions. Raises ``GatewayError`` (400) for what the target cannot do."""


_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TOOLS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_ANY: Final = msgspec.json.Decoder()
_MAX_NUMBER: Final = 64  # bytes of a number in JSON
_UNREADABLE: Final = msgspec.Raw(b"false")
_TIER: Final = ("servicetier",)

_Path: TypeAlias = tuple[str, ...]


def requested_output(api: Api, body: bytes) -> RequestedOutput:
    """Return the output that the conversation ``body`` allows at a provider with ``api``."""
    if (members := decode_or(_OBJECT.decode, body, None)) is None:
        return UNSPECIFIED
    wire = CODECS[api].wire
    output = _read_members(members, OUTPUT_LIMITS[api], ANSWER_COUNTS[api])
    tools = _read_tools(members if wire.tools_within is None else _object_in(members, wire.tools_within))
    fallbacks = fallback_models(members)
    return attrs.evolve(output, tools=tools, fallbacks=fallbacks) if tools or fallbacks else output


def requested_choices(api: Api, body: bytes) -> int:
    """Return how many choices the response of a provider with ``api`` to the conversation ``body`` may have."""
    if (members := decode_or(_OBJECT.decode, body, None)) is None:
        return 1
    paths = _fold_paths(ANSWER_COUNTS[api])
    return _most_answers([as_count(value) for path in paths for value in _values(members, path)])


def read_output(body: bytes, limit_paths: tuple[str, ...], count_paths: tuple[str, ...]) -> RequestedOutput:
    """Return the output that ``body`` allows by the limits at ``limit_paths`` and the numbers of answers at
    ``count_paths``.

    The largest of several limits with any server's name counts, because providers differ in which one they apply.
    Nothing is limited if one of them is no positive number or appears twice, or if none has its exact name: providers
    ignore unknown members."""
    if (members := decode_or(_OBJECT.decode, body, None)) is None:
        return UNSPECIFIED
    return _read_members(members, limit_paths, count_paths)


def _read_members(
    members: Mapping[str, msgspec.Raw], limit_paths: tuple[str, ...], count_paths: tuple[str, ...]
) -> RequestedOutput:
    limits: list[int | None] = []
    counts: list[int | None] = []
    own = {path[-1] for path in _fold_paths(count_paths)}
    for is_limit, value in _output_numbers(members, _COUNTS | own):
        (limits if is_limit else counts).append(as_count(value))
    known = [limit for limit in limits if limit is not None]
    is_limited = known and len(known) == len(limits) and any(_has_value(members, path) for path in limit_paths)
    return RequestedOutput(
        min(max(known), MAX_REQUESTED) if is_limited else None, _most_answers(counts), tier=_tier_of(members)
    )


def _most_answers(counts: Sequence[int | None]) -> int:
    return min(max((count for count in counts if count is not None), default=1), MAX_ANSWERS)


def _output_numbers(members: Mapping[str, msgspec.Raw], counts: Set[str], depth: int = 0) -> Iterator[tuple[bool, Any]]:
    """Yield the limits of tokens (true) and the numbers of answers (false) in ``members`` and in their settings,
    in any spelling, such as ``maxTokens`` and ``max_tokens``, except ``null``."""
    for name, raw in members.items():
        folded = _fold_name(name)
        if folded in _LIMITS or folded in counts:
            if bytes(raw) != b"null":
                yield folded in _LIMITS, _read_small(raw)
        elif folded in _SETTINGS and depth < _DEEPEST and bytes(raw).startswith(b"{"):
            yield from _output_numbers(_inner_members(raw, "max_tokens"), counts, depth + 1)


def _values(members: Mapping[str, msgspec.Raw], path: _Path) -> Iterator[Any]:
    """Yield the values at ``path`` in any spelling, such as ``maxTokens`` and ``max_tokens``, except ``null``.

    Unreadable values, and those in an object with duplicate members, become ``False``."""
    for name, raw in members.items():
        if _fold_name(name) != path[0] or bytes(raw) == b"null":
            continue
        if len(path) > 1:
            yield from _values(_inner_members(raw, path[1]), path[1:])
        else:
            yield _read_small(raw)


def _has_value(members: Mapping[str, msgspec.Raw], path: str) -> bool:
    """Return whether there is a value at ``path`` in exactly this spelling, except ``null``."""
    name, _, rest = path.partition(".")
    if (raw := members.get(name)) is None or bytes(raw) == b"null":
        return False
    return not rest or _has_value(_object_in(members, name), rest)


def _tier_of(members: Mapping[str, msgspec.Raw]) -> str | None:
    """Return the service tier, the exact name before other spellings: a tier can only make a request cost more."""
    values = (_read_exact(members, "service_tier"), *_values(members, _TIER))
    return next((value for value in values if isinstance(value, str)), None)


def _read_exact(members: Mapping[str, msgspec.Raw], name: str) -> Any:
    """Return the small value of the member with exactly this name, ``None`` without it."""
    return None if (raw := members.get(name)) is None else _read_small(raw)


def _read_small(raw: msgspec.Raw) -> Any:
    """Return a value, or ``False`` for one that is longer than numbers or out of their range, such as 1e400."""
    return decode_or(_ANY.decode, raw, False) if len(raw) <= _MAX_NUMBER else False


def _inner_members(raw: msgspec.Raw, expected: str) -> Mapping[str, msgspec.Raw]:
    """Return the members of an object, with an unreadable one named ``expected`` if they are ambiguous."""
    try:
        members = _OBJECT.decode(raw)
        check_members(bytes(raw), members)
    except (GatewayError, *NOT_JSON):
        return {expected: _UNREADABLE}
    return members


_TOOL_LISTS: Final = ("tools", "plugins")  # the latter are OpenRouter's


def _read_tools(members: Mapping[str, msgspec.Raw]) -> tuple[tuple[str, int | None], ...]:
    """Return the folded type of each tool that is no function, and its limit of calls."""
    most = as_count(_read_exact(members, "max_tool_calls"))
    found: dict[str, int | None] = {}
    for name, raw in members.items():
        folded = _fold_name(name)
        if folded == "websearchoptions" and bytes(raw) != b"null":
            found["websearch"] = most
        elif folded in _TOOL_LISTS:
            with contextlib.suppress(*NOT_JSON):
                for tool in _TOOLS.decode(raw):
                    _add_tool(found, tool, most)
    return tuple(found.items())


def _add_tool(found: dict[str, int | None], tool: Mapping[str, msgspec.Raw], most: int | None) -> None:
    limit = as_count(_read_exact(tool, "max_uses")) if "max_uses" in tool else most
    own = next((one for at in ("type", "id") for one in _values(tool, (at,)) if isinstance(one, str)), None)
    for one in tool if own is None else (own,):  # without a type, the tool is a member, as in Gemini
        kind = _fold_name(one)
        if kind != "function" and len(one) <= _MAX_NUMBER:
            found[kind] = None if limit is None or found.get(kind, 0) is None else limit + (found.get(kind) or 0)


def _object_in(members: Mapping[str, msgspec.Raw], name: str) -> Mapping[str, msgspec.Raw]:
    """Return the members of the object ``name``, none if it is no object."""
    with contextlib.suppress(*NOT_JSON):
        return _OBJECT.decode(members.get(name, b"{}"))
    return {}


def _fold_name(name: str) -> str:
    """Return a member's name without the differences in spelling that servers ignore."""
    return name.replace("_", "").casefold()


@cache
def _fold_paths(paths: tuple[str, ...]) -> tuple[_Path, ...]:
    """Return the parts of each of ``paths`` without differences in spelling, each once."""
    return tuple(dict.fromkeys(tuple(map(_fold_name, path.split("."))) for path in paths))


def _folded_names(*names: str) -> frozenset[str]:
    return frozenset(map(_fold_name, names))


_LIMITS: Final = _folded_names(
    "max_tokens", "max_completion_tokens", "max_output_tokens",
    "max_new_tokens", "max_length",  # https://huggingface.co/docs/transformers/main_classes/text_generation
    "n_predict",  # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    "num_predict",  # https://github.com/ollama/ollama/blob/main/docs/modelfile.md
    "max_gen_len", "max_tokens_to_sample", "max_token_count",  # models at Amazon
)  # fmt: skip
"""Limits of output tokens at any server. Many apply their own name besides that of the API."""

_COUNTS: Final = _folded_names(
    "best_of",  # https://platform.openai.com/docs/api-reference/completions
    "n_cmpl",  # llama.cpp, as above
    "num_return_sequences",  # transformers, as above
    "candidate_count", "num_generations",  # Google's and Cohere's
)  # fmt: skip
"""Numbers of answers at any server, besides those of each API."""

_SETTINGS: Final = _folded_names(
    "generation_config", "inference_config", "text_generation_config", "options", "parameters", "extra_body",
    "additionalModelRequestFields",
)  # fmt: skip
"""Members whose objects have limits and numbers, at any server."""

_DEEPEST: Final = 3
"""Levels of such objects."""
