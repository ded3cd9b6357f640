"""The byte lane's request: the client's own bytes, edited where they have to be."""

from collections.abc import Iterable

import attrs

from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.omissions import Omissions
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.errors.rejected import BETA, Path, path_of, remove
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft
from providers.neutral.seal import PREFIX

_SEAL = PREFIX.encode()

_USAGE = "stream_options"  # where a Chat stream's token counts are asked for


def edit(incoming: Incoming, target: Target, left: Omissions) -> Prepared:
    """The byte lane: ``model`` replaced where it must be, seals resolved; what the provider or the model is known to
    refuse, or has refused, is changed or left out.

    Everything else keeps its order and every value its bytes, because prompt caches key on the prefix."""
    codec, recipient = CODECS[target.api], target.recipient
    draft = Draft(incoming.members, incoming.body)
    if incoming.model != target.model:
        draft.put("model", target.model)
    if draft.mentions(_SEAL):
        draft.replace(*codec.restore(draft.values(), recipient.issuer))
    if left.reasoning:
        draft.replace(*codec.without_reasoning(draft.values()))
    refused = (*map(path_of, recipient.quirks.refused_fields), *left.paths)
    leave_out(draft, refused)
    if any(path[0] == _USAGE for path in refused):
        recipient = attrs.evolve(recipient, counts_usage=False)
    codec.adapt(draft, recipient)
    outgoing = Outgoing(draft.encode(), dropped=draft.dropped, adapted=draft.adapted, asks_usage=draft.asks_usage)
    return Prepared(outgoing, left=left)


def leave_out(draft: Draft, paths: Iterable[Path]) -> None:
    """Take out what ``paths`` mean; every other member keeps its bytes."""
    for path in paths:
        if path[0] == BETA or path[0] not in draft:
            continue
        held = {path[0]: draft.value(path[0]) if len(path) > 1 else None}
        if lost := remove(held, path):
            draft.replace({path[0]: held.get(path[0])}, sorted(lost))
