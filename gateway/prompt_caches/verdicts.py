"""The causes of a miss: the verdict after a response, and the prediction before it."""

from collections.abc import Sequence

from gateway.prompt_caches.prompts import PromptDigest
from gateway.prompt_caches.situations import Boundary, Parent, Situation
from gateway.prompt_caches.values import CacheVerdict, Prediction
from providers.catalog.prompt_caching import CachingRow
from streams.events import Usage


def predict(
    prompt: PromptDigest,
    client_prompt: PromptDigest | None,
    parent: Parent | None,
    found: Sequence[Boundary],
    row: CachingRow | None,
    situation: Situation,
) -> Prediction:
    """Return the part of the verdict that is known when the request is sent.

    - ``prompt``: as sent; ``client_prompt``: as the client wrote it, in the words of the client's API, or ``None`` if
      it is the same but for the model.
    - ``parent``: the exchange that the request continues, ``None`` for a first turn, or if it is not remembered.
    - ``found``: the boundaries of this client's own exchanges in the scope of the request, for those of its
      ``lookup_positions`` that the memory has (``Boundary.position`` is the position in ``prompt``), live or not.
    - ``row``: the provider's rules, ``None`` if they are unknown."""
    raise NotImplementedError


def judge(
    prompt: PromptDigest,
    client_prompt: PromptDigest | None,
    parent: Parent | None,
    found: Sequence[Boundary],
    row: CachingRow | None,
    situation: Situation,
    usage: Usage | None,
) -> CacheVerdict:
    """Return the verdict on an attempt with the provider's ``usage``, the same arguments as for ``predict`` otherwise.

    ``usage`` is ``None``, or estimated, if the stream ended before the provider reported it."""
    raise NotImplementedError
