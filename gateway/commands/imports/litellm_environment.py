"""The members of ``litellm_params`` that LiteLLM reads elsewhere: in the variables of the file, or in its settings."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.commands.imports.imported_values import ENVIRONMENT

VERTEX_SETTINGS: Final = frozenset(("litellm_settings.vertex_project", "litellm_settings.vertex_location"))
"""The settings that ``provider_defaults`` reads, by their path."""

_VERTEX: Final[Mapping[str, tuple[str, ...]]] = {
    "project": ("VERTEXAI_PROJECT",),
    "location": ("VERTEXAI_LOCATION", "VERTEX_LOCATION"),
}
"""The variables of Vertex AI's members, in the order of precedence."""


def provider_defaults(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the members that apply to models without them, by the prefix of their provider.

    Vertex AI's members have their older names, because a model's own ``vertex_location`` has precedence."""
    settings, variables = _mapping(content, "litellm_settings"), _mapping(content, "environment_variables")
    vertex = {
        f"vertex_ai_{member}": value
        for member, names in _VERTEX.items()
        if (
            value := settings.get(f"vertex_{member}")
            or next((f"{ENVIRONMENT}{name}" for name in names if variables.get(name)), None)
        )
    }
    return {"vertex_ai": vertex, "vertex_ai_beta": vertex}


def _mapping(content: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    found = content.get(section)
    return found if isinstance(found, dict) else {}
