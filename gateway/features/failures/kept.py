"""The last exchanges of a process: the log lines of all, and the texts of those that failed.

Each exchange belongs to its client. Without room, the client with the most loses its oldest exchange. They last as
long as the process."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from gateway.access.page_guard import GuardedPaths
from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.page_paths import STORY
from gateway.http.headers import Headers
from gateway.http.redaction import Secrets, credentials_among
from gateway.ledger.record import ArrivedRequest, Record
from gateway.named_imports import import_named
from gateway.request.client_request import ClientRequest
from gateway.seams.hooks import Hooks
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observed_stream import PublicStream
from gateway.seams.route import HttpRoute
from gateway.seams.running import Ports, Running, running_tasks
from gateway.serving.late_views import LateViews
from gateway.shared.owned_entries import OwnedEntries
from gateway.upstream.request import UpstreamRequest
from streams.events import Api

if TYPE_CHECKING:
    from gateway.processes.other_workers import OtherWorkers

_VIEWS: Final = "gateway.features.failures.views"

LINES: Final = 300
"""Exchanges without a failure, whose lines are stored."""
FAILURES: Final = 100
"""Failed exchanges."""
BYTES: Final = 32 * 2**20
"""Bytes of the texts of all failed exchanges."""
EACH: Final = 4 * 2**20
"""Bytes of a request that is stored."""
WORDS: Final = 4096
"""Characters shown of each provider's error. Twice as many bytes are stored: a cut credential would escape the mask."""
HELD: Final = 64 * 2**20
"""Bytes of the requests of all running exchanges."""
UNCOUNTED: Final = 4096
"""Bytes up to which such a request is not counted: the limit on requests in flight bounds their number."""
STREAMED: Final = 128 * 2**10
"""Bytes of the request of a running stream, which may take minutes."""

_FAILED: Final = frozenset(("refused", "upstream_error", "internal_error", "shutdown"))
_UNFAILED: Final = frozenset(("ok", "hedge_lost", "client_left"))
_UNREAD: Final = "the gateway rejected it before it read it"
_NO_TURN: Final = "it requests no answer of a model"
_NO_ROOM: Final = "there was no room for it"
_SENT_AGAIN: Final = frozenset(("anthropic-version", "anthropic-beta", "openai-beta"))


@attrs.frozen(eq=False, repr=False)
class ProviderError:
    """An error in a provider's words."""

    provider: str
    status: int
    body: bytes


@attrs.frozen(eq=False, repr=False)
class FailureTexts:
    """The public texts of a failed exchange.

    ``message`` is that of the client's error. ``request`` is the body, ``None`` if it is not stored, for the reason
    ``why_not``. ``model`` and ``is_streamed`` belong to the path. ``secrets`` are those that the texts may repeat."""

    message: str | None
    errors: tuple[ProviderError, ...]
    request: bytes | None
    why_not: str
    headers: Headers
    model: str | None
    is_streamed: bool
    secrets: Secrets


@attrs.define(eq=False, repr=False)
class KeptExchange:
    """An ended exchange of ``client``: its log line, and the texts of a failure."""

    client: str | None
    api: Api
    line: Mapping[str, Any]
    texts: FailureTexts | None


class ObservedExchange(ExchangeObserver):
    """A running exchange. A step that hides a part of it makes it lose all texts."""

    keeps_texts = True
    keeps_texts_of_streams = STREAMED

    def __init__(self, kept: "KeptExchanges", record: Record) -> None:
        self._kept = kept
        self._record = record
        self._client_request: ClientRequest | None = None
        self._body: bytes | None = None
        self._why_not = _UNREAD if record.endpoint is None else _NO_TURN
        self._sent: list[tuple[object, str, Callable[[], Secrets]]] = []
        self._errors: list[ProviderError] = []
        self._is_hidden = False

    @property
    def keeps_errors(self) -> bool:  # type: ignore[override]
        return not self._is_hidden

    def note_request(self, client_request: ClientRequest, body: bytes | None, *, is_turn: bool) -> None:
        self._client_request = client_request
        if not is_turn:
            self._why_not = _NO_TURN
        elif body is None:
            self._why_not = "a step may hide a part of it"
        elif (size := len(body)) > EACH:
            self._why_not = _NO_ROOM
        elif not self._is_hidden:
            self._body = body
            if size > UNCOUNTED:
                self._kept.running.put(self._record.client, self, self, size)

    def note_sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        self._sent.append((request.identity, provider, secrets))

    def note_body(self, identity: object, status: int, body: bytes) -> None:
        if status >= 400 and not self._is_hidden:
            providers = (provider for sent, provider, _ in reversed(self._sent) if sent == identity)
            self._errors.append(ProviderError(next(providers, ""), status, body[: 2 * WORDS]))

    def note_stream(self, stream: PublicStream) -> None:
        if self._body is not None and len(self._body) > STREAMED:
            self.drop_body(f"its answer had begun, and it has more than {STREAMED >> 10} KiB")

    def note_hidden(self) -> None:
        self._is_hidden = True
        self._errors.clear()
        self.drop_body("a step hid a part of it")

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        texts = self._texts(record) if _has_failed(line) else None
        self._kept.add(KeptExchange(record.client, record.api, line, texts))
        self.drop_body("")

    def drop_body(self, why_not: str = _NO_ROOM) -> None:
        """Keep the request no longer, for the reason ``why_not``."""
        if self._body is not None and len(self._body) > UNCOUNTED:
            self._kept.running.remove(self._record.client, self)
        self._body, self._why_not = None, why_not

    def _texts(self, record: Record) -> FailureTexts:
        request = self._client_request
        headers: Headers = () if request is None else request.headers
        found = (*credentials_among(headers), *(word for _, _, secrets in self._sent for word in secrets()))
        error = None if self._is_hidden else record.error
        return FailureTexts(
            message=None if error is None else error.message[: 2 * WORDS],
            errors=tuple(self._errors),
            request=self._body,
            why_not=self._why_not,
            headers=tuple(pair for pair in headers if pair[0] in _SENT_AGAIN),
            model=None if request is None else request.path.model,
            is_streamed=record.stream,
            secrets=tuple(dict.fromkeys(found)),
        )


def _has_failed(line: Mapping[str, Any]) -> bool:
    tried = line.get("tried")
    return line["ended"] in _FAILED or (tried is not None and any(one["reason"] not in _UNFAILED for one in tried))


class KeptExchanges:
    """The last exchanges of a process. Used from the trio thread only. ``running`` are those with a request."""

    def __init__(self) -> None:
        self.running: OwnedEntries[str | None, ObservedExchange, ObservedExchange] = OwnedEntries(
            HELD, on_drop=ObservedExchange.drop_body
        )
        self._lines: OwnedEntries[str | None, str, KeptExchange] = OwnedEntries(LINES)
        self._failures: OwnedEntries[str | None, str, KeptExchange] = OwnedEntries(BYTES)

    def observe(self, record: Record, arrived: ArrivedRequest | None = None) -> ObservedExchange:
        return ObservedExchange(self, record)

    def add(self, ended: KeptExchange) -> None:
        """Store an exchange in place of an earlier one with the same client and id."""
        client, request_id, texts = ended.client, ended.line["request_id"], ended.texts
        if texts is None:
            self._failures.remove(client, request_id)
            self._lines.put(client, request_id, ended)
        else:
            self._lines.remove(client, request_id)
            size = len(texts.request or b"") + sum(len(error.body) for error in texts.errors)
            self._failures.put(client, request_id, ended, max(size, BYTES // FAILURES))

    def find(self, request_id: str, client: str | None) -> KeptExchange | None:
        """Return the exchange ``request_id`` of ``client``; that of any client if it is ``None``."""
        for entries in (self._failures, self._lines):
            found = entries.find(request_id) if client is None else entries.get(client, request_id)
            if found is not None:
                return found
        return None


class KeptFailures(Running):
    """The kept exchanges of a process with the paths of one configuration.

    ``others`` are the other workers, ``None`` in a single process."""

    def __init__(self, kept: KeptExchanges, config: Config, ports: Ports, others: "OtherWorkers | None") -> None:
        self.kept = kept
        self.others = others
        self.has_tasks = others is not None
        self.hooks = Hooks(
            observe=(kept.observe,),
            routes=(partial(_routes_of, kept, config, others),),
            guarded=(GuardedPaths(STORY, are_views=True),),
        )
        self._mask = ports.ledger.mask

    @property
    def lasting(self) -> object:
        return self.kept

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        assert self.others is not None, "it has tasks"
        reply = import_named(f"{_VIEWS}:replier")(self.kept, self._mask)
        async with running_tasks(partial(self.others.answer, reply)):
            task_status.started()
            await ending.wait()


def _routes_of(
    kept: KeptExchanges, config: Config, others: "OtherWorkers | None", service: Service
) -> Iterator[HttpRoute]:
    views = LateViews((_VIEWS,), "failure_views", (service, config, kept, others))
    yield HttpRoute(STORY, views.view("story"), uses=("pages",))


def open_failures(config: Config, ports: Ports, before: Running | None) -> KeptFailures:
    """Return the kept failures, with those of ``before``."""
    directory, others = ports.options.get("workers"), None
    if isinstance(directory, Path):
        others = import_named("gateway.processes.other_workers:OtherWorkers")(directory, "story")
    return KeptFailures(before.kept if isinstance(before, KeptFailures) else KeptExchanges(), config, ports, others)
