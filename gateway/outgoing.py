"""A client's request as a provider gets it: edited in place or translated, without what the provider has refused, and
its headers."""

import fnmatch
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs
import msgspec

from gateway.headers import Headers, upstream_headers, upstream_query
from gateway.incoming import Incoming, decoded, edited, parsed
from gateway.routing import Target
from gateway.upstream.client import UpstreamRequest
from providers.apis import CODECS
from providers.call import Call, ThinkingPart
from providers.codec import Outgoing
from providers.fields import Drops
from providers.hints import losses
from providers.names import shortened
from providers.refused import BETA, Path, path_of, remove
from streams.errors import invalid


@attrs.frozen
class Asked:
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


@attrs.frozen
class Left:
    """What a request leaves out because its provider has refused it: the reasoning of earlier turns, and members and
    betas by their paths (``providers/refused.py``)."""

    reasoning: bool = False
    paths: tuple[Path, ...] = ()


NOTHING = Left()


@attrs.frozen
class Prepared:
    """``names``: from tool names that were shortened for the provider to the client's own. ``call`` is what it was
    written from; ``None`` where the client's own bytes were edited."""

    outgoing: Outgoing
    names: Mapping[str, str] = attrs.field(factory=dict)
    call: Call | None = None
    left: Left = NOTHING


def prepare(incoming: Incoming, target: Target, left: Left = NOTHING) -> Prepared:
    """Raises ``GatewayError`` (400) for what the provider cannot honour."""
    if target.lane == "byte":
        return _edited(incoming, target, left)
    return translated(incoming.call, target, left)


def translated(call: Call, target: Target, left: Left = NOTHING) -> Prepared:
    """``call`` for the provider. Raises as ``prepare`` does."""
    quirks = target.recipient.quirks
    told = _unreasoned(call) if left.reasoning else call
    if told.deferred and quirks.deferred_tools == "all":
        told = attrs.evolve(told, tools=(*told.tools, *told.deferred), deferred=())
    told, names = shortened(told)
    outgoing = CODECS[target.api].write_request(told, target.recipient)
    return Prepared(_without(outgoing, _refused(target, left)), names, call, left)


def again(prepared: Prepared, incoming: Incoming, target: Target, left: Left) -> Prepared:
    """``prepared`` once more, without what ``left`` says. Raises as ``prepare`` does."""
    if prepared.call is None:
        return _edited(incoming, target, left)
    return translated(prepared.call, target, left)


def _edited(incoming: Incoming, target: Target, left: Left) -> Prepared:
    outgoing = edited(incoming, target)
    if left.reasoning:
        changed, dropped = CODECS[target.api].without_reasoning(decoded(incoming))
        members = msgspec.json.decode(outgoing.body, type=dict[str, msgspec.Raw])
        members |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in changed.items()}
        outgoing = _and(outgoing, msgspec.json.encode(members), dropped)
    return Prepared(_without(outgoing, _refused(target, left)), left=left)


def _unreasoned(call: Call) -> Call:
    thoughts = [part for turn in call.turns for part in turn.parts if isinstance(part, ThinkingPart)]
    places = (place for part in thoughts for place in part.places)
    turns = tuple(
        attrs.evolve(turn, parts=tuple(part for part in turn.parts if not isinstance(part, ThinkingPart)))
        for turn in call.turns
    )
    return attrs.evolve(call, turns=turns, dropped=(*call.dropped, *places))


def _refused(target: Target, left: Left) -> tuple[Path, ...]:
    """The codecs leave out whole members that a row names; what is inside of them is left out here."""
    rows = (path_of(name) for name in target.recipient.quirks.refused_fields)
    return (*(path for path in rows if len(path) > 1), *left.paths)


def _without(outgoing: Outgoing, paths: Iterable[Path]) -> Outgoing:
    """``outgoing`` without what ``paths`` mean; every other member keeps its bytes."""
    wanted = [path for path in paths if path[0] != BETA]
    if not wanted:
        return outgoing
    members: dict[str, Any] = msgspec.json.decode(outgoing.body, type=dict[str, msgspec.Raw])
    dropped: set[str] = set()
    for path in wanted:
        if isinstance(raw := members.get(path[0]), msgspec.Raw) and len(path) > 1:
            members[path[0]] = parsed(raw, object)
        dropped |= remove(members, path)
    return _and(outgoing, msgspec.json.encode(members), sorted(dropped)) if dropped else outgoing


def _and(outgoing: Outgoing, body: bytes, dropped: Iterable[str]) -> Outgoing:
    return attrs.evolve(outgoing, body=body, dropped=Drops((*outgoing.dropped, *dropped)).paths())


def with_betas(asked: Asked, betas: Collection[str]) -> Asked:
    """``asked`` with ``betas`` in its ``anthropic-beta`` too."""
    given = [beta.strip() for name, value in asked.headers if name == BETA for beta in value.split(",")]
    if all(beta in given for beta in betas):
        return asked
    value = ",".join(dict.fromkeys((*given, *betas)))
    others = tuple(pair for pair in asked.headers if pair[0] != BETA)
    return attrs.evolve(asked, headers=(*others, (BETA, value)))


def without_betas(asked: Asked, paths: Iterable[Path]) -> tuple[Asked, tuple[str, ...]]:
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
    outgoing: Outgoing, target: Target, asked: Asked, stream: bool, suffix: str = "", *, method: str = "POST"
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
