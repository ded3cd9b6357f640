"""A codec that imports each of its parts on first use, because most gateways never speak its API."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol, cast

from providers.neutral.codec import Codec, Outgoing, Recipient, Reply
from providers.neutral.draft import Draft
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from streams.events import Event
from streams.fold import Answer


class IncomingPart(Protocol):
    """The module ``incoming`` of a codec: requests of clients."""

    def read_request(self, body: Mapping[str, Any]) -> Request: ...

    def read_count_request(self, body: Mapping[str, Any]) -> Request: ...


class OutgoingPart(Protocol):
    """The module ``outgoing`` of a codec: requests to providers."""

    def write_request(self, request: Request, to: Recipient) -> Outgoing: ...

    def write_count_request(self, request: Request, to: Recipient) -> Outgoing | None: ...


class AdaptingPart(Protocol):
    """The module ``adapting`` of a codec: changes to requests of the byte lane."""

    def adapt(self, draft: Draft, to: Recipient) -> None: ...

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]: ...

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]: ...


class ReaderPart(Protocol):
    """The module ``reader`` of a codec: answers of providers."""

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]: ...


class WriterPart(Protocol):
    """The module ``writer`` of a codec: answers to clients."""

    def write_answer(self, answer: Answer, reply: Reply) -> bytes: ...


PARTS = ("incoming", "outgoing", "adapting", "reader", "writer")


class LateCodec(Codec):
    """A ``Codec`` whose methods are functions of the five modules of ``package`` in ``PARTS``.

    Subclasses add ``reader`` and ``writer``, which return classes of these modules, and the methods without a part.
    """

    package: str

    def __init_subclass__(cls) -> None:
        cls.parts = tuple(f"{cls.package}.{part}" for part in PARTS)

    @cached_property
    def incoming(self) -> IncomingPart:
        return cast("IncomingPart", import_module(f"{self.package}.incoming"))

    @cached_property
    def outgoing(self) -> OutgoingPart:
        return cast("OutgoingPart", import_module(f"{self.package}.outgoing"))

    @cached_property
    def adapting(self) -> AdaptingPart:
        return cast("AdaptingPart", import_module(f"{self.package}.adapting"))

    def read_request(self, body: Mapping[str, Any]) -> Request:
        return self.incoming.read_request(body)

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        return self.outgoing.write_request(request, to)

    def adapt(self, draft: Draft, to: Recipient) -> None:
        self.adapting.adapt(draft, to)

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        return self.adapting.restore(body, issuer)

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        return self.adapting.without_reasoning(body)

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        part = cast("ReaderPart", import_module(f"{self.package}.reader"))
        return part.read_answer(body, texts, checked)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        part = cast("WriterPart", import_module(f"{self.package}.writer"))
        return part.write_answer(answer, reply)

    def read_count(self, body: Mapping[str, Any]) -> Request:
        return self.incoming.read_count_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        return self.outgoing.write_count_request(request, to)
