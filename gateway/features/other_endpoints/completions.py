"""Completions without roles (``/v1/completions``), and fill-in-the-middle in both forms (``/v1/fim/completions``, or a
``suffix``).

They never become conversations: no template, no role (envoyproxy/ai-gateway#1231)."""

from collections.abc import Callable, Mapping
from functools import partial

import attrs

from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.relay.answers import (
    UNBUFFERED_HEADERS,
    AnswerFilter,
    HeldAnswer,
    PassedAnswer,
    ResponseReader,
)
from gateway.relay.relaying import InboundRequest, RelayedRequest
from gateway.request.parse import Incoming
from gateway.request.prepare import omit_rejected
from gateway.request.prepared import Prepared
from gateway.routing.target import Omissions, Target
from providers.apis import CODECS
from providers.endpoints import completions, fim
from providers.endpoints.completions import CompletionReader
from providers.endpoints.fim import FimShape
from providers.errors.answer_form import FORMS
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft, ask_usage
from streams.events import Usage
from streams.sse import SSE


async def read_completion(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a text completion. With a ``suffix`` it fills in the middle."""
    incoming = await inbound.read_json()
    suffix = bytes(incoming.members.get("suffix", b"null"))
    return await _relayed_completion(
        inbound.for_endpoint("fim") if suffix not in (b"null", b'""') else inbound, incoming, "openai"
    )


async def read_fim(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a request to fill in the middle, in Mistral's form."""
    return await _relayed_completion(inbound, await inbound.read_json(), "mistral")


async def _relayed_completion(inbound: InboundRequest, incoming: Incoming, client: FimShape) -> RelayedRequest:
    plan = inbound.plan(incoming.model or inbound.default_model, (client,))
    incoming = await inbound.apply_edits(incoming, plan)
    options = await offload(incoming.size, CompletionOptions.of, incoming, client)
    if options.token_ids:
        inbound.context.record.bill.request_size = options.prompt_tokens * CHARACTERS_PER_TOKEN
    prepare = partial(prepare_completion, incoming, options)
    planned = inbound.plan_json(incoming, plan, prepare)
    limits = inbound.context.service.settings.limits
    return RelayedRequest(planned, partial(completion_filter, options, limits.event, limits.answer))


@attrs.frozen
class CompletionOptions:
    """The options of a completion request that determine its output, in the shape of its ``client``.

    ``expected_choices`` are returned. Its prompts have ``token_ids`` and ``characters``, about ``prompt_tokens``.
    ``wants_usage`` means that it requests a stream's usage."""

    client: FimShape
    expected_choices: int
    token_ids: int
    characters: int
    wants_usage: bool

    @property
    def prompt_tokens(self) -> int:
        return max(1, self.token_ids + self.characters // CHARACTERS_PER_TOKEN)

    @classmethod
    def of(cls, incoming: Incoming, client: FimShape) -> "CompletionOptions":
        """Read the options of ``incoming``. Raises ``GatewayError`` (400)."""
        draft = Draft(incoming.json)
        prompt, stream_options = draft.value("prompt"), draft.value("stream_options")
        return cls(
            client,
            expected_choices=completions.expected_choices(draft),
            token_ids=completions.count_token_ids(prompt),
            characters=sum(map(len, completions.prompt_texts(prompt))),
            wants_usage=isinstance(stream_options, dict) and stream_options.get("include_usage") is True,
        )


def prepare_completion(
    incoming: Incoming, options: CompletionOptions, target: Target, omissions: Omissions
) -> Prepared:
    """Return the request for ``target``: the client's bytes if it has the client's shape, else a translation.

    Raises ``GatewayError`` (400) for options that the provider lacks."""
    draft = Draft(incoming.json)
    if target.lane == "hub":
        body, edits = fim.write_fim(draft, "openai" if options.client == "mistral" else "mistral", target.model)
        return Prepared(Outgoing(body, edits=edits), omissions=omissions)
    if incoming.model != target.model:
        draft.put("model", target.model)
    omit_rejected(draft, target, omissions)
    if options.client == "openai":
        if not target.recipient.quirks.stream_usage:
            draft.drop("stream_options")
        elif target.recipient.counts_usage:
            ask_usage(draft)
    return Prepared(Outgoing(draft.encode(), edits=draft.edits, asks_usage=draft.asks_usage), omissions=omissions)


def completion_filter(options: CompletionOptions, event_limit: int, answer_limit: int, target: Target) -> AnswerFilter:
    reader = CompletionReader(options.expected_choices, options.prompt_tokens)
    form = FORMS["completions"]
    if target.lane == "byte":
        hides = options.client == "openai" and not options.wants_usage and target.recipient.counts_usage
        return PassedAnswer(reader, event_limit, CODECS["chat"].is_usage_alone if hides else None, form)
    return RewrittenEvents(
        reader,
        partial(fim.translate_event, client=options.client, usage=options.wants_usage),
        partial(fim.translate_whole, client=options.client),
        event_limit,
        answer_limit,
    )


class RewrittenEvents(PassedAnswer):
    """A filter that converts each event's data with ``rewrite_event``, or a whole response with ``rewrite_whole``.

    ``reading`` reads the provider's bytes."""

    def __init__(
        self,
        reading: ResponseReader,
        rewrite_event: Callable[[bytes], bytes],
        rewrite_whole: Callable[[bytes], bytes],
        event_limit: int,
        answer_limit: int,
    ) -> None:
        super().__init__(reading, event_limit, form=FORMS["completions"])
        self._rewrite_event = rewrite_event
        self._rewrite = rewrite_whole
        self._whole = HeldAnswer(self._rewrite_whole, answer_limit)

    @property
    def buffered_bytes(self) -> int:
        return self._whole.buffered_bytes

    def head(self, status: int, headers: Headers) -> Headers:
        super().head(status, headers)
        if self._is_streamed:
            return (("content-type", SSE.content_type), *UNBUFFERED_HEADERS)
        self.hold_limit = self._whole.hold_limit
        return self._whole.head(status, headers)

    def take(self, piece: bytes) -> bytes:
        return super().take(piece) if self._is_streamed else self._whole.take(piece)

    def close(self) -> bytes:
        return super().close() if self._is_streamed else self._whole.close()

    def _rewrite_whole(self, body: bytes) -> tuple[bytes, Usage | None]:
        value = self._form.decode(body, is_json=True)
        self._reading.read_whole(value)
        self._form.check(value)
        self._reading.close(streamed=False)
        return self._rewrite(body), self._reading.usage

    def _pass_event(self, raw: bytes) -> bytes:
        if (parsed := SSE.parse(raw)) is None:
            return b""
        self._reading.read_event(*parsed)
        return self._rewrite_event(parsed[1])
