"""The seam of observation: what learns about exchanges without taking part in them.

When an exchange arrives, the kernel calls each ``Observe`` once. It returns the ``ExchangeObserver`` of this exchange,
which may be one object for all, or ``None``. The kernel then calls its methods, in the order of the features:

``note_request`` and ``note_resolved``, for each request to a provider ``outgoing``, ``note_sent``, ``note_head`` and
``note_body``, then ``note_response`` and ``headers``; at last ``fields`` and ``note_end``. A stream has
``note_stream``: for a conversation before its first attempt. ``note_public_events`` or ``note_public_bytes`` follow
where the client gets more than observers. ``note_hidden`` may come at any time. A rejected request has fewer of them:
only ``fields`` and ``note_end`` are certain.

- **Time.** Every method runs within the exchange, synchronously. It may not wait, and does no more than store a
  reference or read the clock; longer work belongs in a thread after ``note_end``.
- **Errors.** An observer may not raise. The kernel logs the first error, and then calls only ``note_hidden`` and
  ``note_end`` of this observer.
- **Cancellation.** An exchange that is cancelled is settled, too. ``note_end`` comes exactly once.
- **Views.** A text has three views: *received* from the client or a provider, *public* after the steps that hide, and
  *sent*, where values have returned to the client. An observer gets only the public view: the kernel keeps the others
  to itself, and passes on a received text when no step may still hide a part of it. ``note_hidden`` reports that the
  exchange has more texts than these. ``note_resolved`` and ``note_sent`` have what a provider gets. A step may
  refuse that later; recordings drop it at ``note_hidden``, and keep the masked request of
  ``note_refused``, which comes after it.
- **Changes.** Only four methods return something for others: ``outgoing`` and ``headers`` headers of a request and of
  the response, ``fields`` fields of the log line, and ``viewer_texts`` texts for viewers.

**Attempts.** Before it sends an attempt, the kernel calls each ``ObserveAttempt``, with the attempt's ``TargetRequest``
and the nursery of the request. An ``AttemptObserver`` learns what one attempt sends, while hedges run at the same time.
It has the text as sent, so it keeps none. It catches its own errors. A task that it starts belongs to that nursery, and
the exchange may be settled before this task has ended.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeAlias

import attrs
import trio

from gateway.http.headers import Headers
from gateway.http.redaction import Secrets
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.seams.observed_stream import PublicStream
from gateway.upstream.request import UpstreamRequest
from streams.events import Api, Event


class ViewerTexts(Protocol):
    """Texts of an exchange for viewers with the right to see them."""

    @property
    def is_open(self) -> bool:
        """Whether the operator still enables them."""

    @property
    def excerpts(self) -> attrs.AttrsInstance | None:
        """The texts as a record, ``None`` as long as there are none."""


class ExchangeObserver:
    """Observes one exchange. This base does nothing."""

    heard: ClassVar[frozenset[str]] = frozenset()
    """The names of the methods that the class and its bases change, so that the kernel calls no other."""

    def __init_subclass__(cls) -> None:
        base = ExchangeObserver
        cls.heard = frozenset(name for name in dir(base) if getattr(cls, name, None) is not getattr(base, name))

    reads_events = False
    """True if it needs ``note_public_events``."""
    keeps_texts = False
    """True if it needs ``note_request`` and ``note_body`` of an exchange whose texts become public only at its end."""
    keeps_texts_of_streams: int = 4 * 2**20
    """Bytes of such texts that it needs of a stream, which may take minutes. Larger ones are dropped when it begins."""

    keeps_errors = False
    """True if ``trigate log`` will show the error of the exchange with the provider's own message."""

    keeps_refused = False
    """True if it needs the masked request of ``note_refused``."""

    def note_request(self, client_request: ClientRequest, body: bytes | None, *, is_turn: bool) -> None:
        """Note the client's request to a conversation. ``is_turn``: it requests a response of the model. A ``body``
        that is not public yet is ``None``; this is called again once it is."""

    def note_resolved(self, incoming: Incoming) -> None:
        """Note the request with the earlier turns that it refers to. A later attempt may send one with more masks."""

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        """Return ``request`` as it will be sent: a trace adds the headers that make the provider's spans children of
        this call."""
        return request

    def note_sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        """Note that ``request`` has its slot, for which it may have ``waited``, and goes to ``provider``, whose
        response may repeat ``secrets``."""

    def note_head(self, request: UpstreamRequest, status: int, headers: Headers) -> None:
        """Note the head of the provider's response to ``request``. Two requests may run at the same time."""

    def note_body(self, identity: object, status: int, body: bytes) -> None:
        """Note the body of a provider's response with ``status``, which is not a stream, to the request with this
        ``identity``."""

    def note_stream(self, stream: PublicStream) -> None:
        """Note that the response will be ``stream``."""

    def note_public_events(self, events: Mapping[int, Sequence[Event]]) -> None:
        """Note the ``events`` of the response by choice, to which more may be added until the end. The client gets
        other values in their place, which are not public: a stream that was noted has nothing more to hear."""

    def note_public_bytes(self, data: bytes) -> None:
        """Note ``data`` of the response of another endpoint, in place of the client's own bytes, as above."""

    def note_response(self, status: int, headers: Headers, body: bytes | None, *, is_answer: bool) -> None:
        """Note the response to the client: ``body`` is ``None`` for a stream, or if it is not public. ``is_answer``: it
        is no error of the gateway, and not the start of a turn in the background."""

    def note_hidden(self) -> None:
        """Note that a step masked or refused a part of the exchange."""

    def note_refused(self, body: bytes | None) -> None:
        """Note that a step refused the request, or could not check it, after ``note_hidden``. What ``note_resolved``
        brought is not public any more. If ``body`` is set, it is the request with a mask in place of each finding;
        ``None`` comes before it."""

    def headers(self, record: Record, *, is_whole: bool) -> Headers:
        """Return more headers of the response; ``is_whole``: it is no stream."""
        return ()

    def viewer_texts(self) -> ViewerTexts | None:
        """Return texts for viewers, ``None`` if the operator enables none."""
        return None

    def fields(self, record: Record) -> Mapping[str, Any]:
        """Return more fields of the log line. The exchange has ended, and its attempts are still to be priced."""
        return {}

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        """Note the end of the exchange, with the fields of its log ``line``."""


class AttemptObserver(Protocol):
    """Observes one attempt."""

    def note_written(self) -> None:
        """Note that the whole request was written, once more after a resend."""

    async def note_head(self) -> None:
        """Note the head of a successful response. It may let other tasks run, and waits for nothing."""

    def note_record(self, record: AttemptRecord) -> None:
        """Note the attempt's record, in place of an earlier one."""


ObserveAttempt: TypeAlias = Callable[[Any, trio.Nursery], AttemptObserver | None]
"""Returns the observer of an attempt, ``None`` if it is of no interest."""

Observe: TypeAlias = Callable[[Record, ArrivedRequest | None], ExchangeObserver | None]
"""Returns the observer of the exchange of a new record, ``None`` if it is of no interest. A request that a trace may
continue in has an arrival."""
