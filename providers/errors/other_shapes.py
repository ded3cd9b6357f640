"""Requests in another shape, for servers that reject the client's: their table, and the matcher of all rejections.

Each is a path that is no member of a body: its first name begins with ``:``. The modules of the words describe the
rejections.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from providers.errors import (
    call_signatures,
    converse_turns,
    effort_levels,
    gemini_turns,
    long_tool_names,
    system_place,
)
from providers.errors import rejected_settings as settings
from providers.errors import rejected_turns as turns
from providers.errors.member_paths import TOOL_NAMES, WHOLE, WHOLE_WITH_TOOLS, Path
from providers.errors.unknown_members import UNKNOWN_MEMBERS, Rejection, always
from providers.errors.words import Change, Words, change_list, change_members, omit
from providers.neutral import schemas
from providers.neutral.draft import Edit
from providers.neutral.levels import LEVELS

LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens")
"""The names of Chat's token limit; some models know one alone (anomalyco/opencode#37964, BerriAI/litellm#8855)."""
OUTPUT_LIMIT: Final = ":limit"
"""The first name of a path to a token limit above the model's; the model's limit is its second name."""
EFFORT_LEVELS: Final = ":levels"
"""The first name of a path to an effort that the model does not have; the model's levels are its second name."""


Describe: TypeAlias = Callable[[str, Any], Edit]


@attrs.frozen(repr=False)
class OtherShape:
    """Another shape of a request.

    - ``words`` are those in which servers reject the client's shape; ``None`` if a table of other words leads to it.
    - ``change`` reads the members ``reads`` of a body. For a member that it removes, it returns ``None``.
    - ``describe`` returns the edit of a changed member, from its name and new value.
    """

    words: Words | None
    reads: tuple[str, ...]
    change: Change
    describe: Describe


def _at(place: str | Mapping[str, str], form: str | Mapping[str, str] = "") -> Describe:
    """Return a function that describes the change of ``place`` in a member into ``form``, or without one its loss.

    Both may differ by the member's name."""

    def describe(name: str, value: Any) -> Edit:
        at = place if isinstance(place, str) else place.get(name, "")
        new = form if isinstance(form, str) else form.get(name, "")
        return Edit(f"{name}{at}", not new, new)

    return describe


def _of_lists(
    words: Words, lists: tuple[str, ...], change: Callable[[list[Any]], list[Any]], *at: str | Mapping[str, str]
) -> OtherShape:
    """Return the shape after ``change`` of ``lists``, described as ``_at`` does."""

    def change_all(body: Mapping[str, Any]) -> dict[str, Any]:
        return {name: new for one in lists for name, new in change_list(body, one, change).items()}

    return OtherShape(words, lists, change_all, _at(*at))


def _of_items(
    words: Words, lists: tuple[str, ...], change: Callable[[Any], Any], *at: str | Mapping[str, str]
) -> OtherShape:
    """Return the shape after ``change`` of each item of ``lists``."""
    return _of_lists(words, lists, lambda items: [change(item) for item in items], *at)


def _of_tools(words: Words, change: Callable[[Any], Any], member: str, form: str = "") -> OtherShape:
    """Return the shape after ``change`` of the schema of each tool."""
    names = ("tools", "toolConfig")

    def change_all(body: Mapping[str, Any]) -> dict[str, Any]:
        held = {name: body[name] for name in names if name in body}
        return {name: new for name, new in settings.change_schemas(held, change).items() if new != held[name]}

    return OtherShape(
        words, names, change_all, _at({"tools": f"[].{member}", "toolConfig": f".tools[].{member}"}, form)
    )


def _of_members(words: Words | None, paths: Iterable[Path], change: Callable[[Any], Any], form: str = "") -> OtherShape:
    """Return the shape after ``change`` of the values at ``paths``."""
    reads, describe = tuple(dict.fromkeys(path[0] for path in paths)), _at(_inner_names(paths), form)
    return OtherShape(words, reads, lambda body: change_members(body, paths, change), describe)


def _inner_names(paths: Iterable[Path]) -> dict[str, str]:
    return {name: f".{inner}" for name, *rest in paths for inner in rest}


def _without(words: Words, paths: Iterable[Path], *states: str) -> OtherShape:
    """Return the shape without settings for thinking at ``paths``, for bodies with one of these states of thinking."""
    change, reads = omit(*paths), tuple(dict.fromkeys(path[0] for path in settings.THINKING))

    def change_some(body: Mapping[str, Any]) -> dict[str, Any]:
        return change(body) if not states or settings.thinking_state(body) in states else {}

    return OtherShape(words, reads, change_some, _at(_inner_names(paths)))


def _without_thinking(words: Words, member: str, value: Any, form: str) -> OtherShape:
    reads = ("tool_choice", "reasoning_effort", member)
    return OtherShape(words, reads, settings.turn_thinking_off(member, value), _at("", {member: form}))


def _without_stream(words: Words, *more: str) -> OtherShape:
    forms = {"stream": "=false", "stream_options": "=absent"}
    return OtherShape(words, (*forms, *more), settings.omit_stream(more), _at("", forms))


def _with_other_name(old: str, new: str) -> OtherShape:
    def rename(body: Mapping[str, Any]) -> dict[str, Any]:
        return {} if body.get(old) is None else {old: None, new: body[old]}

    def describe(name: str, value: Any) -> Edit:
        return Edit(name, lost=False, form=f"->{new}" if name == old else "")

    return OtherShape(None, (old,), rename, describe)  # the words are those about an unknown member


_MESSAGES: Final = ("messages",)
_INSTRUCTED: Final = {"messages": "+response_format", "contents": "+response_format"}
OTHER_SHAPES: Final[Mapping[Path, OtherShape]] = {
    (":system",): OtherShape(system_place.WORDS, system_place.PLACES, system_place.move_system, _at("[].role")),
    (":system", "role"): _of_items(system_place.ROLE_WORDS, _MESSAGES, system_place.use_user_role, "[].role"),
    (":system", "none"): OtherShape(
        system_place.GEMMA,
        ("messages", "system", "systemInstruction", "system_instruction", "contents"),
        system_place.use_first_turn,
        _at("", "=user"),
    ),
    (":texts",): _of_items(turns.TEXT_WORDS, _MESSAGES, turns.join_text_lists, "[].content", "=text"),
    (":reasoning",): _of_items(turns.MISSING, _MESSAGES, turns.add_reasoning, "[].reasoning_content", "=blank"),
    (":reasoning", "null"): _of_items(turns.NULL, ("input",), turns.omit_nulls, "[].content", "=absent"),
    (":schema",): OtherShape(
        settings.SCHEMA_WORDS,
        ("messages", "response_format", "contents", "generationConfig"),
        settings.use_json_mode,
        _at({"messages": "[]", "contents": "[]", "generationConfig": ".responseSchema"}, _INSTRUCTED),
    ),
    (":schema", "answer"): OtherShape(
        settings.FORMAT_WORDS,
        ("messages", *settings.CONFIGS),
        settings.describe_answer,
        _at({"messages": "[]", **_inner_names(settings.CONFIGS.items())}, _INSTRUCTED),
    ),
    (":schema", "limits"): OtherShape(
        settings.LIMITS, (*schemas.FORMATS, *schemas.TOOLS), schemas.describe_limits_in, schemas.describe_edit
    ),
    (":thinking", "thinking"): _without_thinking(
        settings.DEEPSEEK_OR_KIMI, "thinking", {"type": "disabled"}, "=disabled"
    ),
    (":thinking", "enable_thinking"): _without_thinking(settings.QWEN, "enable_thinking", False, "=false"),
    (":thinking", "streamed"): OtherShape(
        settings.ONLY_STREAMED, ("stream", "enable_thinking"), settings.turn_off_unless_streamed, _at("", "=false")
    ),
    (":thinking", "encrypted"): OtherShape(settings.NOT_ENCRYPTED, ("include",), settings.omit_encrypted, _at("[]")),
    (":thinking", "lost"): OtherShape(turns.LOST_THINKING, ("messages", "thinking"), turns.omit_budget, _at("")),
    (":thinking", "unsupported"): _without(settings.UNSUPPORTED, settings.THINKING),
    (":thinking", "not adaptive"): _without(settings.NOT_ADAPTIVE, settings.THINKING, "adaptive", *LEVELS[1:]),
    (":thinking", "not disabled"): _without(settings.NOT_DISABLED, settings.THINKING, "disabled", "none"),
    (":thinking", "levels"): _without(settings.NO_LEVELS, settings.THINKING, "adaptive", "enabled", *LEVELS[1:]),
    (":thinking", "effort"): _without(settings.UNSUPPORTED_EFFORT, settings.EFFORTS),
    (":thinking", "disabled"): _without(settings.DISABLED, settings.EFFORTS, "disabled"),
    (":thinking", "adaptive"): _of_members(settings.ADAPTIVE, (("thinking",),), settings.adaptive, "=adaptive"),
    (":tools", "choice"): OtherShape(
        settings.NAMED_CHOICE, ("tool_choice", "tools"), settings.require_only, _at("", "=required")
    ),
    (":tools", "incomplete"): _of_tools(settings.INCOMPLETE, settings.complete, "schema", "=complete"),
    (":tools", "combined"): _of_tools(settings.COMBINED, settings.merge_combination, "schema"),
    (":tools", "patterns"): _of_tools(settings.PATTERNS, settings.omit_patterns, "pattern"),
    TOOL_NAMES: OtherShape(
        long_tool_names.WORDS,
        long_tool_names.MEMBERS,
        long_tool_names.shorten,
        lambda name, value: _at("[].name" if isinstance(value, list) else ".name", "=short")(name, value),
    ),
    WHOLE: _without_stream(settings.NOT_STREAMED),
    WHOLE_WITH_TOOLS: _without_stream(settings.TOOLS_NOT_STREAMED, "tools"),
    (":sampling",): OtherShape(
        settings.EXCLUSIVE,
        ("temperature", "top_p", "inferenceConfig"),
        settings.omit_top_p,
        _at({"inferenceConfig": ".topP"}),
    ),
    (":images", "types"): _of_items(turns.IMAGE_WORDS, turns.IMAGE_LISTS, turns.relabel, "[].media_type", "=actual"),
    (":texts", "blank"): OtherShape(
        turns.BLANK | converse_turns.BLANK,
        ("system", "messages"),
        lambda body: converse_turns.fill_blanks(body) or turns.omit_blanks(body),
        _at("[].content", "=nonblank"),
    ),
    (":calls", "ids"): _of_items(turns.IDS, _MESSAGES, turns.shorten_ids, "[].tool_call_id", "=short"),
    (":calls", "long"): _of_items(
        turns.LONG_IDS,
        turns.LISTS,
        turns.replace_ids,
        {"messages": "[].tool_call_id", "input": "[].call_id"},
        "=short",
    ),
    (":calls", "places"): _of_items(turns.CALL_PLACES, _MESSAGES, turns.order_calls, "[].content", "=ordered"),
    (":calls", "order"): _of_lists(turns.ORDER, _MESSAGES, turns.separate_results, "[]", "+assistant"),
    (":calls", "signatures"): _of_items(
        call_signatures.MISSING,
        _MESSAGES,
        call_signatures.add_signature,
        "[].tool_calls[].extra_content",
        "=placeholder",
    ),
    (":calls", "results"): _of_lists(gemini_turns.UNEVEN, ("contents",), gemini_turns.join_results, "[]", "=joined"),
    (":calls", "turns"): _of_lists(converse_turns.MIXED, _MESSAGES, converse_turns.separate_tools, "[]", "=split"),
    (":calls", "tools"): OtherShape(
        converse_turns.WITHOUT_TOOLS, ("messages", "toolConfig"), converse_turns.declare_tools, _at("", "=called")
    ),
    (":turns", "alternate"): OtherShape(turns.ALTERNATION, system_place.PLACES, turns.join_turns, _at("[]", "=joined")),
    (":turns", "last"): OtherShape(turns.LAST, turns.LISTS, turns.add_user_turn, _at("[]", "+user")),
    (":user", "id"): _of_members(settings.USER_WORDS, (("metadata", "user_id"),), settings.hash_id, "=digest"),
    (":items", "agents"): _of_items(turns.AGENT_WORDS, ("input",), turns.use_messages, "[].type"),
    **{(":name", new): _with_other_name(old, new) for old, new in (LIMIT_NAMES, LIMIT_NAMES[::-1])},
}


def with_known_name(path: Path, message: str) -> Path:
    """Return the path to the other name of a token limit if ``message`` rejects ``path``, its name; else ``path``.

    Messages has the older name, too, so that is rejected only for the newer one."""
    older, newer = LIMIT_NAMES
    if path == (older,) and newer in message:
        return (":name", newer)
    return (":name", older) if path == (newer,) else path


def find_shape(path: Path) -> OtherShape | None:
    """Return the shape for ``path``, ``None`` if that is the path of a member."""
    if path[0] == EFFORT_LEVELS:
        return _with_levels(tuple(path[1].split(",")))
    return _with_limit(int(path[1])) if path[0] == OUTPUT_LIMIT else OTHER_SHAPES.get(path)


def _with_levels(levels: tuple[str, ...]) -> OtherShape:
    shape = _of_members(None, effort_levels.PATHS, lambda value: effort_levels.nearest(value, levels))

    def describe(name: str, value: Any) -> Edit:
        level = value.get("effort") if isinstance(value, dict) else value
        return attrs.evolve(shape.describe(name, value), form="" if level is None else f"={level}")

    return attrs.evolve(shape, describe=describe)


def _with_limit(limit: int) -> OtherShape:
    shape = _of_members(None, settings.LIMITED, lambda value: settings.lower(value, limit), f"={limit}")

    def change(body: Mapping[str, Any]) -> dict[str, Any]:
        """Lower the limits in ``body``, unless it requests as much thinking."""
        thinking = body.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        return {} if settings.lower(budget, limit - 1) != budget else shape.change(body)

    return attrs.evolve(shape, reads=(*shape.reads, "thinking"), change=change)


def _limit_path(found: re.Match[str]) -> tuple[Path, ...]:
    limit = settings.stated_limit(found)
    return ((OUTPUT_LIMIT, str(limit)),) if limit else ()


def _levels_path(found: re.Match[str]) -> tuple[Path, ...]:
    return ((EFFORT_LEVELS, ",".join(effort_levels.stated_levels(found))),)


_REJECTIONS: Final = (
    *(Rejection(shape.words, always(path)) for path, shape in OTHER_SHAPES.items() if shape.words is not None),
    *(Rejection(Words.of(sentence), _limit_path) for sentence in settings.LIMIT_SENTENCES),
    Rejection(effort_levels.WORDS, _levels_path),
    Rejection(effort_levels.NAMELESS, _levels_path, effort_levels.NAMES),
    *UNKNOWN_MEMBERS,
)
_BETWEEN: Final = re.compile(r"; |\n(?! )")


def find_paths(message: str, param: str | None = None) -> Iterator[Path]:
    """Yield the paths that a part of a provider's ``message``, which may be about ``param``, rejects."""
    for row in _rows_for(param):
        for found in row.words.matches_in(message):
            yield from row.paths(found)


def find_sole_paths(message: str, param: str | None = None) -> tuple[Path, ...]:
    """Return the one path, or the betas, that all sentences of ``message`` reject; nothing if it has any other
    content."""
    if paths := _sole_paths(message, param):
        return paths
    named = {_sole_paths(sentence, param) for sentence in _BETWEEN.split(message)}
    return named.pop() if len(named) == 1 else ()


def _sole_paths(sentence: str, param: str | None) -> tuple[Path, ...]:
    for row in _rows_for(param):
        if (found := row.words.match_whole(sentence)) is not None:
            return tuple(path for path in row.paths(found) if path)
    return ()


def _rows_for(param: str | None) -> Iterator[Rejection]:
    return (row for row in _REJECTIONS if not row.params or param in row.params)
