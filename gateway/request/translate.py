"""The hub lane's request: rewritten in the provider's API."""

from collections.abc import Mapping

import attrs

from gateway.request.edit import omit_paths
from gateway.request.prepared import Prepared
from gateway.routing.target import NOTHING, Omissions, Target
from providers.apis import CODECS
from providers.errors.rejected import parse_path, use_other_form
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft
from providers.neutral.request import Parameter, ReasoningPart, Request
from providers.neutral.tool_names import shorten_names


def translate(request: Request, target: Target, omissions: Omissions = NOTHING) -> Prepared:
    """Write ``request`` in the API of the provider. Raises as ``prepare`` does."""
    changed, names = _adapt(request, target, omissions)
    recipient = target.recipient
    if omissions.paths:
        recipient = attrs.evolve(recipient, quirks=use_other_form(recipient.quirks, omissions.paths))
    outgoing = CODECS[target.api].write_request(changed, recipient)
    return Prepared(_leave_out_rejected(outgoing, target, omissions), names, omissions)


def translate_count(request: Request, target: Target) -> Prepared | None:
    """Write ``request`` for the provider's token counting, or return ``None`` if it has none. Raises as ``prepare``
    does."""
    changed, names = _adapt(request, target, NOTHING)
    outgoing = CODECS[target.api].write_count(changed, target.recipient)
    return None if outgoing is None else Prepared(_leave_out_rejected(outgoing, target, NOTHING), names)


def _adapt(request: Request, target: Target, omissions: Omissions) -> tuple[Request, Mapping[str, str]]:
    """Return ``request`` in a form that its provider accepts, and the client's names of shortened tool names."""
    changed = _without_reasoning(request) if omissions.reasoning else request
    if request.api == target.api and CODECS[target.api].wire.stores_unasked and "store" not in request.parameters:
        changed = _with_storage_off(changed)
    if changed.deferred and target.recipient.quirks.deferred_tools == "all":
        changed = attrs.evolve(changed, tools=(*changed.tools, *changed.deferred), deferred=())
    return shorten_names(changed, CODECS[target.api].wire.tool_naming)


def _with_storage_off(request: Request) -> Request:
    """Set ``store`` to false in ``request``.

    The gateway stores the turns of requests that it translates into their own API, and only such providers would store
    them, too."""
    parameters = {**request.parameters, "store": Parameter(False, "store")}
    return attrs.evolve(request, parameters=parameters, source={**request.source, "store": False})


def _leave_out_rejected(outgoing: Outgoing, target: Target, omissions: Omissions) -> Outgoing:
    """Return ``outgoing`` without rejected parts. The codecs already omit whole members that the provider's row
    lists."""
    known = [path for path in map(parse_path, target.recipient.quirks.refused_fields) if len(path) > 1]
    if not (known or omissions.paths):
        return outgoing
    draft = Draft.of(outgoing.body)
    omit_paths(draft, known, "provider")
    omit_paths(draft, omissions.paths, "rejected")
    return attrs.evolve(outgoing, body=draft.encode(), edits=(*outgoing.edits, *draft.edits))


def _without_reasoning(request: Request) -> Request:
    thoughts = [part for message in request.messages for part in message.parts if isinstance(part, ReasoningPart)]
    places = (place for part in thoughts for place in part.places)
    turns = tuple(
        attrs.evolve(message, parts=tuple(part for part in message.parts if not isinstance(part, ReasoningPart)))
        for message in request.messages
    )
    return attrs.evolve(request, messages=turns, dropped=(*request.dropped, *places))
