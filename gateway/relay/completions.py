"""Completions without roles (``/v1/completions``), and fill-in-the-middle in both forms (``/v1/fim/completions``, or a
``suffix``).

They never become conversations: no template, no role (envoyproxy/ai-gateway#1231)."""

from collections.abc import Mapping
from functools import partial

import attrs

from gateway.allowances.expected import MOST_ANSWERS, MOST_ASKED, RequestedOutput
from gateway.http.offload import offload
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.relay.answers import AnswerFilter, PassedAnswer, RewrittenEvents
from gateway.relay.relaying import RelayedRequest, Relaying
from gateway.request.edit import leave_out_refused
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.omissions import Omissions
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.endpoints import completions, fim
from providers.endpoints.completions import CompletionReader
from providers.endpoints.fim import FimShape
from providers.neutral.codec import Outgoing
from providers.neutral.draft import Draft, ask_usage


async def read_completion(relaying: Relaying, names: Mapping[str, str]) -> RelayedRequest:
    incoming = await relaying.json()
    suffix = bytes(incoming.members.get("suffix", b"null"))
    return await _relayed(relaying.at("fim") if suffix not in (b"null", b'""') else relaying, incoming, "openai")


async def read_fim(relaying: Relaying, names: Mapping[str, str]) -> RelayedRequest:
    return await _relayed(relaying, await relaying.json(), "mistral")


async def _relayed(relaying: Relaying, incoming: Incoming, client: FimShape) -> RelayedRequest:
    plan = relaying.plan(incoming.model or relaying.default_model, (client,))
    wanted = await offload(incoming.size, CompletionWanted.of, incoming, client)
    if wanted.ids:
        relaying.context.record.bill.asked_size = wanted.asked * CHARACTERS_PER_TOKEN
    prepare = partial(prepare_completion, incoming, wanted)
    planned = relaying.planned(incoming, plan, prepare, wanted.output)
    limits = relaying.context.service.limits
    return RelayedRequest(planned, partial(completion_filter, wanted, limits.event, limits.answer))


@attrs.frozen
class CompletionWanted:
    """The output that a completion request allows, in the shape of its ``client``.

    ``expected`` choices are returned of ``written`` ones, each of up to ``most`` tokens. Its prompts have ``ids`` and
    ``characters``, about ``asked`` tokens. ``counts`` means that it requests a stream's usage."""

    client: FimShape
    expected: int
    written: int
    most: int | None
    ids: int
    characters: int
    counts: bool

    @property
    def asked(self) -> int:
        return max(1, self.ids + self.characters // CHARACTERS_PER_TOKEN)

    @property
    def output(self) -> RequestedOutput:
        return RequestedOutput(self.most, self.written)

    @classmethod
    def of(cls, incoming: Incoming, client: FimShape) -> "CompletionWanted":
        """Return the output that ``incoming`` allows. Raises ``GatewayError`` (400)."""
        draft = Draft(incoming.json)
        prompt, most, options = draft.value("prompt"), draft.value("max_tokens"), draft.value("stream_options")
        return cls(
            client,
            expected=completions.expected_choices(draft),
            written=min(completions.billed_choices(draft), MOST_ANSWERS),
            most=min(most, MOST_ASKED) if type(most) is int and most >= 0 else None,
            ids=completions.count_token_ids(prompt),
            characters=sum(map(len, completions.prompt_texts(prompt))),
            counts=isinstance(options, dict) and options.get("include_usage") is True,
        )


def prepare_completion(incoming: Incoming, wanted: CompletionWanted, target: Target, left: Omissions) -> Prepared:
    """Return the client's bytes for a provider with its shape, else a translated request.

    Raises ``GatewayError`` (400) for options that the provider lacks."""
    draft = Draft(incoming.json)
    if target.lane == "hub":
        body, edits = fim.write_fim(draft, "openai" if wanted.client == "mistral" else "mistral", target.model)
        return Prepared(Outgoing(body, edits=edits), left=left)
    if incoming.model != target.model:
        draft.put("model", target.model)
    leave_out_refused(draft, target, left)
    if wanted.client == "openai":
        if not target.recipient.quirks.stream_usage:
            draft.drop("stream_options")
        elif target.recipient.counts_usage:
            ask_usage(draft)
    return Prepared(Outgoing(draft.encode(), edits=draft.edits, asks_usage=draft.asks_usage), left=left)


def completion_filter(wanted: CompletionWanted, event_limit: int, answer_limit: int, target: Target) -> AnswerFilter:
    reader = CompletionReader(wanted.expected, wanted.asked)
    if target.lane == "byte":
        hides = wanted.client == "openai" and not wanted.counts and target.recipient.counts_usage
        return PassedAnswer(reader, event_limit, CODECS["chat"].is_usage_alone if hides else None)
    return RewrittenEvents(
        reader,
        partial(fim.translate_event, client=wanted.client, usage=wanted.counts),
        partial(fim.translate_whole, client=wanted.client),
        event_limit,
        answer_limit,
    )
