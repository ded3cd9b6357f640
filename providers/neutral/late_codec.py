"""A codec that imports each of its parts on first use, because most gateways speak few APIs."""

from functools import cached_property
from importlib import import_module
from typing import Any

from providers.neutral.codec import Codec
from streams.events import Api

PARTS = ("incoming", "outgoing", "adapting", "reader", "writer")


def late(part: str, name: str) -> Any:
    """Return a method that is ``name`` of the module ``part``, a function or a class, imported with its first use."""
    return cached_property(lambda codec: getattr(import_module(f"{codec.package}.{part}"), name))


class LateCodec(Codec):
    """A ``Codec`` whose methods are functions of the five modules of ``package`` in ``PARTS``.

    Subclasses add the methods without a part, and those of ``own_parts``, which are more modules.
    """

    api: Api
    package: str
    own_parts: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.api = cls.wire.name
        cls.parts = tuple(f"{cls.package}.{part}" for part in (*PARTS, *cls.own_parts))

    read_request = late("incoming", "read_request")
    read_count = late("incoming", "read_count_request")
    write_request = late("outgoing", "write_request")
    write_count = late("outgoing", "write_count_request")
    adapt = late("adapting", "adapt")
    restore = late("adapting", "restore")
    without_reasoning = late("adapting", "without_reasoning")
    reader = late("reader", "READER")
    read_answer = late("reader", "read_answer")
    writer = late("writer", "WRITER")
    write_answer = late("writer", "write_answer")
