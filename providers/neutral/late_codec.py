"""A codec that imports each of its parts on first use, because most gateways never speak its API."""

from importlib import import_module
from typing import Any

from providers.neutral.bounds import ANSWER
from providers.neutral.codec import Codec, Reader, Reply, Writer

PARTS = ("incoming", "outgoing", "adapting", "reader", "writer")


def _late(part: str, name: str) -> Any:
    """Return a method that calls the function ``name`` of the module ``part`` with the same arguments."""

    def call(codec: "LateCodec", *arguments: Any, **named: Any) -> Any:
        return getattr(import_module(f"{codec.package}.{part}"), name)(*arguments, **named)

    return call


class LateCodec(Codec):
    """A ``Codec`` whose methods are functions of the five modules of ``package`` in ``PARTS``.

    Subclasses add the methods without a part.
    """

    package: str

    def __init_subclass__(cls) -> None:
        cls.parts = tuple(f"{cls.package}.{part}" for part in PARTS)

    read_request = _late("incoming", "read_request")
    read_count = _late("incoming", "read_count_request")
    write_request = _late("outgoing", "write_request")
    write_count = _late("outgoing", "write_count_request")
    adapt = _late("adapting", "adapt")
    restore = _late("adapting", "restore")
    without_reasoning = _late("adapting", "without_reasoning")
    read_answer = _late("reader", "read_answer")
    write_answer = _late("writer", "write_answer")

    def reader(self, content_limit: int = ANSWER) -> Reader:
        found: Reader = import_module(f"{self.package}.reader").READER(content_limit)
        return found

    def writer(self, reply: Reply) -> Writer:
        found: Writer = import_module(f"{self.package}.writer").WRITER(reply)
        return found
