"""The description of an API whose turns clients can request again by id, as data for the modules that store them; and
the state options of its requests."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from gateway.conversations.bodies import Object, StoredHead, StoredTurn
from gateway.request.parse import Incoming
from providers.neutral.codec import Reply, Writer
from providers.neutral.fields import parse_json
from providers.responses.writer import TurnWriter
from streams.events import Api, ErrorInfo

Items: TypeAlias = list[dict[str, Any]]


@attrs.frozen(eq=False, repr=False)
class StateOptions:
    """The state options of one request.

    ``store`` is ``None`` if unset; the turn is then stored. ``refers``: it may refer to items of earlier turns.
    ``compacts``: it may request a compaction, which only providers with state support."""

    previous: str | None = None
    conversation: str | None = None
    store: bool | None = None
    background: bool = False
    refers: bool = False
    compacts: bool = False

    @property
    def stores(self) -> bool:
        """True if the turn is to be stored."""
        return self.store is not False

    @property
    def must_store(self) -> bool:
        """True if a failure to store the turn must fail it, because the client relies on it."""
        if self.conversation is not None:  # a conversation continues even if the response is not stored
            return True
        return self.stores and (self.store is True or self.previous is not None or self.background)


def decode_member(incoming: Incoming, name: str) -> Any:
    """Return the decoded member ``name``, ``None`` if it is missing."""
    raw = incoming.members.get(name)
    return None if raw is None else parse_json(raw, Any)


@attrs.frozen(eq=False, repr=False)
class StoredApi:
    """An API whose turns are stored, as nodes of a ``kind`` whose ids begin with ``id_prefix`` and the mark.

    - Requests: ``previous`` is the member with the id of the turn to continue, ``previous_code`` the code of an error
      about it. ``own_members`` are the members that providers of resolved requests must not receive. ``read_options``
      reads them.
    - Items: ``prepare_input`` returns the client's ``input`` in its stored form. ``previous_items`` returns the items
      of consecutive turns, without calls of incomplete turns whose ids are not in the collection. ``answered_ids``
      are the ids of the calls that a client's ``input`` answers. ``has_item_ids``: a request can refer to one item.
    - Responses: ``output`` is the member with the answer's items. ``has_store_member``: they state whether the turn is
      stored. ``state`` returns the members for a turn with these options that is stored or not, ``outline`` the
      function that returns its object with a status and without output. ``with_error`` returns an object as failed,
      with a code and a message. ``unstored`` returns the object of a turn that could not be stored.
    - Streams: ``recordable`` returns the writer of a stream that is stored. ``is_end`` returns whether an event is the
      last one. ``replay`` returns the events of a stored object; it raises ``ValueError`` for an unfinished one.
      ``cancelled_end`` returns the end of a cancelled stream after a number of events. ``failed_end`` and
      ``unstored_end`` change the last write of the stream of a turn that could not be stored.
    - ``noun`` names a turn in messages."""

    api: Api
    kind: str
    id_prefix: str
    noun: str
    previous: str
    previous_code: str
    own_members: tuple[str, ...]
    output: str
    has_item_ids: bool
    has_store_member: bool
    read_options: Callable[[Incoming], StateOptions]
    prepare_input: Callable[[Any], Items]
    previous_items: Callable[[Iterable[bytes], frozenset[str]], Items]
    answered_ids: Callable[[Any], Iterable[str]]
    state: Callable[[StateOptions, bool], Mapping[str, Any]]
    outline: Callable[[Reply], Callable[[str], Mapping[str, Any]]]
    with_error: Callable[[Mapping[str, Any], str, str], Mapping[str, Any]]
    unstored: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    recordable: Callable[[Writer, Reply], TurnWriter]
    is_end: Callable[[bytes], bool]
    replay: Callable[[Mapping[str, Any]], bytes]
    cancelled_end: Callable[[Mapping[str, Any], int], bytes]
    failed_end: Callable[[bytes, ErrorInfo, str], bytes]
    unstored_end: Callable[[bytes], bytes]

    def current_response(self, turn: StoredTurn, head: StoredHead) -> Object:
        """Return the response object of a stored turn."""
        return {**head.response, "status": turn.status, self.output: turn.output}

    def event_log(self, turn: StoredTurn, head: StoredHead) -> bytes:
        """Return the events of a stored turn, original or reconstructed. Raises ``ValueError`` for an unfinished
        one."""
        return head.log or self.replay(self.current_response(turn, head))
