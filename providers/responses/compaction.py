"""Compaction: all that was said so far in one item, for a conversation that outgrows its model.

Where the provider has nothing of the kind, the model itself is asked for a summary, which then travels in
``encrypted_content`` as a seal does: the client sends it back in place of what it stands for. Clients take nothing but
such an item for an answer (Soju06/codex-lb#971, router-for-me/CLIProxyAPI#5857, openai/codex#38323).
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from providers.neutral.request import Message, Request, TextPart, Tool, ToolChoice
from providers.neutral.seal import PREFIX, Issuer, seal, unseal
from providers.responses.ids import own_id

Object: TypeAlias = dict[str, Any]

ANYBODY = Issuer("", "")  # who made the summary does not matter: it is plain text, and every provider may read it

# Settings that are about the answer which the client would have got, not about a summary.
OF_THE_ANSWER = ("max_tokens", "verbosity", "logprobs", "top_logprobs", "max_tool_calls", "context_management")

ASK = """\
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

FOUND = """\
The conversation so far was cut to save room. These are the notes on it, written by the assistant; go on from there.

"""

_ASKED = Message("user", (TextPart(ASK, "input"),), "input")


def is_compaction(body: Mapping[str, Any]) -> bool:
    """Return whether the request asks for a compaction in place of an answer: its input ends with the trigger."""
    items = body.get("input")
    last = items[-1] if isinstance(items, list) and items else None
    return isinstance(last, dict) and last.get("type") == "compaction_trigger"


def compaction_request(request: Request) -> Request:
    """Return ``request`` as one that asks for the summary of all its turns. Asking twice is asking once.

    The tools stay, because they are the beginning of the prefix that providers cache and Anthropic wants them beside
    calls in the history; that none may be called is said in ``tool_choice``."""
    if request.messages[-1:] == (_ASKED,):
        return request
    own = any(isinstance(tool, Tool) for tool in request.tools)
    return attrs.evolve(
        request,
        messages=(*request.messages, _ASKED),
        tool_choice=ToolChoice("none") if own else None,
        parallel_tools=None,
        format=None,
        parameters={name: control for name, control in request.parameters.items() if name not in OF_THE_ANSWER},
    )


def compaction_item(text: str, id: str = "") -> Object:
    """Return the item that stands for everything before it; ``id`` where it has one already."""
    sealed = seal(ANYBODY, "responses", {"type": "compaction", "summary": text})
    return {"id": id or own_id("cmp_"), "type": "compaction", "encrypted_content": sealed}


def is_own(item: Mapping[str, Any]) -> bool:
    """Return whether trigate made this compaction item, or claims to have: what is in it may be damaged."""
    text = item.get("encrypted_content")
    return item.get("type") == "compaction" and isinstance(text, str) and text.startswith(PREFIX)


def summary(item: Mapping[str, Any]) -> str | None:
    """Return the words of an item of our own for the model, ``None`` if it was changed on its way."""
    found = unseal(item["encrypted_content"])
    text = found.item.get("summary") if found is not None and isinstance(found.item, dict) else None
    return FOUND + text if isinstance(text, str) else None


def as_message(text: str) -> Object:
    """Return the summary as an item that every server of this API understands."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
