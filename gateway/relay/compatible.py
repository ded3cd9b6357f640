"""The paths of clients of other servers, for a configuration with ``compatibility``."""

from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias

Server: TypeAlias = Literal["azure", "litellm"]

MODEL_INFO: Final = "/v1/model/info"
"""LiteLLM's list of models with their prices and limits."""
GROUP_INFO: Final = "/model_group/info"
"""LiteLLM's list of the names that clients request, each with the limits of its models."""

_DEPLOYMENTS: Final[Mapping[Server, tuple[str, ...]]] = {
    "azure": ("/openai/deployments/",),
    "litellm": ("/openai/deployments/", "/engines/"),
}
"""The starts of paths that continue with a model and the path of an endpoint without ``/v1``."""


def deployment_roots(servers: Collection[Server]) -> tuple[str, ...]:
    """Return the starts of the paths with a deployment that clients may use."""
    return tuple(dict.fromkeys(root for server in servers for root in _DEPLOYMENTS[server]))
