"""The providers, addresses and credentials of LiteLLM's models.

https://docs.litellm.ai/docs/providers has LiteLLM's names; ``litellm_tables`` has the providers that only differ in
their names."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.imported_values import ENVIRONMENT, text_of
from gateway.commands.imports.litellm_tables import COMPATIBLE, ORIGINS, LiteLLMProvider
from gateway.commands.imports.losses import Inconvertible
from providers.catalog.provider import region_of
from providers.catalog.providers import find
from providers.endpoints.model_types import ENDPOINTS_OF, ModelType, model_type


@attrs.define
class ModelPlace:
    """The place of a model: its ``provider``, its id there, and the entry's ``members`` for address and credential.

    ``used`` are the read members of ``litellm_params``, ``type`` is that of the requests that trigate can send."""

    provider: str
    model: str
    type: ModelType = "chat"
    members: dict[str, Any] = attrs.field(factory=dict)
    used: frozenset[str] = frozenset()
    gains_version: bool = False
    """True if the gateway adds ``/v1`` to the address, and LiteLLM does not."""


AT_ROOT: Final = "at_root"
"""The name of a provider in the new file: servers with OpenAI's APIs without the usual ``/v1``."""

AT_ROOT_SETTINGS: Final[Mapping[str, Any]] = {
    "display_name": "OpenAI's APIs without /v1",
    "paths": {"chat": "/chat/completions", "responses": "/responses"},
}

_OPENAIS: Final = re.compile(r"https://([\w-]+\.)?api\.openai\.com(?![^/:?])", re.IGNORECASE)
"""OpenAI's addresses, also in its regions: https://platform.openai.com/docs/guides/your-data."""

_VERBATIM: Final = frozenset(("openai", "custom_openai", "openai_like", "litellm_proxy"))
"""Prefixes for which LiteLLM adds only ``/chat/completions`` to the address."""


def place_model(owner: SecretOwner, prefix: str, rest: str, params: Mapping[str, Any], type: ModelType) -> ModelPlace:
    """Return the place of the model ``rest`` of LiteLLM's provider ``prefix``. Raises ``Inconvertible``."""
    if prefix in _CLOUDS:
        return _CLOUDS[prefix](owner, rest, params, type)
    return _place_at_provider(owner, prefix, rest, params, ORIGINS[prefix], type)


def _place_at_provider(
    owner: SecretOwner,
    prefix: str,
    rest: str,
    params: Mapping[str, Any],
    origin: LiteLLMProvider,
    type: ModelType,
) -> ModelPlace:
    base = _base_url(prefix, params)
    place = ModelPlace(origin.provider, rest)
    place.type = _served_type(place, type)
    if prefix == "openai" and rest.startswith("responses/"):
        place.model = rest.removeprefix("responses/")
    if origin.provider == "openai" and base is not None and not _OPENAIS.match(base):
        place.provider = COMPATIBLE
    if prefix in _VERBATIM and base is not None and place.provider != "openai":
        _keep_address(place, owner, base, type)
    if prefix == "gemini" and base is not None and place.type == "chat":
        _keep_googles_address(place, owner, base)
    if base := base or origin.base_url:
        place.members["base_url"] = base
    _add_key(place, owner, params.get("api_key"), origin)
    place.members.update({"speaks": ["responses"]} if place.model != rest else origin.extra)
    return place


def _keep_address(place: ModelPlace, owner: SecretOwner, base: str, type: ModelType) -> None:
    """Keep an address without a path unchanged for conversations: the gateway adds ``/v1``, and LiteLLM does not."""
    if base.startswith("$"):
        owner.notes.append(f"if {base} has no path, the gateway adds /v1, and LiteLLM does not")
    elif urlsplit(base).path in ("", "/"):
        place.gains_version = type != "chat"
        place.provider = place.provider if place.gains_version else AT_ROOT


def _keep_googles_address(place: ModelPlace, owner: SecretOwner, base: str) -> None:
    """Request Google's own API at the address: LiteLLM adds ``/models/NAME:generateContent``."""
    place.members["speaks"] = ["gemini"]
    if base.startswith("$"):
        owner.notes.append(f"if {base} has no path, the gateway adds /v1beta, and LiteLLM does not")
    elif urlsplit(base).path in ("", "/"):
        owner.notes.append("the gateway adds /v1beta to the address, and LiteLLM does not")


def _add_key(place: ModelPlace, owner: SecretOwner, value: Any, origin: LiteLLMProvider) -> None:
    if value or origin.key_required or origin.key_env is None:
        if (key := owner.read_key(value, origin.key_env)) is not None:
            place.members["access_key"] = key
    else:
        owner.notes.append(f"if {origin.key_env} was set for LiteLLM, add access_key: ${origin.key_env}")


def _base_url(prefix: str, params: Mapping[str, Any]) -> str | None:
    """Return the address in ``params``, without ``/v1/messages`` for Anthropic, which the gateway adds.

    Raises ``Inconvertible`` for an unreadable one: without it, requests would go to another server."""
    given = params.get("api_base") or params.get("base_url")
    base = text_of(given)
    if given and base is None:
        raise Inconvertible("its `api_base` is not a text")
    try:
        urlsplit(base or "")
    except ValueError as error:
        raise Inconvertible(f"its `api_base` is no valid address: {error}") from None
    return None if base is None else base.rstrip("/").removesuffix("/v1/messages") if prefix == "anthropic" else base


# Azure

_AZURE: Final[Mapping[str, str]] = {
    "tenant_id": "tenant_id", "client_id": "client_id", "client_secret": "client_secret", "azure_scope": "scope",
}  # fmt: skip
"""LiteLLM's members for Entra, and those of ``sign_in``."""

ENTRA: Final = "enable_azure_ad_token_refresh"
"""A member that is set if entries without a credential use the identity of the machine."""

_V1: Final = frozenset(("v1", "latest", "preview"))
"""Versions for which LiteLLM uses the paths below ``/openai/v1``."""


def _azure(owner: SecretOwner, rest: str, params: Mapping[str, Any], type: ModelType) -> ModelPlace:
    place = ModelPlace("azure_openai", rest, type)
    if rest.startswith("responses/"):
        place.model, place.members = rest.removeprefix("responses/"), {"speaks": ["responses"]}
    base, version = _base_url("azure", params), text_of(params.get("api_version"))
    if base is None:
        base = "$AZURE_API_BASE"
        owner.notes.append("the address is in the variable AZURE_API_BASE, as for LiteLLM")
    if version in _V1 and "/openai/v1" not in base:
        base = base.partition("?")[0].rstrip("/") + "/openai/v1"
    elif version and version not in _V1 and "api-version=" not in base:
        base = f"{base}{'&' if '?' in base else '?'}api-version={version}"
    place.members = {"base_url": base, **place.members}
    _sign_in_at_azure(place, owner, params)
    return place


def _sign_in_at_azure(place: ModelPlace, owner: SecretOwner, params: Mapping[str, Any]) -> None:
    """Add the key, the Entra application, or the token; LiteLLM has the same precedence."""
    settings = _sign_in(owner, params, _AZURE, ("client_secret",))
    place.used = frozenset((*_AZURE, "azure_ad_token", ENTRA))
    token = params.get("azure_ad_token")
    if not (params.get("api_key") or settings or token) and params.get(ENTRA):
        place.members["sign_in"] = "azure"
    elif params.get("api_key") or not (settings or token):
        if (key := owner.read_key(params.get("api_key"), "AZURE_API_KEY")) is not None:
            place.members["access_key"] = key
    elif settings:
        place.members["sign_in"] = {"type": "azure", **settings}
    elif isinstance(token, str) and token.startswith("oidc/"):
        raise Inconvertible("trigate cannot exchange its `azure_ad_token`: write an entry with `sign_in: azure`")
    else:
        text = owner.read_secret("azure_ad_token", token)
        owner.notes.append("an Entra token expires within hours: `sign_in: azure` renews it")
        place.members |= {"sign_in": "none", "headers": {"authorization": f"Bearer {text}"}}


def _azure_ai(owner: SecretOwner, rest: str, params: Mapping[str, Any], type: ModelType) -> ModelPlace:
    """Place a model of Microsoft Foundry: one resource has Chat for all models, and Messages for Claude."""
    base = _base_url("azure_ai", params)
    place = ModelPlace("foundry", rest)
    if base is None:
        base = "$AZURE_AI_API_BASE"
        owner.notes.append("the address is in the variable AZURE_AI_API_BASE: it must end after the host")
    elif base.startswith("$"):
        owner.notes.append(f"the address in {base} must end after the host")
    elif (host := urlsplit(base).hostname or "").endswith((".services.ai.azure.com", ".cognitiveservices.azure.com")):
        base = f"{urlsplit(base).scheme}://{urlsplit(base).netloc}"
    elif host.endswith(".models.ai.azure.com") or host == "models.inference.ai.azure.com":
        place.provider = COMPATIBLE if host.endswith(".models.ai.azure.com") else AT_ROOT
    else:
        raise Inconvertible("trigate does not know the paths at this `api_base`: write an entry for it yourself")
    if type != "chat":
        raise Inconvertible(f"trigate import converts only conversations of Microsoft Foundry, and this is {type}")
    place.members["base_url"] = base
    _sign_in_at_azure(place, owner, params)
    if place.members.get("access_key") == "$AZURE_API_KEY":
        place.members["access_key"] = "$AZURE_AI_API_KEY"
    return place


# Bedrock

_AWS: Final[Mapping[str, str]] = {
    "aws_profile_name": "profile", "aws_role_name": "role_arn", "aws_session_name": "session_name",
    "aws_external_id": "external_id", "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key", "aws_session_token": "session_token",
}  # fmt: skip
_AWS_SECRETS: Final = ("aws_external_id", "aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]")
_HINTS: Final = frozenset(
    ("converse", "invoke", "llama", "deepseek_r1", "nova", "openai", "qwen2", "qwen3", "moonshot", "anthropic")
)
"""Parts ahead of a model id that select LiteLLM's code for it."""


def _bedrock(owner: SecretOwner, rest: str, params: Mapping[str, Any], type: ModelType) -> ModelPlace:
    """Place a model of Bedrock. LiteLLM calls Converse, or InvokeModel after ``invoke/``, both of `bedrock-runtime`."""
    model, hints, region = _split_bedrock(rest)
    _check_media(model)
    place = ModelPlace("amazon_bedrock", model)
    place.type = _served_type(place, model_type(model) if type == "chat" else type)
    place.members = {"speaks": ["converse"]} if place.type == "chat" else {}
    if "invoke" in hints and "anthropic." in model:
        place.provider, place.members = "bedrock_invoke", {}
    endpoint = text_of(params.get("aws_bedrock_runtime_endpoint")) or _base_url("bedrock", params)
    region = region_of(model) or text_of(params.get("aws_region_name")) or region
    if region is None:
        region = "$AWS_REGION"
        owner.notes.append("set AWS_REGION; LiteLLM also reads AWS_REGION_NAME, and uses us-west-2 without both")
    place.members |= {"base_url": endpoint} if endpoint is not None else {}
    place.members["region"] = region
    place.used = frozenset((*_AWS, "aws_region_name", "aws_bedrock_runtime_endpoint"))
    if params.get("api_key"):
        place.members["access_key"] = owner.read_secret("API key", params["api_key"])
    elif (sign_in := _sign_in_at_aws(owner, params)) or endpoint is not None:
        place.members["sign_in"] = {"type": "aws", **sign_in} if sign_in else "aws"
    return place


_MEDIA: Final[Mapping[str, re.Pattern[str]]] = {
    "image": re.compile(r"amazon\.(?:nova-canvas|titan-image)|stability\.|imagegeneration|imagetext|imagen-"),
    "video": re.compile(r"amazon\.nova-reel|luma\.|twelvelabs\.|veo-"),
    "speech": re.compile(r"amazon\.nova-(?:2-)?sonic|lyria-|chirp"),
}
"""Models of clouds that have no conversations."""


def _check_media(model: str) -> None:
    """Raise ``Inconvertible`` for a model of a cloud that only makes images, videos or sound."""
    plain = re.sub(r"^(?:us|eu|apac|global|jp|au)\.", "", model)
    for kind, pattern in _MEDIA.items():
        if pattern.match(plain):
            raise Inconvertible(f"trigate does not support {kind} models at this cloud, such as {model}")


_MADE_IN_CONVERSATIONS: Final = ("image", "speech")
"""Types of models that may also have conversations."""


def _served_type(place: ModelPlace, type: ModelType) -> ModelType:
    """Return the type of the requests that trigate can send there: ``type``, or conversations if the model has them.

    Raises ``Inconvertible`` if trigate can send none."""
    row = find(place.provider)
    if type == "chat" or row is None:
        return type
    at = row.for_model(place.model)
    if any(at.place_of(endpoint) is not None for endpoint in ENDPOINTS_OF[type]):
        return type
    if type in _MADE_IN_CONVERSATIONS and model_type(place.model) == "chat":
        return "chat"
    raise Inconvertible(f"trigate does not support {place.model} at {row.display_name}, which is of the type {type}")


def _split_bedrock(rest: str) -> tuple[str, set[str], str | None]:
    """Return the model id, the hints ahead of it, and its region. Raises ``Inconvertible``."""
    hints, region = set[str](), None
    while "/" in rest and not rest.startswith("arn:"):
        part, _, rest = rest.partition("/")
        if _REGION.fullmatch(part):
            region = part
        elif part in _HINTS:
            hints.add(part)
        else:
            raise Inconvertible(f"trigate does not support {part}/ at Bedrock")
    return rest, hints, region


def _sign_in_at_aws(owner: SecretOwner, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the members of ``sign_in``, without those that LiteLLM ignores."""
    settings = _sign_in(owner, params, _AWS, _AWS_SECRETS)
    ignored = set() if "role_arn" in settings else {"session_name", "external_id"}
    ignored |= {"profile"} if "access_key_id" in settings else set()
    return {member: value for member, value in settings.items() if member not in ignored}


def _sign_in(
    owner: SecretOwner, params: Mapping[str, Any], members: Mapping[str, str], secrets: tuple[str, ...]
) -> dict[str, str]:
    """Return the members of ``sign_in`` in ``params``; secrets become variables."""
    found: dict[str, str] = {}
    for param, member in members.items():
        value = params.get(param)
        text = owner.read_secret(param, value) if param in secrets else text_of(value)
        if text is not None:
            found[member] = text
    return found


# Vertex AI

_UNLIKE_OPENAI: Final = re.compile(r"(?:mistral|codestral|jamba|veo-|lyria-|[0-9]|gemini/|gemma/|model_garden/|agent)")
"""Models whose APIs at Vertex AI are not OpenAI's: https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models"""


def _vertex(owner: SecretOwner, rest: str, params: Mapping[str, Any], type: ModelType) -> ModelPlace:
    _check_media(rest)
    place = ModelPlace("vertex", rest.removeprefix("openai/") if rest.startswith("openai/gemini") else rest)
    place.type = _served_type(place, type)
    if place.type == "chat" and _UNLIKE_OPENAI.match(rest):
        raise Inconvertible("trigate does not support the API of this model at Vertex AI")
    if _base_url("vertex_ai", params) is not None:
        raise Inconvertible("its `api_base` is not Vertex AI's: write an entry with `base_url` yourself")
    for member, default in (("project", "$VERTEXAI_PROJECT"), ("location", "$VERTEXAI_LOCATION")):
        value = text_of(params.get(f"vertex_{member}")) or text_of(params.get(f"vertex_ai_{member}"))
        place.members[member] = value or default
        if value is None and member == "project":
            owner.notes.append("set VERTEXAI_PROJECT; LiteLLM also uses the project of its credentials")
        elif value is None:
            owner.notes.append("set VERTEXAI_LOCATION; without it, LiteLLM uses us-central1")
    credentials = params.get("vertex_credentials") or params.get("vertex_ai_credentials")
    if isinstance(credentials, str) and not credentials.lstrip().startswith("{"):
        place.members["sign_in"] = {"type": "google", "credentials_file": text_of(credentials)}
        if credentials.startswith(ENVIRONMENT):
            owner.notes.append(f"{text_of(credentials)} must be the path of a file, not its content")
    elif credentials:
        variable = owner.names.variable(f"{owner.name} credentials file", str(credentials))
        owner.names.of_files.add(variable)
        place.members["sign_in"] = {"type": "google", "credentials_file": f"${variable}"}
        owner.notes.append(
            f"vertex_credentials are in {owner.source}: write them to a file, and its path to {variable}"
        )
    else:
        place.members["sign_in"] = "google"
    kinds = ("project", "location", "credentials")
    place.used = frozenset(f"{prefix}_{kind}" for prefix in ("vertex", "vertex_ai") for kind in kinds)
    return place


_CLOUDS: Final[Mapping[str, Callable[[SecretOwner, str, Mapping[str, Any], ModelType], ModelPlace]]] = {
    "azure": _azure, "azure_ai": _azure_ai, "bedrock": _bedrock, "bedrock_converse": _bedrock,
    "vertex_ai": _vertex, "vertex_ai_beta": _vertex,
}  # fmt: skip
"""The clouds, whose entries need more than a name, an address and a key."""

CLOUDS: Final = frozenset(_CLOUDS)
