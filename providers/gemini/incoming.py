"""A client's request, read."""

from collections.abc import Mapping
from typing import Any

from providers.neutral.request import Request


def read_request(body: Mapping[str, Any]) -> Request:
    """See ``Codec.read_request``."""
    raise NotImplementedError


def read_count_request(body: Mapping[str, Any]) -> Request:
    """See ``Codec.read_count``."""
    raise NotImplementedError
