"""Compaction: one item that replaces the history of a conversation that exceeds its model's window.

If the provider has no compaction, the model writes a summary, which the gateway seals in ``encrypted_content``; the
client sends the item back in place of the history. Clients accept only such an item as the answer (Soju06/codex-lb#971,
router-for-me/CLIProxyAPI#5857, openai/codex#38323).
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from providers.neutral.request import Message, Request, TextPart, Tool, ToolChoice
from providers.neutral.seal import PREFIX, Issuer, seal, unseal
from providers.responses.tools import own_id

Object: TypeAlias = dict[str, Any]

ANYBODY = Issuer("", "")  # the summary is plain text, which any provider may read

# Settings for the answer that the client expected, which do not apply to a summary.
ANSWER_SETTINGS = ("max_tokens", "verbosity", "logprobs", "top_logprobs", "max_tool_calls", "context_management")

SUMMARY_PROMPT = """\
The conversation is about to be cut here, and you will go on with the work from your next message alone: nothing that \
was said before it will be there any more. Write that message now, as notes to yourself. Answer no open question and \
call no tool. Write:

1. What was asked for: the goal, every requirement, every limit and preference that was stated, and what was asked last.
2. What was done: each step that matters and what came of it, also what was tried and failed, and why.
3. What was decided, and for what reasons.
4. What is open: what is under way, what comes next, which questions wait for an answer.
5. What has to be known word for word: names of files with their paths, functions, variables, identifiers, commands, \
addresses, numbers, error messages, and pieces of code or text that the work goes on from. Copy them exactly.

Leave out nothing that the work needs, and invent nothing. Notes of this kind from earlier are part of the \
conversation: take over what still holds. Write the notes only, without greeting or comment."""

SUMMARY_INTRODUCTION = """\
The conversation so far was cut to save room. These are the notes on it, written by the assistant; go on from there.

"""

_SUMMARY_REQUEST = Message("user", (TextPart(SUMMARY_PROMPT, "input"),), "input")


def is_compaction(body: Mapping[str, Any]) -> bool:
    """Return whether the request's input ends with the trigger of a compaction."""
    items = body.get("input")
    last = items[-1] if isinstance(items, list) and items else None
    return isinstance(last, dict) and last.get("type") == "compaction_trigger"


def compaction_request(request: Request) -> Request:
    """Return ``request`` changed to request a summary of all its turns; a second call changes nothing.

    The tools stay: they start the prefix that providers cache, and Anthropic requires them next to calls in the
    history. ``tool_choice`` prevents new calls.
    """
    if request.messages[-1:] == (_SUMMARY_REQUEST,):
        return request
    own = any(isinstance(tool, Tool) for tool in request.tools)
    return attrs.evolve(
        request,
        messages=(*request.messages, _SUMMARY_REQUEST),
        tool_choice=ToolChoice("none") if own else None,
        parallel_tools=None,
        format=None,
        parameters={name: control for name, control in request.parameters.items() if name not in ANSWER_SETTINGS},
    )


def compaction_item(text: str, id: str = "") -> Object:
    """Return the item that replaces everything before it, with ``id`` or a new id."""
    sealed = seal(ANYBODY, "responses", {"type": "compaction", "summary": text})
    return {"id": id or own_id("cmp_"), "type": "compaction", "encrypted_content": sealed}


def is_own(item: Mapping[str, Any]) -> bool:
    """Return whether the gateway made this compaction item; its content may still be damaged."""
    text = item.get("encrypted_content")
    return item.get("type") == "compaction" and isinstance(text, str) and text.startswith(PREFIX)


def summary(item: Mapping[str, Any]) -> str | None:
    """Return the text for the model of an own item, or ``None`` if the item was changed."""
    found = unseal(item["encrypted_content"])
    text = found.item.get("summary") if found is not None and isinstance(found.item, dict) else None
    return SUMMARY_INTRODUCTION + text if isinstance(text, str) else None


def as_message(text: str) -> Object:
    """Return the summary as an item that every Responses server understands."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
