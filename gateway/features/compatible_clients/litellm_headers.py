"""The response headers of LiteLLM that programs read, computed from the gateway's own.

Programs add up ``x-litellm-response-cost`` and log ``x-litellm-call-id``. Many compare ``x-litellm-model-group`` with
the requested model, or read ``x-litellm-attempted-fallbacks``, to notice that a fallback answered
(https://docs.litellm.ai/docs/proxy/response_headers)."""

import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from gateway.http.headers import RawHeaders

_SENT_AS: Final = (
    (b"x-request-id", b"x-litellm-call-id"),
    (b"x-trigate-cost", b"x-litellm-response-cost"),
    (b"x-trigate-target", b"x-litellm-model-id"),
    (b"x-trigate-model", b"x-litellm-model-name"),
)
"""The headers of responses, and the names under which LiteLLM's clients read their values."""

_TRIED: Final = b"x-trigate-tried"


def litellm_headers(groups: Mapping[str, str], began: float, headers: RawHeaders) -> RawHeaders:
    """Return the ``headers`` of a response with LiteLLM's. Its request ``began`` at this time of ``perf_counter``.

    ``groups`` are the names that clients request by the name of the entry."""
    by_name = dict(headers)
    added = [(new, by_name[old]) for old, new in _SENT_AS if old in by_name]
    if _TRIED in by_name:
        added += _attempt_headers(by_name[_TRIED].decode("latin-1"), groups)
        added.append((b"x-litellm-response-duration-ms", b"%.2f" % ((time.perf_counter() - began) * 1000)))
    return [*headers, *added]


def _attempt_headers(tried: str, groups: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers about the attempts in ``tried``: ``entry=reason`` for each, in order."""
    entries = [part.rpartition("=")[0] for part in tried.split(", ")]
    served = [groups.get(entry, entry) for entry in entries]
    fallbacks = sum(before != after for before, after in pairwise(served))
    yield b"x-litellm-model-group", served[-1].encode("latin-1", "replace")
    yield b"x-litellm-attempted-fallbacks", str(fallbacks).encode()
    yield b"x-litellm-attempted-retries", str(len(served) - 1 - fallbacks).encode()
