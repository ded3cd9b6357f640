"""Descriptions of wire APIs as data, for everything except their codecs.

They have all differences that are no code, such as paths, headers and names of events, so that the gateway's modules do
not branch on the API.

A platform may serve another maker's API: Claude at Vertex, or with Bedrock's InvokeModel. The API is the same, but the
model and the stream flag are in the path, the version and the betas in the body, and the events sometimes in the
platform's own frames.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from providers.neutral.draft import Draft
from providers.neutral.tool_names import USUAL, ToolNaming
from providers.neutral.values import as_object, as_string, load
from streams.events import Api, ErrorInfo
from streams.framing import Framing
from streams.sse import DONE, SSE, is_malformed

WITHOUT_MODEL: Final = ".."
"""The prefix of a path's end that does not follow the model; such requests keep their model."""


Operation: TypeAlias = Literal["answer", "count", "compact"]
"""The operations of a model: an answer, its number of tokens, or a summary instead of the conversation."""


@attrs.frozen(eq=False, repr=False)
class OperationPath:
    """The end of an operation's path.

    ``streamed`` is the one for streamed answers; ``None`` if the request's body has the stream flag.
    """

    whole: str = ""
    streamed: str | None = None


@attrs.frozen(eq=False, repr=False)
class RequestPath:
    """A path of an API's clients, with ``{model}`` for the model's name.

    ``streamed`` is ``None`` if the request's body has the stream flag.
    """

    path: str
    operation: Operation
    streamed: bool | None = None


@attrs.frozen(repr=False)
class Hosting:
    """The differences of a hosted API from the original.

    - ``operations``: the ends of the paths of served operations.
    - ``without``, ``adds``: the removed and added members of a request.
    - ``betas_member``: the member with the names of betas, instead of the header.
    - ``without_headers``: the removed headers.
    - ``framing``: the framing of streams, ``None`` for the API's own.
    """

    operations: Mapping[Operation, OperationPath]
    without: tuple[str, ...] = ()
    adds: Mapping[str, Any] = attrs.field(factory=dict)
    betas_member: str | None = None
    without_headers: tuple[str, ...] = ()
    framing: Framing | None = None

    def end(self, operation: Operation, streamed: bool) -> str | None:
        """Return the end of the path of ``operation``, or ``None`` if it is not served."""
        ends = self.operations.get(operation)
        return None if ends is None else ends.whole if not streamed or ends.streamed is None else ends.streamed

    def body(self, body: bytes, betas: Sequence[str], *, keeps_model: bool = False) -> bytes:
        """Return the request ``body`` for the platform; other members keep their bytes."""
        draft = Draft.of(body)
        for name in self.without:
            if name in draft and not (keeps_model and name == "model"):
                draft.put(name, None)
        for name, value in self.adds.items():
            draft.put(name, value)
        if self.betas_member is not None and betas:
            draft.put(self.betas_member, list(betas))
        return draft.encode()


@attrs.frozen(eq=False, repr=False)
class Conversation:
    """The essential member of a request: its name, the possible first bytes of its JSON, the same in words, and whether
    it may be absent."""

    member: str
    starts: tuple[bytes, ...] = (b"[",)
    kind: str = "an array"
    optional: bool = False


@attrs.frozen(eq=False, repr=False)
class StreamWords:
    """The events that end a stream for an API's clients, by their name in the framing, else by the member
    ``type_member`` of their JSON.

    - ``ends``: ends of good answers; clients stop reading there.
    - ``bare_end``: the end of every good answer after its last word, if it has no data of its own.
    - ``error_names``, ``error_types``: events for which SDKs raise, by name and by ``type`` alone.
    - ``error_member``: every event with a member ``error`` is such an event.
    - ``after_error``: events that repeat an error.
    - ``failed_ends``: the member of an event of ``ends`` with the answer, and the ``status`` of a failed one.
    - ``keep_alives``: events that only show that the provider works. The first ``opening_keep_alives`` of them are part
      of every stream's beginning.
    """

    ends: frozenset[str] = frozenset()
    bare_end: bytes = b""
    error_names: frozenset[str] = frozenset()
    error_types: frozenset[str] = frozenset()
    error_member: bool = False
    after_error: frozenset[str] = frozenset()
    failed_ends: tuple[str, frozenset[str]] = ("", frozenset())
    type_member: str = "type"
    keep_alives: frozenset[str] = frozenset()
    opening_keep_alives: int = 0

    def is_keep_alive(self, name: str, data: bytes) -> bool:
        """Return whether the event only shows that the provider works."""
        return bool(self.keep_alives) and (name or self._type(data)) in self.keep_alives

    def is_good_end(self, name: str, data: bytes) -> bool:
        """Return whether clients stop reading at the event, as at the end of a good answer."""
        if data.startswith(DONE):
            return True
        return (name or self._type(data)) in self.ends and not self._is_failed_end(name, data)

    def _is_failed_end(self, name: str, data: bytes) -> bool:
        """Return whether the event ends a failed answer."""
        member, statuses = self.failed_ends
        if not statuses or (name or self._type(data)) not in self.ends:
            return False
        return as_string(as_object(as_object(load(data)).get(member)).get("status")) in statuses

    def may_forward_error(self, name: str, data: bytes) -> bool:
        """Return whether a failing answer's event may reach a client.

        Clients cannot find errors in malformed events and arrays, and an event must not look like a good end.
        """
        unread = is_malformed(data) or (data.startswith(b"[") and not data.startswith(DONE))
        return not unread and not self.is_good_end(name, data)

    def is_error(self, name: str, data: bytes) -> bool:
        """Return whether the API's SDKs raise for the event. Readers know more shapes of errors."""
        if (
            name in self.error_names
            or self._is_failed_end(name, data)
            or (self.error_member and as_object(load(data)).get("error"))
        ):
            return True
        return bool(self.error_types) and self._type(data) in self.error_types

    def repeats_error(self, name: str, data: bytes) -> bool:
        """Return whether an event after an error repeats it.

        Other events are dropped there, because a failed answer must never look complete (vLLM sends ``[DONE]`` after
        its error, BerriAI/litellm#40578).
        """
        return bool(self.after_error) and (name or self._type(data)) in self.after_error

    def _type(self, data: bytes) -> str:
        return as_string(as_object(load(data)).get(self.type_member))


@attrs.frozen(eq=False, repr=False)
class WireApi:
    """One wire API; ``label`` is its name with its maker.

    - Paths: providers use their own prefix, ``path`` and the operation's end, and the gateway's clients use ``root`` as
      the prefix. ``{model}`` in ``path`` is the model's name. ``model_member`` and ``stream_member`` are the request's
      members for the model and the stream flag, ``None`` if they are in the path. ``agent_member`` has the name of an
      agent of the provider in place of a model's. ``other_form`` is the API whose bodies clients also send to ``path``.
    - Streams: ``ping`` is the API's own keep-alive event after the first content; with ``b""`` the framing's comment
      replaces it. ``counted_ping(events)`` returns one for clients that count only events, to send after ``events``.
      ``error_parts(events)`` splits the end of a failed stream for clients that must read its parts one by one.
      ``unless_asked`` is a member of a query (``alt=sse``) and the framing for clients without it; codecs use only
      ``framing``. ``repeats_answer``: the last event contains the whole answer again. ``refused_prompt(text)`` returns
      members of an answer which states that the request was refused with ``text``.
      ``repeats_request``: answers repeat the request's instructions and settings.
    - State: ``stores_unasked``: requests without ``store`` are stored at the provider. ``running`` are the statuses of
      an answer that the provider continues in the background; a GET below ``path`` then returns its usage.
    - Files: ``fetches_links``: providers download files from any public URL in a request. ``None``: that depends
      on the provider.
    - Tools: ``tool_naming`` describes valid names. ``tools_within`` is the parent of ``tools``, ``None`` for the
      request. If tools have no ``type``, ``client_tools`` are the members of those that clients run.
    - Costs: ``count_member`` has the number in the response to a token count. ``requires_limit``:
      requests need a token limit.
      ``charges_cache_writes``: cache writes cost more than other input.
    - Headers: ``client_headers`` (with ``*`` as a wildcard at the end) and ``query_members`` go only to providers of
      this API. ``version_header`` has the API's version, with ``default_version`` if neither the client nor the codec
      sets one. ``long_context_beta`` is the beta of a long window. ``id_headers`` have a request's id for clients.
    - Spending: ``shows_spending``: its main client shows the budgets of sessions.
    - Errors: ``own_statuses`` are additional statuses that clients know. ``error_headers(error)`` are an error
      response's headers that identify it.
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
    agent_member: str | None = None
    other_form: Api | None = None
    framing: Framing = SSE
    unless_asked: "tuple[str, Framing] | None" = None
    words: StreamWords = attrs.field(factory=StreamWords)
    ping: bytes = b""
    counted_ping: Callable[[bytes], bytes] | None = None
    error_parts: Callable[[bytes], Sequence[bytes]] | None = None
    repeats_answer: bool = False
    repeats_request: bool = False
    refused_prompt: Callable[[str], Mapping[str, Any]] = lambda text: {}
    stores_unasked: bool = False
    fetches_links: bool | None = None
    running: frozenset[str] = frozenset()
    count_member: str = "input_tokens"
    requires_limit: bool = False
    charges_cache_writes: bool = False
    client_headers: tuple[str, ...] = ()
    query_members: frozenset[str] = frozenset()
    version_header: str | None = None
    default_version: str = ""
    long_context_beta: str | None = None
    tool_naming: ToolNaming = USUAL
    tools_within: str | None = None
    client_tools: frozenset[str] | None = None
    id_headers: tuple[str, ...] = ("x-request-id",)
    shows_spending: bool = False
    own_statuses: frozenset[int] = frozenset()
    error_headers: Callable[[ErrorInfo], tuple[tuple[str, str], ...]] = lambda error: ()

    def suffix(self, operation: Operation = "answer", streamed: bool = False) -> str:
        """Return the end of the path of ``operation``. Raises ``KeyError`` if it is unsupported."""
        ends = self.operations[operation]
        return ends.whole if not streamed or ends.streamed is None else ends.streamed

    def framing_for(self, query: str) -> Framing:
        """Return the framing of a stream for a client with the query."""
        if self.unless_asked is None or self.unless_asked[0] in query.split("&"):
            return self.framing
        return self.unless_asked[1]

    def routes(self) -> Iterator[RequestPath]:
        """Yield the paths of all requests with a body for a model."""
        for root in (self.root, *self.more_roots):
            for operation, ends in self.operations.items():
                path = root + self.path
                if ends.streamed is None:
                    yield RequestPath(path + ends.whole, operation)
                else:
                    yield RequestPath(path + ends.whole, operation, streamed=False)
                    yield RequestPath(path + ends.streamed.partition("?")[0], operation, streamed=True)
