"""A codec that imports each of its parts on first use, because most gateways never speak its API."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol, TypeAlias, cast

from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Codec, Outgoing, Reader, Recipient, Reply, Writer
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

    @property
    def READER(self) -> Callable[[int], Reader]: ...

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]: ...


class WriterPart(Protocol):
    """The module ``writer`` of a codec: answers to clients."""

    @property
    def WRITER(self) -> Callable[[Reply], Writer]: ...

    def write_answer(self, answer: Answer, reply: Reply) -> bytes: ...


Parts: TypeAlias = tuple[IncomingPart, OutgoingPart, AdaptingPart, ReaderPart, WriterPart]


PARTS = ("incoming", "outgoing", "adapting", "reader", "writer")


class LateCodec(Codec):
    """A ``Codec`` whose methods are functions of the five modules of ``package`` in ``PARTS``.

    Subclasses add the methods without a part.
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

    @cached_property
    def _reading(self) -> ReaderPart:
        return cast("ReaderPart", import_module(f"{self.package}.reader"))

    @cached_property
    def _writing(self) -> WriterPart:
        return cast("WriterPart", import_module(f"{self.package}.writer"))

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
        return self._reading.read_answer(body, texts, checked)

    def reader(self, content_limit: int = ANSWER) -> Reader:
        return self._reading.READER(content_limit)

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        return self._writing.write_answer(answer, reply)

    def writer(self, reply: Reply) -> Writer:
        return self._writing.WRITER(reply)

    def read_count(self, body: Mapping[str, Any]) -> Request:
        return self.incoming.read_count_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        return self.outgoing.write_count_request(request, to)
