"""Descriptions of wire APIs: what the gateway has to know of one beside its codec, as data.

A path, a header, the name of an event: whatever differs between two APIs and is no code stands here, so that no module
of the gateway asks which API it has before it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypeAlias

import attrs

from providers.neutral.tool_names import USUAL, ToolNaming
from providers.neutral.values import as_object, as_string, load
from streams.events import Api, ErrorInfo
from streams.framing import Framing
from streams.sse import DONE, SSE, is_malformed

Operation: TypeAlias = Literal["answer", "count", "compact"]
"""What can be asked of a model with one request: an answer, the number of its tokens, a summary in its place."""


@attrs.frozen(eq=False, repr=False)
class OperationPath:
    """The end of an operation's path. ``streamed`` is that of a streamed answer where it has one of its own; where it
    has none, the request's body says whether a stream is wanted."""

    whole: str = ""
    streamed: str | None = None


@attrs.frozen(eq=False, repr=False)
class RequestPath:
    """A path that clients of an API ask at, ``{model}`` standing for the model's name. ``streamed`` is ``None`` where
    the request's body says it."""

    path: str
    operation: Operation
    streamed: bool | None = None


@attrs.frozen(eq=False, repr=False)
class Conversation:
    """The member of a request without which there is nothing to ask: its name, the bytes that its JSON may begin with,
    the same in words, and whether it may be absent."""

    member: str
    starts: tuple[bytes, ...] = (b"[",)
    kind: str = "an array"
    optional: bool = False


@attrs.frozen(eq=False, repr=False)
class StreamWords:
    """The events by which an API's clients understand how a stream ends. An event is known by the name that its framing
    gives it, else by the member ``type`` of its JSON.

    ``ends``: the end of a good answer, behind which nobody reads on. ``error_names`` and ``error_types``: what makes an
    SDK raise, by the framing's name and by ``type`` alone; with ``error_member`` any event with a member ``error``.
    ``after_error``: what may follow an error because it says the same again.
    """

    ends: frozenset[str] = frozenset()
    error_names: frozenset[str] = frozenset()
    error_types: frozenset[str] = frozenset()
    error_member: bool = False
    after_error: frozenset[str] = frozenset()

    def is_good_end(self, name: str, data: bytes) -> bool:
        """Return whether a client takes the event for the end of a good answer, and reads no further."""
        return data.startswith(DONE) or (name or _type(data)) in self.ends

    def may_hold_error(self, name: str, data: bytes) -> bool:
        """Return whether an event with which an answer fails may reach a client: not one that its parser cannot read,
        nor an array, in which nobody looks for an error, nor one that looks like a good end."""
        unread = is_malformed(data) or (data.startswith(b"[") and not data.startswith(DONE))
        return not unread and not self.is_good_end(name, data)

    def is_error(self, name: str, data: bytes) -> bool:
        """Return whether the API's SDKs raise for the event. The readers know errors in more shapes than they do."""
        if name in self.error_names or (self.error_member and as_object(load(data)).get("error")):
            return True
        return bool(self.error_types) and _type(data) in self.error_types

    def repeats_error(self, name: str, data: bytes) -> bool:
        """Return whether an event behind an error says the same again. Nothing else passes there: a failed answer never
        looks complete (vLLM sends ``[DONE]`` after its error, BerriAI/litellm#40578)."""
        return bool(self.after_error) and (name or _type(data)) in self.after_error


def _type(data: bytes) -> str:
    return as_string(as_object(load(data)).get("type"))


@attrs.frozen(eq=False, repr=False)
class WireApi:
    """One wire API. ``label`` names it together with its maker.

    **Paths.** A provider is asked at its own prefix + ``path`` + the operation's own end; clients ask here at ``root``
    + the same. ``{model}`` in ``path`` stands for the model. ``model_member`` and ``stream_member`` are the members of
    a request that say which model, and whether a stream is wanted: ``None`` where the path says it.

    **Streams.** ``ping`` is a keep-alive event of the API's own, ``b""`` where it has none and the framing's comment
    has to do. ``unless_asked`` is the framing for clients in whose query that member (``alt=sse``) is missing; codecs
    read and write ``framing`` alone. ``repeats_answer``: the last event of a stream holds the whole answer once more.

    **State.** ``stores_unasked``: a request that does not say ``store`` is stored at the provider.

    **Tools.** ``tool_naming`` says which names they may have; ``tools_within`` is the member that contains ``tools``,
    ``None`` for the request itself. In an API whose tools have no ``type``, ``client_tools`` are the members of those
    that the client runs.

    **Costs.** ``requires_limit``: a request has to say how many tokens its answer may have, so that one goes out in any
    case. ``charges_cache_writes``: what is written to a cache costs more than other input.

    **Headers.** ``client_headers`` (a ``*`` at the end stands for any end) and ``query_members`` are those headers and
    members of a query of its clients that go to providers of this API, and to none of another. ``version_header`` is
    the one in which a client says which version of the API it speaks; ``beta_header`` the one with names of betas,
    ``long_context_beta`` such a name. ``id_headers`` are the names under which its clients look for the id of a
    request.

    **Errors.** ``own_statuses`` are statuses beside those of HTTP that its clients know; ``error_headers(failed)`` are
    those headers of an error response in which its clients look for what it is.
    """

    name: Api
    label: str
    path: str
    conversation: Conversation
    root: str = "/v1"
    more_roots: tuple[str, ...] = ()
    operations: Mapping[Operation, OperationPath] = attrs.field(factory=lambda: {"answer": OperationPath()})
    model_member: str | None = "model"
    stream_member: str | None = "stream"
    framing: Framing = SSE
    unless_asked: "tuple[str, Framing] | None" = None
    words: StreamWords = attrs.field(factory=StreamWords)
    ping: bytes = b""
    repeats_answer: bool = False
    stores_unasked: bool = False
    requires_limit: bool = False
    charges_cache_writes: bool = False
    client_headers: tuple[str, ...] = ()
    query_members: frozenset[str] = frozenset()
    version_header: str | None = None
    beta_header: str | None = None
    long_context_beta: str | None = None
    tool_naming: ToolNaming = USUAL
    tools_within: str | None = None
    client_tools: frozenset[str] | None = None
    id_headers: tuple[str, ...] = ("x-request-id",)
    own_statuses: frozenset[int] = frozenset()
    error_headers: Callable[[ErrorInfo], tuple[tuple[str, str], ...]] = lambda failed: ()

    def suffix(self, operation: Operation = "answer", streamed: bool = False) -> str:
        """Return the end of the path of ``operation``, behind ``path``. Raises ``KeyError`` if the API has no such
        operation."""
        ends = self.operations[operation]
        return ends.whole if not streamed or ends.streamed is None else ends.streamed

    def framing_for(self, query: str) -> Framing:
        """Return the framing of a stream to a client with that query."""
        if self.unless_asked is None or self.unless_asked[0] in query.split("&"):
            return self.framing
        return self.unless_asked[1]

    def routes(self) -> Iterator[RequestPath]:
        """Yield all that clients ask for with a body that is meant for a model."""
        for root in (self.root, *self.more_roots):
            for operation, ends in self.operations.items():
                path = root + self.path
                if ends.streamed is None:
                    yield RequestPath(path + ends.whole, operation)
                else:
                    yield RequestPath(path + ends.whole, operation, streamed=False)
                    yield RequestPath(path + ends.streamed.partition("?")[0], operation, streamed=True)
