"""The endpoints that entries and providers configure: their addresses and behaviour."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import attrs

from configfile.keys import Given, Kind, setting
from gateway.config.kinds import BodyShape, EndpointPath, EndpointWord
from providers.endpoints.embeddings.traits import EmbeddingTraits


@attrs.frozen(repr=False)
class EndpointPlace:
    """The address and shape of an endpoint."""

    path: EndpointPath | None = setting(
        "As above; `{model}` is the model's id.",
        None,
        shown="the provider's",
    )
    shape: BodyShape | None = setting(
        "The form of the bodies: `openai`, `cohere`, `jina`, `tei`, …", None, shown="the provider's"
    )


def _pick_endpoint_type(value: Any) -> Any:
    if isinstance(value, bool):
        return None
    return EndpointPlace if isinstance(value, dict) else EndpointPath


def _read_endpoint(value: Any) -> EndpointPlace | None:
    if isinstance(value, bool):
        return EndpointPlace() if value else None
    return value if isinstance(value, EndpointPlace) else EndpointPlace(value)


_OwnPlace: TypeAlias = Annotated[
    EndpointPlace | None, Kind("", _read_endpoint, pick=_pick_endpoint_type, parts=(bool, EndpointPath, EndpointPlace))
]
OwnEndpoints: TypeAlias = Mapping[EndpointWord, _OwnPlace]
"""Endpoints by name; ``None`` for an absent one."""


def _require_purpose(given: dict[str, Any]) -> dict[str, Any]:
    """Require the input type if one is configured."""
    return {**given, "takes_purpose": "required"} if "purpose" in given else given


EmbeddingChanges: TypeAlias = Annotated[
    Mapping[str, Any],
    Kind("mapping", _require_purpose, pick=lambda _: Given(EmbeddingTraits), parts=(EmbeddingTraits,)),
]
"""Changes to a row's ``EmbeddingTraits``."""


@attrs.frozen(repr=False)
class ImageSettings:
    """The form of an entry's picture responses, and of the files in its requests."""

    inline: bool = setting(
        "Replace the URLs by contents.",
        False,
    )
