"""The byte lane's request: the client's bytes with the necessary edits."""

from collections.abc import Iterable

import attrs

from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.target import Omissions, Target
from providers.apis import CODECS
from providers.errors.rejected import ANYWHERE, BETA, Path, parse_path, remove_path
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft
from providers.neutral.edits import Why
from providers.neutral.parameters import MODERATION, refuse_lost_block
from providers.neutral.seal import MARKS

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
    known = tuple(map(parse_path, recipient.quirks.refused_fields))
    omit_paths(draft, known, "provider")
    omit_paths(draft, omissions.paths, "rejected")
    if any(path[0] == _USAGE for path in (*known, *omissions.paths)):
        recipient = attrs.evolve(recipient, counts_usage=False)
    codec.adapt(draft, recipient)
    return Prepared(Outgoing(draft.encode(), edits=draft.edits, asks_usage=draft.asks_usage), omissions=omissions)


def _remove_model(draft: Draft) -> None:
    """Remove the model from the body if the path contains it.

    A server that reads the body could serve a model that the client may not use, and the provider does not know
    aliases."""
    if "model" in draft:
        draft.put("model", None)


def omit_rejected(draft: Draft, target: Target, omissions: Omissions) -> None:
    """Remove what the provider is known to reject or has rejected."""
    omit_paths(draft, map(parse_path, target.recipient.quirks.refused_fields), "provider")
    omit_paths(draft, omissions.paths, "rejected")


def omit_paths(draft: Draft, paths: Iterable[Path], why: Why) -> None:
    """Remove the members that match ``paths``; all others keep their bytes.

    Raises a 400 for a moderation that blocks, because the answer would not be moderated."""
    for path in paths:
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
