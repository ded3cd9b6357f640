"""Prepares a client's request for a provider, without what the provider rejected.

In the byte lane, these are the client's bytes with the necessary edits; in the hub lane, the request is written in the
provider's API."""

from collections.abc import Iterable, Mapping
from typing import Final

import attrs
import msgspec

from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.routing_options import RoutingOptions
from gateway.routing.target import NOTHING, Omissions, Target
from providers.apis import CODECS
from providers.errors.member_paths import ANYWHERE, BETA, NO_MEMBER, TOOL_NAMES, Path, parse_paths, remove_path
from providers.errors.rejected import use_other_form
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft, Why, losses_of
from providers.neutral.hints import losses
from providers.neutral.parameters import MODERATION, refuse_lost_block
from providers.neutral.request import Parameter, ReasoningPart, Request
from providers.neutral.seal import MARKS
from providers.neutral.searches import with_searches_as_calls
from providers.neutral.tool_names import DEFINITIONS, LONG_NAME, STRICT, shorten_names
from streams.errors import GatewayError, invalid


def translate(request: Request, target: Target, omissions: Omissions = NOTHING) -> Prepared:
    """Write ``request`` in the API of the provider. Raises as ``prepare`` does."""
    changed, names = _adapt(request, target, omissions)
    recipient = target.recipient
    if omissions.paths:
        recipient = attrs.evolve(recipient, quirks=use_other_form(recipient.quirks, omissions.paths))
    outgoing = CODECS[target.api].write_request(changed, recipient)
    return Prepared(_leave_out_rejected(outgoing, target, omissions), names, omissions)


def translate_count(request: Request, target: Target, omissions: Omissions = NOTHING) -> Prepared:
    """Write ``request`` for the provider's token counting. Raises ``GatewayError`` as ``prepare`` does, and a 501 if
    the gateway cannot write it for the API."""
    changed, names = _adapt(request, target, omissions)
    outgoing = CODECS[target.api].write_count(changed, target.recipient)
    if outgoing is None:
        raise GatewayError("unsupported", f"the gateway does not count tokens in the API {target.api}")
    return Prepared(_leave_out_rejected(outgoing, target, omissions), names, omissions)


def _adapt(request: Request, target: Target, omissions: Omissions) -> tuple[Request, Mapping[str, str]]:
    """Return ``request`` in a form that its provider accepts, and the client's names of shortened tool names."""
    changed = _without_reasoning(request) if omissions.reasoning else request
    changed = with_searches_as_calls(changed, target.api, target.recipient.quirks)
    if request.api == target.api and CODECS[target.api].wire.stores_unasked and "store" not in request.parameters:
        changed = _with_storage_off(changed)
    if changed.deferred and target.recipient.quirks.deferred_tools == "all":
        changed = attrs.evolve(changed, tools=(*changed.tools, *changed.deferred), deferred=())
    naming = CODECS[target.api].wire.tool_naming
    if TOOL_NAMES in omissions.paths:
        naming = attrs.evolve(naming, fits=STRICT.fits)
    return shorten_names(changed, naming)


def _with_storage_off(request: Request) -> Request:
    """Set ``store`` to false in ``request``.

    The gateway stores the turns of requests that it translates into their own API, and only such providers would store
    them, too."""
    parameters = {**request.parameters, "store": Parameter(False, "store")}
    return attrs.evolve(request, parameters=parameters, source={**request.source, "store": False})


def _leave_out_rejected(outgoing: Outgoing, target: Target, omissions: Omissions) -> Outgoing:
    """Return ``outgoing`` without rejected parts. The codecs already omit whole members that the provider's row
    lists."""
    known = [path for path in parse_paths(target.recipient.quirks.refused_fields) if len(path) > 1]
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


_USAGE = "stream_options"  # requests the usage of a Chat stream


def edit(incoming: Incoming, target: Target, omissions: Omissions) -> Prepared:
    """Return the request with the target's ``model``, resolved seals, and without what the provider or model rejects.

    All other members keep their order and bytes, because prompt caches match prefixes. Each member is decoded and
    encoded at most once. Raises ``GatewayError`` (400) for invalid JSON text."""
    codec, recipient = CODECS[target.api], target.recipient
    draft = Draft(incoming.json)
    if codec.wire.model_member is None:
        _remove_model(draft)
    elif incoming.model != target.model:
        agent = codec.wire.agent_member if incoming.names_agent else None
        draft.put(agent or codec.wire.model_member, target.model)
    if draft.mentions(MARKS[0]) or draft.mentions(MARKS[1]):
        draft.replace(*codec.restore(draft.values(), recipient.issuer), "seal")
    if omissions.reasoning:
        draft.replace(*codec.without_reasoning(draft.values()), "rejected")
    known = _unwanted_paths(target)
    names: Mapping[str, str] = {}
    if TOOL_NAMES in omissions.paths or _has_long_names(draft, target):
        from providers.errors.long_tool_names import MEMBERS, own_names  # imported soon after the start

        names = own_names({name: draft.value(name) for name in MEMBERS if name in draft})
        omit_paths(draft, (TOOL_NAMES,), "provider")
    omit_paths(draft, known, "provider")
    if omissions.paths:
        omit_paths(draft, omissions.paths, "rejected")
    if _USAGE in [path[0] for path in (*known, *omissions.paths)]:
        recipient = attrs.evolve(recipient, counts_usage=False)
    codec.adapt(draft, recipient)
    return Prepared(Outgoing(draft.encode(), edits=draft.edits, asks_usage=draft.asks_usage), names, omissions)


def _has_long_names(draft: Draft, target: Target) -> bool:
    """Return whether the request has names of tools that its provider is known to reject."""
    is_known = CODECS[target.api].wire.tool_naming.is_enforced or target.recipient.known.short_tool_names
    return is_known and any(LONG_NAME.search(raw) for name in DEFINITIONS if (raw := draft.raw(name)) is not None)


def _remove_model(draft: Draft) -> None:
    """Remove the model from the body if the path contains it.

    A server that reads the body could serve a model that the client may not use, and the provider does not know
    aliases."""
    if "model" in draft:
        draft.put("model", None)


def omit_rejected(draft: Draft, target: Target, omissions: Omissions) -> None:
    """Remove what the provider is known to reject or has rejected."""
    omit_paths(draft, _unwanted_paths(target), "provider")
    omit_paths(draft, omissions.paths, "rejected")


_CREDENTIALS: Final = (("api_key",),)
"""Members that LiteLLM uses instead of the gateway's credential, also for later requests of other clients. If they are
wrong, its 401 looks as if the gateway's credential were (BerriAI/litellm#36794)."""


def _unwanted_paths(target: Target) -> tuple[Path, ...]:
    """Return the members that the target's provider is known to reject, and credentials of clients."""
    return (*credential_paths(target), *parse_paths(target.recipient.quirks.refused_fields))


def credential_paths(target: Target) -> tuple[Path, ...]:
    """Return the members with credentials of clients, which do not go to a provider with the gateway's own."""
    return () if target.entry.passthrough_auth else _CREDENTIALS


def omit_paths(draft: Draft, paths: Iterable[Path], why: Why) -> None:
    """Remove the members that match ``paths``; all others keep their bytes.

    Raises a 400 for a moderation that blocks, because the answer would not be moderated."""
    for path in paths:
        if path[0].startswith(NO_MEMBER):
            _reshape(draft, path, why)
            continue
        if path[0] == ANYWHERE:
            names = tuple(draft.values())
        elif path[0] == BETA or path[0] not in draft:
            continue
        else:
            names = path[:1]
        if path[0] == MODERATION:
            refuse_lost_block(draft.value(MODERATION))
        held = {name: draft.value(name) if len(path) > 1 else None for name in names}
        changed, lost = remove_path(held, path)
        if lost:
            touched = {name: changed.get(name) for name in names if name not in changed or changed[name] != held[name]}
            draft.replace(touched, sorted(lost), why)


def _reshape(draft: Draft, path: Path, why: Why) -> None:
    from providers.errors.other_shapes import find_shape  # imported soon after the start

    if (shape := find_shape(path)) is None:
        return
    for name, value in shape.change({name: draft.value(name) for name in shape.reads if name in draft}).items():
        draft.put(name, value)
        draft.note(attrs.evolve(shape.describe(name, value), why=why))


STORAGE: Final = frozenset({("store",)})
"""Members that prevent storage: without them, a provider may store a conversation against the client's request."""


def prepare(incoming: Incoming, target: Target, omissions: Omissions = NOTHING) -> Prepared:
    """Return ``incoming`` in the form for ``target``. Raises ``GatewayError`` (400) for parts that the provider does
    not support."""
    if target.lane == "byte":
        return edit(incoming, target, omissions)
    return translate(incoming.request, target, omissions)


def prepare_with_options(
    options: RoutingOptions, incoming: Incoming, target: Target, omissions: Omissions = NOTHING
) -> Prepared:
    """Prepare a request without its routing ``options``; only a router that understands them receives them."""
    prepared = prepare(incoming, target, omissions)
    if members := options.members_for(target):
        body = {**msgspec.json.decode(prepared.outgoing.body, type=dict[str, msgspec.Raw]), **members}
        return attrs.evolve(prepared, outgoing=attrs.evolve(prepared.outgoing, body=msgspec.json.encode(body)))
    if options.dropped:
        edits = (*prepared.outgoing.edits, *losses_of(options.dropped, "provider"))
        return attrs.evolve(prepared, outgoing=attrs.evolve(prepared.outgoing, edits=edits))
    return prepared


def refuse_losses(prepared: Prepared, target: Target) -> None:
    """Raise an error (400) in strict mode for parts that cannot be translated and may change the response.

    The same applies to a rejected part that controls storage."""
    refused = (path[0] for path in prepared.omissions.paths if path in STORAGE and path[0] in prepared.outgoing.dropped)
    if lost := (*losses(prepared.outgoing.client_losses), *refused):
        shown = ", ".join(lost[:20])
        raise invalid(
            f"strict mode: {target.name} does not support {shown}; remove it or turn strict mode off", lost[0]
        )
