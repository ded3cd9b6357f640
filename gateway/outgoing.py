"""A client's request as a provider gets it: edited in place or translated, its headers, and the second try without
reasoning that the provider has refused."""

from collections.abc import Mapping

import attrs
import msgspec

from gateway.headers import Headers, upstream_headers, upstream_query
from gateway.incoming import Incoming, decoded, edited
from gateway.routing import Target
from gateway.upstream import UpstreamRequest
from providers.apis import CODECS
from providers.call import Call, ThinkingPart
from providers.codec import Outgoing
from providers.fields import Drops
from providers.hints import losses
from providers.names import shortened
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
class Prepared:
    """``names``: from tool names that were shortened for the provider to the client's own."""

    outgoing: Outgoing
    names: Mapping[str, str] = attrs.field(factory=dict)


def prepare(incoming: Incoming, target: Target) -> Prepared:
    """Raises ``GatewayError`` (400) for what the provider cannot honour."""
    if target.lane == "byte":
        return Prepared(edited(incoming, target))
    return translated(incoming.call, target)


def translated(call: Call, target: Target) -> Prepared:
    """``call`` for the provider. Raises as ``prepare`` does."""
    call, names = shortened(call)
    return Prepared(CODECS[target.api].write_request(call, target.recipient), names)


def refuse_losses(outgoing: Outgoing, target: Target) -> None:
    """Strict mode: a 400 that names what may change the answer and cannot be carried."""
    if lost := losses(outgoing.dropped):
        shown = ", ".join(lost[:20])
        raise invalid(
            f"strict mode: {target.name} cannot be given {shown}; leave it out or turn strict mode off", lost[0]
        )


def without_reasoning(incoming: Incoming, target: Target) -> Prepared | None:
    """The same request without the reasoning of earlier turns, for a provider that has refused it; ``None`` if it has
    none, so that nothing would be different."""
    if target.lane == "hub":
        call, dropped = _unreasoned(incoming.call)
        return translated(attrs.evolve(call, dropped=(*call.dropped, *dropped)), target) if dropped else None
    changed, dropped = CODECS[target.api].without_reasoning(decoded(incoming))
    if not dropped:
        return None
    first = edited(incoming, target)
    members = msgspec.json.decode(first.body, type=dict[str, msgspec.Raw])
    members |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in changed.items()}
    return Prepared(Outgoing(msgspec.json.encode(members), first.headers, Drops((*first.dropped, *dropped)).paths()))


def _unreasoned(call: Call) -> tuple[Call, tuple[str, ...]]:
    thoughts = [part.at for turn in call.turns for part in turn.parts if isinstance(part, ThinkingPart)]
    turns = tuple(
        attrs.evolve(turn, parts=tuple(part for part in turn.parts if not isinstance(part, ThinkingPart)))
        for turn in call.turns
    )
    return attrs.evolve(call, turns=turns), tuple(thoughts)


def upstream_request(
    outgoing: Outgoing, target: Target, asked: Asked, stream: bool, suffix: str = "", *, method: str = "POST"
) -> UpstreamRequest:
    """The HTTP request. In the byte lane the client's headers and query go along (less credentials and what is about
    its own connection), in the hub lane only what the codec writes. ``suffix`` goes behind the path."""
    path, mark, query = target.url.partition("?")
    url = path + suffix + mark + query
    headers = outgoing.headers
    if target.lane == "byte":
        messages = target.api == "messages"
        headers = (*upstream_headers(asked.headers, messages), *headers)
        if more := upstream_query(asked.query, messages):
            url += ("&" if mark else "?") + more
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
