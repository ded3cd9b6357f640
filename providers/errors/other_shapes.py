"""Requests in another shape, for servers that reject the client's: the table of such rejections.

Each is a path that is no member of a body: its first name begins with ``:``.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
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
from providers.errors.member_paths import TOOL_NAMES, WHOLE, WHOLE_WITH_TOOLS
from providers.errors.words import Change, Words, change_items, change_list
from providers.neutral import schemas
from providers.neutral.draft import Edit
from providers.neutral.levels import LEVELS

SYSTEM_PLACE: Final = (":system",)
"""The place of system messages, for a model that accepts only one, at the beginning."""
SYSTEM_ROLE: Final = (":system", "role")
"""The role of system messages, for a Messages server without that role."""
NO_SYSTEM: Final = (":system", "none")
"""Instructions, for a model without any."""
TEXT_LISTS: Final = (":texts",)
"""Lists of texts, for a server that accepts one text."""
MISSING_REASONING: Final = (":reasoning",)
"""The turns without reasoning, for a model that requires reasoning in all."""
NULL_REASONING: Final = (":reasoning", "null")
"""Reasoning with members that are ``null``, for a server that rejects them."""
SCHEMA_LIMITS: Final = (":schema", "limits")
"""Limits in the schemas of answers and strict tools."""
JSON_SCHEMA: Final = (":schema",)
ANSWER_SCHEMA: Final = (":schema", "answer")
"""The schema of the answer, for a model that only has JSON mode, and for a model without formats."""
THINKING: Final = (":thinking", "thinking")
ENABLE_THINKING: Final = (":thinking", "enable_thinking")
"""A forced tool call while a model thinks; the second name is the member that turns thinking off."""
NAMED_CHOICE: Final = (":tools", "choice")
"""The choice of a named tool, for a server that only knows ``required``."""
ONLY_STREAMED: Final = (":thinking", "streamed")
"""Thinking in a whole answer, by models that only think in streams."""
NOT_ENCRYPTED: Final = (":thinking", "encrypted")
"""The encrypted reasoning in ``include``, for a model that does not reason."""
LOST_THINKING: Final = (":thinking", "lost")
"""Thinking with a budget in a turn that has called tools without it, because its blocks were another model's."""
NO_THINKING: Final = (":thinking", "unsupported")
NOT_ADAPTIVE: Final = (":thinking", "not adaptive")
NOT_DISABLED: Final = (":thinking", "not disabled")
NO_LEVELS: Final = (":thinking", "levels")
NO_EFFORT: Final = (":thinking", "effort")
UNUSED_EFFORT: Final = (":thinking", "disabled")
ADAPTIVE_THINKING: Final = (":thinking", "adaptive")
"""Settings for thinking that a model does not have: all, one form, levels, the effort, the effort while thinking is
disabled, the budget."""
EXCLUSIVE_SAMPLING: Final = (":sampling",)
"""Two sampling settings, for a model that accepts either."""
INCOMPLETE_TOOLS: Final = (":tools", "incomplete")
COMBINED_TOOLS: Final = (":tools", "combined")
TOOL_PATTERNS: Final = (":tools", "patterns")
"""Tools whose schemas lack members that a server requires, combine other schemas at the root, or have patterns that a
server cannot read."""
IMAGE_LABELS: Final = (":images", "types")
"""Labels of images that differ from the images' bytes."""
BLANK_TEXTS: Final = (":texts", "blank")
"""Texts of white space, for a server that rejects them."""
CALL_IDS: Final = (":calls", "ids")
LONG_IDS: Final = (":calls", "long")
CALL_PLACES: Final = (":calls", "places")
RESULT_ORDER: Final = (":calls", "order")
"""Ids of tool calls that a server rejects, texts between calls and their results, and messages of the user that follow
results of tools."""
UNSIGNED_CALLS: Final = (":calls", "signatures")
"""Calls without a signature, for Gemini 3."""
RESULT_TURNS: Final = (":calls", "results")
"""Results of calls in several turns, or among other parts, in Gemini."""
MIXED_TURNS: Final = (":calls", "turns")
CALLED_TOOLS: Final = (":calls", "tools")
"""Texts in a turn with calls or results, and calls in a conversation without tools, in Converse."""
ALTERNATION: Final = (":turns", "alternate")
"""Texts of one role after each other, for a chat template that rejects them."""
LAST_TURN: Final = (":turns", "last")
"""A last message of the model, for a model that cannot continue it."""
USER_ID: Final = (":user", "id")
"""The end user's id, with characters that a server rejects."""
AGENT_ITEMS: Final = (":items", "agents")
"""The items in which Codex delivers a task to an agent, for a server that does not know them."""
LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens")
"""The names of Chat's token limit; some models know one alone (anomalyco/opencode#37964, BerriAI/litellm#8855)."""
OUTPUT_LIMIT: Final = ":limit"
"""The first name of a path to a token limit above the model's; the model's limit is its second name."""
EFFORT_LEVELS: Final = ":levels"
"""The first name of a path to an effort that the model does not have; the model's levels are its second name."""


Describe: TypeAlias = Callable[[str, Any], Edit]

_TOOL_CONFIG: Final = "toolConfig"  # of Converse


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


def _of_tools(words: Words, change: Callable[[Any], Any], member: str, form: str = "") -> OtherShape:
    """Return the shape after ``change`` of each tool."""

    def change_all(body: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = change_items(body, settings.TOOLS, change)
        config = body.get(_TOOL_CONFIG)
        if isinstance(config, dict) and (inner := change_items(config, settings.TOOLS, change)):
            found[_TOOL_CONFIG] = {**config, **inner}
        return found

    def describe(name: str, value: Any) -> Edit:
        return _at(f".tools[].{member}" if name == _TOOL_CONFIG else f"[].{member}", form)(name, value)

    return OtherShape(words, (settings.TOOLS, _TOOL_CONFIG), change_all, describe)


def _of_items(words: Words, lists: tuple[str, ...], change: Callable[[Any], Any], describe: Describe) -> OtherShape:
    """Return the shape after ``change`` of each item of ``lists``."""
    return _of_lists(words, lists, lambda items: [change(item) for item in items], describe)


def _of_lists(
    words: Words, lists: tuple[str, ...], change: Callable[[list[Any]], list[Any]], describe: Describe
) -> OtherShape:
    """Return the shape after ``change`` of ``lists``."""

    def change_all(body: Mapping[str, Any]) -> dict[str, Any]:
        return {name: new for one in lists for name, new in change_list(body, one, change).items()}

    return OtherShape(words, lists, change_all, describe)


def _at(place: str, form: str = "") -> Describe:
    """Return a function that describes the change of ``place`` in a member into ``form``, or without one its loss."""
    return lambda name, value: Edit(f"{name}{place}", not form, form)


def _describe_format(name: str, value: Any) -> Edit:
    if name in settings.CONFIGS:
        return Edit(f"{name}.{settings.CONFIGS[name]}")
    if name == settings.GEMINI_CONFIG:
        return Edit(f"{name}.responseSchema")
    is_added = name in (settings.MESSAGES, settings.CONTENTS)
    return _at("[]", "+response_format")(name, value) if is_added else Edit(name)


def _without_thinking(words: Words, member: str, value: Any, form: str) -> OtherShape:
    return OtherShape(
        words,
        (settings.CHOICE, settings.EFFORT, member),
        settings.turn_thinking_off(member, value),
        lambda name, value: Edit(name) if value is None else Edit(name, lost=False, form=form),
    )


def _with_other_name(old: str, new: str) -> OtherShape:
    def rename(body: Mapping[str, Any]) -> dict[str, Any]:
        return {} if body.get(old) is None else {old: None, new: body[old]}

    def describe(name: str, value: Any) -> Edit:
        return Edit(name, lost=False, form=f"->{new}" if name == old else "")

    return OtherShape(None, (old,), rename, describe)  # the words are those about an unknown member


def _omit_settings(words: Words, change: Change) -> OtherShape:
    def describe(name: str, value: Any) -> Edit:
        return Edit(settings.place_of(name))

    return OtherShape(words, settings.MEMBERS, change, describe)


def _without_stream(words: Words, *more: str) -> OtherShape:
    def describe(name: str, value: Any) -> Edit:
        return Edit(name, lost=False, form="=absent" if value is None else "=false")

    return OtherShape(words, ("stream", "stream_options", *more), settings.omit_stream(more), describe)


_MESSAGES: Final = ("messages",)
OTHER_SHAPES: Final[Mapping[tuple[str, ...], OtherShape]] = {
    SYSTEM_PLACE: OtherShape(system_place.WORDS, system_place.PLACES, system_place.move_system, _at("[].role")),
    SYSTEM_ROLE: _of_items(system_place.ROLE_WORDS, _MESSAGES, system_place.use_user_role, _at("[].role")),
    NO_SYSTEM: OtherShape(
        system_place.GEMMA,
        ("messages", "system", "systemInstruction", "system_instruction", "contents"),
        system_place.use_first_turn,
        lambda name, value: Edit(name, lost=False, form="=user"),
    ),
    TEXT_LISTS: _of_items(turns.TEXT_WORDS, _MESSAGES, turns.join_text_lists, _at("[].content", "=text")),
    MISSING_REASONING: _of_items(turns.MISSING, _MESSAGES, turns.add_reasoning, _at("[].reasoning_content", "=blank")),
    NULL_REASONING: _of_items(turns.NULL, ("input",), turns.omit_nulls, _at("[].content", "=absent")),
    JSON_SCHEMA: OtherShape(
        settings.SCHEMA_WORDS,
        (settings.MESSAGES, settings.FORMAT, settings.CONTENTS, settings.GEMINI_CONFIG),
        settings.use_json_mode,
        _describe_format,
    ),
    ANSWER_SCHEMA: OtherShape(
        settings.FORMAT_WORDS,
        (settings.MESSAGES, *settings.CONFIGS),
        settings.describe_answer,
        _describe_format,
    ),
    THINKING: _without_thinking(settings.DEEPSEEK_OR_KIMI, "thinking", {"type": "disabled"}, "=disabled"),
    ENABLE_THINKING: _without_thinking(settings.QWEN, "enable_thinking", False, "=false"),
    NAMED_CHOICE: OtherShape(
        settings.NAMED_CHOICE, (settings.CHOICE, settings.TOOLS), settings.require_only, _at("", "=required")
    ),
    ONLY_STREAMED: OtherShape(
        settings.ONLY_STREAMED, ("stream", "enable_thinking"), settings.turn_off_unless_streamed, _at("", "=false")
    ),
    NOT_ENCRYPTED: OtherShape(
        settings.NOT_ENCRYPTED,
        (settings.INCLUDE,),
        settings.omit_encrypted,
        lambda name, value: Edit(f"{name}[]"),
    ),
    WHOLE: _without_stream(settings.NOT_STREAMED),
    WHOLE_WITH_TOOLS: _without_stream(settings.TOOLS_NOT_STREAMED, settings.TOOLS),
    LOST_THINKING: OtherShape(turns.LOST_THINKING, ("messages", "thinking"), turns.omit_budget, _at("")),
    NO_THINKING: _omit_settings(settings.UNSUPPORTED, settings.omit_thinking),
    NOT_ADAPTIVE: _omit_settings(
        settings.NOT_ADAPTIVE, settings.omit_if(settings.omit_thinking, "adaptive", *LEVELS[1:])
    ),
    NOT_DISABLED: _omit_settings(settings.NOT_DISABLED, settings.omit_if(settings.omit_thinking, "disabled", "none")),
    NO_LEVELS: _omit_settings(
        settings.NO_LEVELS, settings.omit_if(settings.omit_thinking, "adaptive", "enabled", *LEVELS[1:])
    ),
    NO_EFFORT: _omit_settings(settings.UNSUPPORTED_EFFORT, settings.omit_effort),
    UNUSED_EFFORT: _omit_settings(settings.DISABLED, settings.omit_if(settings.omit_effort, "disabled")),
    EXCLUSIVE_SAMPLING: OtherShape(
        settings.EXCLUSIVE,
        ("temperature", "top_p", settings.CONVERSE_CONFIG),
        settings.omit_top_p,
        lambda name, value: Edit(f"{name}.topP" if name == settings.CONVERSE_CONFIG else name),
    ),
    ADAPTIVE_THINKING: OtherShape(settings.ADAPTIVE, ("thinking",), settings.think_adaptively, _at("", "=adaptive")),
    INCOMPLETE_TOOLS: _of_tools(settings.INCOMPLETE, settings.complete_schemas, "schema", "=complete"),
    COMBINED_TOOLS: _of_tools(settings.COMBINED, settings.merge_combinations, "schema"),
    TOOL_PATTERNS: _of_tools(settings.PATTERNS, settings.omit_patterns, "pattern"),
    SCHEMA_LIMITS: OtherShape(
        settings.LIMITS,
        (*schemas.FORMATS, *schemas.TOOLS),
        schemas.describe_limits_in,
        schemas.describe_edit,
    ),
    IMAGE_LABELS: _of_items(turns.IMAGE_WORDS, turns.IMAGE_LISTS, turns.relabel, _at("[].media_type", "=actual")),
    TOOL_NAMES: OtherShape(
        long_tool_names.WORDS,
        long_tool_names.MEMBERS,
        long_tool_names.shorten,
        lambda name, value: _at("[].name" if isinstance(value, list) else ".name", "=short")(name, value),
    ),
    CALL_IDS: _of_items(turns.IDS, _MESSAGES, turns.shorten_ids, _at("[].tool_call_id", "=short")),
    LONG_IDS: _of_items(
        turns.LONG_IDS,
        turns.LISTS,
        turns.replace_ids,
        lambda name, value: _at("[].call_id" if name == "input" else "[].tool_call_id", "=short")(name, value),
    ),
    CALL_PLACES: _of_items(turns.CALL_PLACES, _MESSAGES, turns.order_calls, _at("[].content", "=ordered")),
    BLANK_TEXTS: OtherShape(
        turns.BLANK | converse_turns.BLANK,
        ("system", "messages"),
        lambda body: converse_turns.fill_blanks(body) or turns.omit_blanks(body),
        _at("[].content", "=nonblank"),
    ),
    UNSIGNED_CALLS: _of_items(
        call_signatures.MISSING,
        _MESSAGES,
        call_signatures.add_signature,
        _at("[].tool_calls[].extra_content", "=placeholder"),
    ),
    RESULT_TURNS: _of_lists(gemini_turns.UNEVEN, ("contents",), gemini_turns.join_results, _at("[]", "=joined")),
    MIXED_TURNS: _of_lists(converse_turns.MIXED, _MESSAGES, converse_turns.separate_tools, _at("[]", "=split")),
    CALLED_TOOLS: OtherShape(
        converse_turns.WITHOUT_TOOLS,
        ("messages", _TOOL_CONFIG),
        converse_turns.declare_tools,
        _at("", "=called"),
    ),
    ALTERNATION: OtherShape(turns.ALTERNATION, system_place.PLACES, turns.join_turns, _at("[]", "=joined")),
    RESULT_ORDER: _of_lists(turns.ORDER, _MESSAGES, turns.separate_results, _at("[]", "+assistant")),
    LAST_TURN: OtherShape(turns.LAST, turns.LISTS, turns.add_user_turn, _at("[]", "+user")),
    USER_ID: OtherShape(settings.USER_WORDS, ("metadata",), settings.hash_user_id, _at(".user_id", "=digest")),
    AGENT_ITEMS: _of_items(turns.AGENT_WORDS, ("input",), turns.use_messages, _at("[].type")),
    **{(":name", new): _with_other_name(old, new) for old, new in (LIMIT_NAMES, LIMIT_NAMES[::-1])},
}


def with_known_name(path: tuple[str, ...], message: str) -> tuple[str, ...]:
    """Return the path to the other name of a token limit if ``message`` rejects ``path``, its name; else ``path``.

    Messages has the older name, too, so that is rejected only for the newer one."""
    older, newer = LIMIT_NAMES
    if path == (older,) and newer in message:
        return (":name", newer)
    return (":name", older) if path == (newer,) else path


def find_shape(path: tuple[str, ...]) -> OtherShape | None:
    """Return the shape for ``path``, ``None`` if that is the path of a member."""
    if path[0] == EFFORT_LEVELS:
        return _with_levels(tuple(path[1].split(",")))
    return _with_limit(int(path[1])) if path[0] == OUTPUT_LIMIT else OTHER_SHAPES.get(path)


@lru_cache(maxsize=64)
def _with_levels(levels: tuple[str, ...]) -> OtherShape:
    def describe(name: str, value: Any) -> Edit:
        place, form = effort_levels.place_of(name, value)
        return Edit(place, form=form)

    return OtherShape(None, effort_levels.MEMBERS, effort_levels.use_levels(levels), describe)


@lru_cache(maxsize=64)
def _with_limit(limit: int) -> OtherShape:
    nested = settings.NESTED
    return OtherShape(
        None,
        (*settings.FLAT, *nested, settings.THINKING),
        settings.lower_to(limit),
        lambda name, value: Edit(f"{name}.{nested[name]}" if name in nested else name, lost=False, form=f"={limit}"),
    )


def find_other_shapes(message: str, param: str | None = None) -> tuple[tuple[str, ...], ...]:
    """Return the paths to all shapes that a provider's ``message``, which may be about ``param``, rejects."""
    found = [path for path, shape in OTHER_SHAPES.items() if shape.words is not None and shape.words.are_in(message)]
    if (limit := settings.find_output_limit(message)) is not None:
        found.append((OUTPUT_LIMIT, str(limit)))
    if levels := effort_levels.find_levels(message, param):
        found.append((EFFORT_LEVELS, ",".join(levels)))
    return tuple(found)


def find_sole_shape(message: str, param: str | None = None) -> tuple[tuple[str, ...], ...]:
    """Return the path to the shape that ``message`` rejects without any other content, or nothing."""
    found = find_other_shapes(message, param)
    return found if len(found) == 1 and _has_no_other_words(found[0], message, param) else ()


def _has_no_other_words(path: tuple[str, ...], message: str, param: str | None) -> bool:
    if path[0] == EFFORT_LEVELS:
        return effort_levels.states_only_levels(message, param)
    if path[0] == OUTPUT_LIMIT:
        return settings.states_only_limit(message)
    words = OTHER_SHAPES[path].words
    return words is not None and words.are_all_of(message)
