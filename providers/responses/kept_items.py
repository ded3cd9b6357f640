"""Items of stored turns, the items that a turn continues from, and pages of them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from providers.neutral.kept_turns import answered_turns
from providers.neutral.values import as_string
from providers.responses import compaction
from providers.responses.history import item_type
from providers.responses.output import Object, text_part
from providers.responses.tools import own_id
from streams.errors import invalid

Items: TypeAlias = list[dict[str, Any]]

# The prefix for the id of an item without one. The part before the mark is one word (see ``ids``).
_PREFIXES: Mapping[str, str] = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "custom_tool_call": "ctc_",
    "function_call_output": "fco_",
    "custom_tool_call_output": "ctco_",
    "tool_search_call": "tsc_",
    "tool_search_output": "tso_",
    "compaction": "cmp_",
    "image_generation_call": "ig_",
}
_OTHER = "item_"
_INSTRUCTIONS = ("system", "developer")
_SETTINGS = ("additional_tools", "configuration_update")


# Storing


def prepare_input(value: Any, make_id: Callable[[str], str] = own_id) -> Items:
    """Return a request's ``input`` (a string, items, or ``None``) as items with a type and a unique id each.

    ``make_id(prefix)`` returns the id of an item without one. The client's ids stay unless two items share one.
    Messages get parts and a status. The trigger of a compaction is omitted. Accepts every input that ``read_request``
    accepts; its own result comes back unchanged.
    """
    used_ids: set[str] = set()
    items = (_prepare_item(item, used_ids, make_id) for item in input_items(value))
    return [item for item in items if item["type"] != "compaction_trigger"]


def _prepare_item(item: Mapping[str, Any], used_ids: set[str], make_id: Callable[[str], str]) -> Object:
    type = item_type(item, item.get("type"))
    if type == "item_reference":
        return {**item, "type": type}  # its id belongs to another item
    id = item.get("id")
    if not isinstance(id, str) or not id or id in used_ids:
        id = make_id(_PREFIXES.get(type or "", _OTHER))
    used_ids.add(id)
    stored = {**item, "id": id, "type": type}
    if type == "message":
        stored["content"] = _prepare_content(item.get("content"), item.get("role"))
        stored["status"] = item.get("status") or "completed"
    return stored


def _prepare_content(content: Any, role: Any) -> Any:
    if content is None:
        return []
    if not isinstance(content, str):
        return content
    return [text_part(content) if role == "assistant" else {"type": "input_text", "text": content}]


def input_items(value: Any) -> Items:
    """Return a request's ``input`` (a string, items, or ``None``) as items, unchanged."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def without_lost_reasoning(items: Items) -> Items:
    """Return ``items`` of earlier turns for a provider that has not stored them.

    Reasoning without encrypted content is removed. The ids of the other items go with it, because the provider would
    reject calls whose ids link to missing reasoning.
    """
    kept = [item for item in items if item.get("type") != "reasoning" or item.get("encrypted_content")]
    if len(kept) == len(items):
        return items
    return [
        item
        if _is_output(item) or item.get("role") not in (None, "assistant")  # written by clients
        else {name: value for name, value in item.items() if name != "id"}
        for item in kept
    ]


# References


def references(value: Any) -> list[str]:
    """Return the ids that a request's ``input`` refers to, in order."""
    return [item["id"] for item in input_items(value) if _is_reference(item)]


def resolve_references(
    value: Any, known: Mapping[str, Object], earlier_ids: Collection[str] = ()
) -> tuple[Items, list[str]]:
    """Return a request's ``input`` with references replaced by the items of ``known``, and the unknown ids, whose
    references are removed.

    References to items in the input itself, or in earlier turns (``earlier_ids``), are removed too, because providers
    accept no item twice. The Vercel AI SDK refers to the assistant's texts and sends calls whole.
    """
    items, unknown = [], []
    seen = {
        *earlier_ids,
        *(item["id"] for item in input_items(value) if isinstance(item.get("id"), str) and not _is_reference(item)),
    }
    for item in input_items(value):
        if not _is_reference(item):
            items.append(item)
        elif (id := item["id"]) in seen:
            continue
        elif (found := known.get(id)) is not None:
            seen.add(id)
            items.append(found)
        else:
            unknown.append(id)
    return items, unknown


def _is_reference(item: Mapping[str, Any]) -> bool:
    """Return whether ``item`` is a reference, whose type may be missing (``ItemReference`` of the openai package)."""
    return isinstance(item.get("id"), str) and item_type(item, item.get("type")) == "item_reference"


# Continuing


def previous_items(chain: Iterable[bytes], answered: Collection[str] = ()) -> Items:
    """Return the items of the stored turns in ``chain``, the first turn first.

    Omits failed and cancelled turns. From incomplete turns, omits calls without an output in a turn or in ``answered``
    (the ids of calls), and reasoning that only led to them. Omits items that an own compaction replaces, except
    instructions and settings. Raises ``ValueError`` for a damaged turn.
    """
    turns = answered_turns(chain)
    answered = {*answered, *(id for turn in turns for id in answered_ids(turn.input))}
    items: Items = []
    for turn in turns:
        items += turn.input
        items += _complete_output(turn.output, answered) if turn.status == "incomplete" else turn.output
    start = max((i for i, item in enumerate(items) if compaction.is_own(item)), default=0)
    before = (item for item in items[:start] if item.get("role") in _INSTRUCTIONS or item.get("type") in _SETTINGS)
    return [*before, *items[start:]]


def answered_ids(value: Any) -> Iterator[str]:
    """Yield the ids of the calls whose outputs a request's ``input`` contains."""
    return (as_string(item.get("call_id")) for item in input_items(value) if _is_output(item))


def _is_output(item: Mapping[str, Any]) -> bool:
    return str(item.get("type")).endswith("_output")


def _complete_output(output: Items, answered: Collection[Any]) -> Items:
    """Return the output of an incomplete turn without unanswered calls and the reasoning that led to them.

    Every API rejects both (``No tool output found``).
    """
    kept: Items = []
    for item in reversed(output):
        if item.get("type") == "reasoning":
            keep = bool(kept) and item.get("status") != "incomplete"
        else:
            keep = "call_id" not in item or _is_output(item) or as_string(item["call_id"]) in answered
        if keep:
            kept.append(item)
    return kept[::-1]


DEFAULT = 20
MOST = 100


def page(
    items: Sequence[Object],
    after: str | None = None,
    before: str | None = None,
    limit: str | int | None = None,
    order: str | None = None,
) -> Object:
    """Return a page of ``items``, which are in order of arrival; the newest is first unless ``order`` is ``asc``.

    ``after`` and ``before`` are ids. The arguments are query parameters, ``None`` if missing. Raises ``GatewayError``
    (400, with ``param``) for invalid ones.
    """
    if order not in (None, "asc", "desc"):
        raise invalid(f"order {order!r} is not known: use asc or desc", "order")
    size = _page_size(limit)
    listed = list(items) if order == "asc" else list(items)[::-1]
    if before is not None:
        listed = listed[: _index_of(listed, before, "before")]
    if after is not None:
        listed = listed[_index_of(listed, after, "after") + 1 :]
    # Without `after` it is the page directly before `before`; the omitted items precede it.
    found = listed[-size:] if before is not None and after is None else listed[:size]
    return {
        "object": "list",
        "data": found,
        "first_id": found[0].get("id") if found else None,
        "last_id": found[-1].get("id") if found else None,
        "has_more": len(found) < len(listed),
    }


def _page_size(limit: str | int | None) -> int:
    if limit is None:
        return DEFAULT
    text = str(limit)
    size = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= size <= MOST:
        raise invalid(f"limit must be a number from 1 to {MOST}", "limit")
    return size


def _index_of(listed: Sequence[Any], id: str, param: str) -> int:
    for i, item in enumerate(listed):
        if item.get("id") == id:
            return i
    raise invalid(f"{param}: there is no item {id!r} in this list", param)
