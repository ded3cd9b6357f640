"""A client's request as a provider gets it: edited in place or translated, without what the provider has refused, and
its headers."""

import fnmatch
from collections.abc import Collection, Iterable, Mapping

import attrs

from gateway.http.headers import Headers, upstream_headers, upstream_query
from gateway.request.parse import Incoming
from gateway.routing.omissions import NOTHING, Omissions
from gateway.routing.target import Target
from gateway.upstream.request import UpstreamRequest
from providers.apis import CODECS
from providers.errors.rejected import BETA, Path, path_of, remove
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft
from providers.neutral.fields import Drops
from providers.neutral.hints import losses
from providers.neutral.request import ReasoningPart, Request
from providers.neutral.seal import PREFIX
from providers.neutral.tool_names import shortened
from streams.errors import invalid


@attrs.frozen
class ClientRequest:
    """The HTTP side of a client's request: lower-case header names, the query string without its ``?``, and the name of
    the client whose key let it in."""

    headers: Headers
    query: str
    client: str | None = None

    def header(self, name: str) -> str | None:
        """The last value of the header ``name`` (lower case)."""
        return dict(self.headers).get(name)

    @property
    def credential(self) -> str | None:
        """The client's key, from whichever header its SDK puts it in; for ``passthrough_auth`` only."""
        bearer = self.header("authorization") or ""
        if bearer[:7].lower() == "bearer ":
            return bearer[7:].strip() or None
        return bearer or self.header("x-api-key") or None


_SEAL = PREFIX.encode()
_USAGE = "stream_options"  # where a Chat stream's token counts are asked for


@attrs.frozen
class Prepared:
    """``names``: from tool names that were shortened for the provider to the client's own. ``request`` is what it was
    written from; ``None`` where the client's own bytes were edited."""

    outgoing: Outgoing
    names: Mapping[str, str] = attrs.field(factory=dict)
    request: Request | None = None
    left: Omissions = NOTHING


def prepare(incoming: Incoming, target: Target, left: Omissions = NOTHING) -> Prepared:
    """Raises ``GatewayError`` (400) for what the provider cannot honour."""
    if target.lane == "byte":
        return _edited(incoming, target, left)
    return translated(incoming.request, target, left)


def translated(request: Request, target: Target, left: Omissions = NOTHING) -> Prepared:
    """``request`` for the provider. Raises as ``prepare`` does."""
    quirks = target.recipient.quirks
    told = _unreasoned(request) if left.reasoning else request
    if told.deferred and quirks.deferred_tools == "all":
        told = attrs.evolve(told, tools=(*told.tools, *told.deferred), deferred=())
    told, names = shortened(told)
    outgoing = CODECS[target.api].write_request(told, target.recipient)
    return Prepared(_without(outgoing, target, left), names, request, left)


def _without(outgoing: Outgoing, target: Target, left: Omissions) -> Outgoing:
    """``outgoing`` without what was refused. Whole members that a row names are left out by the codecs already."""
    rows = (path_of(name) for name in target.recipient.quirks.refused_fields)
    if not (paths := (*(path for path in rows if len(path) > 1), *left.paths)):
        return outgoing
    draft = Draft.of(outgoing.body)
    _leave_out(draft, paths)
    return attrs.evolve(outgoing, body=draft.encode(), dropped=Drops((*outgoing.dropped, *draft.dropped)).paths())


def prepare_without(prepared: Prepared, incoming: Incoming, target: Target, left: Omissions) -> Prepared:
    """``prepared`` once more, without what ``left`` says. Raises as ``prepare`` does."""
    if prepared.request is None:
        return _edited(incoming, target, left)
    return translated(prepared.request, target, left)


def _edited(incoming: Incoming, target: Target, left: Omissions) -> Prepared:
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
    _leave_out(draft, refused)
    if any(path[0] == _USAGE for path in refused):
        recipient = attrs.evolve(recipient, counts_usage=False)
    codec.adapt(draft, recipient)
    outgoing = Outgoing(draft.encode(), dropped=draft.dropped, adapted=draft.adapted, asks_usage=draft.asks_usage)
    return Prepared(outgoing, left=left)


def _unreasoned(request: Request) -> Request:
    thoughts = [part for message in request.messages for part in message.parts if isinstance(part, ReasoningPart)]
    places = (place for part in thoughts for place in part.places)
    turns = tuple(
        attrs.evolve(message, parts=tuple(part for part in message.parts if not isinstance(part, ReasoningPart)))
        for message in request.messages
    )
    return attrs.evolve(request, messages=turns, dropped=(*request.dropped, *places))


def _leave_out(draft: Draft, paths: Iterable[Path]) -> None:
    """Take out what ``paths`` mean; every other member keeps its bytes."""
    for path in paths:
        if path[0] == BETA or path[0] not in draft:
            continue
        held = {path[0]: draft.value(path[0]) if len(path) > 1 else None}
        if lost := remove(held, path):
            draft.replace({path[0]: held.get(path[0])}, sorted(lost))


def with_betas(asked: ClientRequest, betas: Collection[str]) -> ClientRequest:
    """``asked`` with ``betas`` added to its ``anthropic-beta``."""
    given = [beta.strip() for name, value in asked.headers if name == BETA for beta in value.split(",")]
    if all(beta in given for beta in betas):
        return asked
    value = ",".join(dict.fromkeys((*given, *betas)))
    others = tuple(pair for pair in asked.headers if pair[0] != BETA)
    return attrs.evolve(asked, headers=(*others, (BETA, value)))


def without_betas(asked: ClientRequest, paths: Iterable[Path]) -> tuple[ClientRequest, tuple[str, ...]]:
    """``asked`` without the values of ``anthropic-beta`` that ``paths`` mean (shell patterns), and their places."""
    patterns = [path[1] if len(path) > 1 else "*" for path in paths if path[0] == BETA]
    if not patterns:
        return asked, ()
    headers: list[tuple[str, str]] = []
    dropped: list[str] = []
    for name, value in asked.headers:
        if name == BETA:
            betas = [beta.strip() for beta in value.split(",")]
            gone = [beta for beta in betas if any(fnmatch.fnmatchcase(beta, pattern) for pattern in patterns)]
            dropped.extend(f"{BETA}.{beta}" for beta in gone)
            if gone:
                value = ",".join(beta for beta in betas if beta not in gone)
        if value or name != BETA:
            headers.append((name, value))
    return attrs.evolve(asked, headers=tuple(headers)), tuple(dropped)


def refuse_losses(outgoing: Outgoing, target: Target) -> None:
    """Strict mode: a 400 that names what may change the answer and cannot be carried."""
    if lost := losses(outgoing.dropped):
        shown = ", ".join(lost[:20])
        raise invalid(
            f"strict mode: {target.name} cannot be given {shown}; leave it out or turn strict mode off", lost[0]
        )


def upstream_request(
    outgoing: Outgoing, target: Target, asked: ClientRequest, stream: bool, suffix: str = "", *, method: str = "POST"
) -> UpstreamRequest:
    """The HTTP request. In the byte lane the client's headers and query go along (less credentials and what is about
    its own connection), in the hub lane only what the codec writes and the betas that the model's name wants.
    ``suffix`` goes behind the path."""
    path, mark, query = target.url.partition("?")
    url = path + suffix + mark + query
    headers = outgoing.headers
    if target.lane == "byte":
        messages = target.api == "messages"
        headers = (*upstream_headers(asked.headers, messages), *headers)
        if more := upstream_query(asked.query, messages):
            url += ("&" if mark else "?") + more
    elif betas := [beta for beta in target.betas if beta in (asked.header(BETA) or "")]:
        headers = (*headers, (BETA, ",".join(betas)))
    own = target.headers(asked.credential)
    names = {name.lower() for name, _ in own} | {"content-type", "accept"}
    headers = (
        *((name, value) for name, value in headers if name.lower() not in names),
        ("content-type", "application/json"),
        ("accept", "text/event-stream" if stream else "application/json"),
        ("accept-encoding", "identity"),  # compressed events would wait for one another
        *own,
    )
    return UpstreamRequest(method, url, headers, outgoing.body, connect_timeout=target.entry.timeouts.connect)
