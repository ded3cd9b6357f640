"""Steps of stored turns: those of a client's input, and those that a later turn continues from."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from providers.interactions.incoming import CONTENTS
from providers.neutral.kept_turns import answered_turns
from providers.neutral.values import as_objects, as_string

Steps: TypeAlias = list[dict[str, Any]]

_UNFINISHED: Final = ("incomplete", "budget_exceeded", "requires_continuation")


def prepare_input(value: Any) -> Steps:
    """Return a client's ``input`` (a text, a content, contents or steps) as steps.

    Contents that follow each other become one step. Accepts every input that ``read_request`` accepts; its own result
    comes back unchanged.
    """
    steps: Steps = []
    contents: list[Any] = []
    for item in _items(value):
        if isinstance(item, str):
            contents.append({"type": "text", "text": item})
        elif item.get("type") in CONTENTS:
            contents.append(item)
        else:
            steps += _user_input(contents)
            contents = []
            steps.append(item)
    return [*steps, *_user_input(contents)]


def _items(value: Any) -> Iterator[Any]:
    several = value if isinstance(value, list) else [] if value is None else [value]
    return (item for item in several if isinstance(item, str | dict))


def _user_input(contents: list[Any]) -> Steps:
    return [{"type": "user_input", "content": contents}] if contents else []


def previous_steps(chain: Iterable[bytes], answered: Collection[str] = ()) -> Steps:
    """Return the steps of the stored turns in ``chain``, the first turn first.

    Omits failed and cancelled turns. From unfinished turns, omits calls without a result in a turn or in ``answered``
    (the ids of calls), and thoughts that only led to them. Raises ``ValueError`` for a damaged turn.
    """
    turns = answered_turns(chain)
    answered = {*answered, *(id for turn in turns for id in answered_ids(turn.input))}
    steps: Steps = []
    for turn in turns:
        steps += turn.input
        steps += _complete_output(turn.output, answered) if turn.status in _UNFINISHED else turn.output
    return steps


def answered_ids(value: Any) -> Iterator[str]:
    """Yield the ids of the calls whose results a client's ``input`` contains."""
    for item in _items(value):
        if isinstance(item, dict):
            yield from _ids_in(item)
            for content in as_objects(item.get("content")):
                yield from _ids_in(content)


def _ids_in(item: Mapping[str, Any]) -> Iterator[str]:
    if item.get("type") == "function_result":
        yield as_string(item.get("call_id"))


def _complete_output(output: Steps, answered: Collection[str]) -> Steps:
    """Return the output of an unfinished turn without unanswered calls and the thoughts that led to them."""
    kept: Steps = []
    for step in reversed(output):
        match step.get("type"):
            case "thought":
                keep = bool(kept)
            case "function_call":
                keep = as_string(step.get("id")) in answered
            case _:
                keep = True
        if keep:
            kept.append(step)
    return kept[::-1]
