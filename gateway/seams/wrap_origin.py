"""The seam around the walk of a plan: where the response to a request comes from.

**Wrap** (``WrapOrigin``): the kernel calls it for each conversation, and for each request to another endpoint, when its
plan is known and nothing is sent; not for operations that return no answer of a model. It is sync, and returns the
``gateway.exchange.walk.Walk`` itself, or an ``AnswerOrigin`` (``gateway.exchange.origin``) that decides before each
attempt whether the walk makes it. The first feature that does so wraps the request.

- The origin calls ``write_next_request`` to see the request for the next target, ``start`` and ``step`` to make the
  attempt, and ``note_failure`` to try another target. An answer from elsewhere is an ``AnswerSource`` of its own, and
  reserves nothing of its target. ``release_places`` frees the places of a client that has left: the origin then bounds
  the number of answers that continue.
- It runs in the task of the request, which a client that disconnects cancels. Work that must continue for others runs
  in ``nursery``, the request's own. It raises ``GatewayError`` for the client.
- An origin may send the request again with more turns before the client's answer ends: each turn is a walk
  (``Walk.beside``) with its own limits, steps and bill.
- An answer that several clients or a later request receive has the same ids for all of them: its request has
  ``TargetRequest.ids``, ``RepeatedIds``. Their bytes are then kept while they are read (``AttemptAnswer.read_pieces``).
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio

from gateway.streaming.lane import Lane

T = TypeVar("T")


class RepeatedIds(Protocol):
    """The ids and the time that the gateway writes into an answer, equal for everyone who receives it.

    ``creation_time`` is in Unix seconds (theopenco/llmgateway#3899)."""

    @property
    def creation_time(self) -> int: ...

    def call(self, salt: bytes, work: Callable[[], T]) -> T:
        """Return the result of ``work()``, which uses these ids; ``salt`` distinguishes it from other work."""

    def lane(self, make: Callable[[], tuple[Lane, T]]) -> tuple[Lane, T]:
        """Return what ``make()`` returns, with a lane that uses these ids, too."""


class WrapOrigin(Protocol):
    """Returns the origin of a response around ``walk``, or ``walk``.

    ``relayed`` is the ``RelayedRequest`` of an endpoint other than conversations. Rooms above declare the types."""

    def __call__(self, walk: Any, relayed: Any, nursery: trio.Nursery) -> Any: ...
