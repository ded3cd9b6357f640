"""The story of one request as JSON: its log line, and for its owner and admins the texts of a failure."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import attrs
import msgspec

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.failures.kept import WORDS, FailureTexts, KeptExchange, KeptExchanges
from gateway.http.headers import Headers
from gateway.http.offload import offload_always
from gateway.http.pages import GUARDED, TEXT
from gateway.http.redaction import redact, redact_spelled, search_forms
from gateway.http.response import Response
from gateway.logs.masking import Mask
from gateway.serving.incoming_request import IncomingRequest
from gateway.viewing.visitors import Visitor, viewer_of
from streams.errors import GatewayError
from streams.surrogates import NOT_JSON

if TYPE_CHECKING:
    from gateway.processes.other_workers import OtherWorkers, Reply, Send

_JSON: Final[Headers] = (("content-type", "application/json"), *GUARDED)
_NOT_KEPT: Final = "the gateway has no such request of yours among its last ones"


@attrs.frozen
class StoryQuestion:
    """A question for an exchange that ``client`` may see; ``None`` sees all.

    Without ``has_texts`` the reply has only the log line, without ``has_request`` all but the request."""

    id: str
    client: str | None
    has_texts: bool
    has_request: bool


def failure_views(
    service: Service, config: Config, kept: KeptExchanges, others: "OtherWorkers | None"
) -> Mapping[str, Callable[..., Awaitable[Response]]]:
    """Return the handlers by name."""
    return {"story": partial(_answer, service, config, kept, others)}


async def _answer(
    service: Service, config: Config, kept: KeptExchanges, others: "OtherWorkers | None", incoming: IncomingRequest
) -> Response:
    try:
        visitor = viewer_of(incoming, config, service.authenticator, service.admission.refused)
        query = dict(parse_qsl(incoming.query))
        question = StoryQuestion(
            query.get("id", "")[:LONGEST_ID], visitor.client, visitor.sees_streams, "request" in query
        )
        reply = await _reply(kept, service.ledger.mask, question)
        if not reply and others is not None:
            for worker in others.names():
                reply = reply or await others.collect(worker, msgspec.json.encode(question))
        owner, _, story = reply.partition(b"\n")
        if not story:
            raise GatewayError("not_found", _NOT_KEPT)
        if owner != _NO_TEXTS:
            _audit(service, incoming, visitor, question.id, msgspec.json.decode(owner))
        return Response(200, _JSON, story)
    except GatewayError as error:
        return Response(error.info.status, (*error.info.headers, *TEXT), f"{error.info.message}\n".encode())


LONGEST_ID: Final = 256
"""Characters of an id; a longer one is not stored."""


def _audit(service: Service, incoming: IncomingRequest, visitor: Visitor, id: str, owner: str | None) -> None:
    caller = visitor.caller
    service.ledger.audit.log_event(
        "failure_opened", address=incoming.scope.address, path=incoming.asgi["path"], client=visitor.name,
        role=caller and caller.role, by=visitor.by, credential=caller and caller.credential_id,
        request=service.ledger.mask(id), owner=owner,
    )  # fmt: skip


# The story


def replier(kept: KeptExchanges, mask: Mask) -> "Reply":
    """Return the function that answers questions of other workers."""

    async def reply(line: bytes, send: "Send") -> None:
        try:
            question = msgspec.json.decode(line, type=StoryQuestion)
        except NOT_JSON:
            return
        await send(await _reply(kept, mask, question))

    return reply


_NO_TEXTS: Final = b"-"


async def _reply(kept: KeptExchanges, mask: Mask, question: StoryQuestion) -> bytes:
    """Return the owner of the texts in JSON, ``_NO_TEXTS`` without texts, and the story in the next line; nothing for
    an unknown exchange."""
    found = kept.find(question.id, question.client)
    if found is None:
        return b""
    has_texts = found.texts is not None and question.has_texts
    owner = msgspec.json.encode(found.client) if has_texts else _NO_TEXTS
    return owner + b"\n" + await offload_always(partial(_story, found, question, mask))


def _story(found: KeptExchange, question: StoryQuestion, mask: Mask) -> bytes:
    line = mask(mask.redact(msgspec.json.encode(found.line)).decode())
    story: dict[str, Any] = {"line": msgspec.Raw(line.encode()), "api": found.api, "failure": None}
    if found.texts is not None and question.has_texts:
        story["failure"] = _failure(found.texts, question.has_request, mask)
    return mask.redact(msgspec.json.encode(story))


def _failure(texts: FailureTexts, has_request: bool, mask: Mask) -> dict[str, Any]:
    secrets = search_forms(texts.secrets)

    def clean(data: bytes) -> str:
        return mask(redact_spelled(data, secrets).decode(errors="replace"))

    failure: dict[str, Any] = {
        "message": texts.message and clean(texts.message.encode())[:WORDS],
        "errors": [
            {"provider": one.provider, "status": one.status, "body": clean(one.body)[:WORDS]} for one in texts.errors
        ],
        "model": texts.model, "stream": texts.is_streamed, "headers": texts.headers,
        "request": None, "why_not": texts.why_not if texts.request is None else "",
    }  # fmt: skip
    if has_request and texts.request is not None:
        plain = mask.redact(redact(texts.request, secrets))
        failure["request"], failure["is_changed"] = plain.decode(errors="replace"), plain != texts.request
    return failure
