"""Advice about LiteLLM's administrative paths that this gateway does not have."""

from collections.abc import Mapping
from typing import Final

_ADVICE: Final[Mapping[str, str]] = {
    "/team": "groups are `client_groups` in the configuration's file; GET /admin/v1/groups lists them",
    "/user": "people come from `issuers` in the configuration's file; GET /admin/v1/people lists them",
    "/budget": "budgets are `budgets` of a client key or group in the configuration's file; PUT /admin/v1/keys/NAME "
    "sets those of a stored key, and PUT /admin/v1/raises/HOLDER raises one until a time",
    "/model": "models are `model_providers` in the configuration's file; GET /v1/models lists them",
    "/spend": "use GET /admin/v1/usage, or trigate costs",
    "/key": "keys are at /admin/v1/keys; of LiteLLM's paths, /key/generate, /key/info, /key/list, /key/update and "
    "/key/delete exist",
}


def advice_for(path: str) -> str | None:
    """Return the advice for a LiteLLM path, ``None`` for others."""
    prefix = f"/{path.strip('/').partition('/')[0]}"
    return None if prefix not in _ADVICE else f"trigate has no {path[:100]}: {_ADVICE[prefix]}"
