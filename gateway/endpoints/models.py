"""The list of models that a client may use, in the form of its API.

Anthropic's clients send an API version; Gemini's use a path of their own, or ``/v1/models`` with ``x-goog-api-key``;
all others get OpenAI's list. Anthropic's and Gemini's lists support paging."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from quart import g, request
from quart_trio import QuartTrio

from gateway.access.authentication import Authenticator
from gateway.endpoints.answers import client_headers, id_headers, is_anthropic, json_answer
from gateway.endpoints.model_shapes import (
    SERVED_METHODS,
    anthropic_model,
    gemini_model,
    litellm_group,
    litellm_model,
    openai_model,
)
from gateway.exchange.service import Service
from gateway.features.model_lists.lists import ProviderLists
from gateway.http.compatible import GROUP_INFO, MODEL_INFO
from gateway.http.offload import offload_always
from gateway.http.paths import shorten_path
from gateway.http.response import JSON_HEADERS, Response
from gateway.routing.described import Description
from gateway.routing.plan import candidates_inside
from gateway.routing.router import Model, Router
from gateway.serving.quart_views import add_view, current_scope
from providers.apis import CODECS
from providers.endpoints.model_types import MODEL_TYPES, ModelType, voices_of
from streams.errors import GatewayError, invalid
from streams.events import Api

Shape: TypeAlias = Literal["openai", "anthropic", "gemini"]

GEMINI: Final = "/v1beta/models"
GEMINI_PAGE, MOST_ON_PAGE = 50, 1000
"""The default and the maximum size of a page of Gemini's list."""

_ERRORS: Final[dict[Shape, Api]] = {"openai": "chat", "anthropic": "messages", "gemini": "gemini"}
"""The API whose error format each form's clients read."""


def add_models(app: QuartTrio, service: Service) -> None:
    """Add the list of models that can be requested by name, and each model."""
    models = ModelList(service.router, service.authenticator, service.provider_lists)
    for path, name in (("/v1/models", "models"), (GEMINI, "gemini_models")):
        add_view(app, path, name, models.list_models, ["GET"])
        add_view(app, f"{path}/<path:model_id>", name.removesuffix("s"), models.show_model, ["GET"])
    add_view(app, "/v1/audio/voices", "voices", models.voices, ["GET"])
    add_view(app, "/v1/audio/models", "speech_models", models.speech_models, ["GET"])


def add_model_info(app: QuartTrio, service: Service) -> None:
    """Add LiteLLM's lists of models and of their names."""
    models = ModelList(service.router, service.authenticator, service.provider_lists)
    add_view(app, MODEL_INFO, "model_info", models.litellm_models, ["GET"])
    add_view(app, GROUP_INFO, "model_group_info", models.litellm_groups, ["GET"])


class ModelList:
    """The models of one configuration, as each client may see them. Lists are made in a thread: there may be thousands
    of models."""

    def __init__(self, router: Router, authenticator: Authenticator, lists: ProviderLists) -> None:
        self._router = router
        self._lists = lists
        self._authenticator = authenticator
        self._started = int(time.time())

    async def list_models(self) -> Response:
        shape = _requested_shape()
        try:
            listed = await self._lists.names()
            return json_answer(await offload_always(lambda: self._list_json(self._visible(listed), shape)))
        except GatewayError as error:
            return _error_response(error, shape)

    async def show_model(self, model_id: str) -> Response:
        shape = _requested_shape()
        try:
            owner = self._provider_name(model_id, "messages" if shape == "anthropic" else "chat")
        except GatewayError as error:
            is_method = model_id.rpartition(":")[2] in SERVED_METHODS
            return _error_response(_post_only_error() if is_method else error, shape)
        return json_answer(self._model_json(Model(model_id, owner), shape))

    async def litellm_models(self) -> Response:
        """Return the models with prices and limits in LiteLLM's form, or only that of ``litellm_model_id``."""
        return await self._litellm_list("litellm_model_id", litellm_model)

    async def litellm_groups(self) -> Response:
        """Return the names that clients request in LiteLLM's form, or only that of ``model_group``."""
        return await self._litellm_list("model_group", litellm_group)

    async def _litellm_list(
        self, parameter: str, shape: Callable[[Model, Description | None], dict[str, Any]]
    ) -> Response:
        """Return the visible models in ``shape``. Raises nothing."""
        listed, wanted = await self._lists.names(), request.args.get(parameter)

        def make_list() -> list[dict[str, Any]]:
            shown_models = [model for model in self._visible(listed) if wanted in (None, model.id)]
            return [shape(model, self._router.description(model.id)) for model in shown_models]

        try:
            return json_answer({"data": await offload_always(make_list)})
        except GatewayError as error:
            return _error_response(error, "openai")

    async def voices(self) -> Response:
        """Return the voices of the speech models.

        Open WebUI fills its pickers with this list and the next (``get_available_voices`` and ``get_available_models``
        in its ``routers/audio.py``)."""
        names = dict.fromkeys(
            voice
            for _, description in await offload_always(self._speech_models)
            for found in description.found
            for voice in voices_of(found.model)
        )
        return json_answer({"voices": [{"id": name, "name": name} for name in names]})

    async def speech_models(self) -> Response:
        return json_answer({"models": [{"id": name} for name, _ in await offload_always(self._speech_models)]})

    def _speech_models(self) -> list[tuple[str, Description]]:
        models = self._allowed_models(self._router.models())
        found = ((model.id, self._router.description(model.id)) for model in models)
        return [(id, one) for id, one in found if one is not None and one.type == "speech"]

    def _provider_name(self, name: str, api: Api) -> str:
        """Return the owner of a model. Raises ``GatewayError`` for an unknown or forbidden name."""
        client = g.client
        plan = self._router.plan(name, api, partial(self._authenticator.can_use, client))
        for one in candidates_inside(plan.candidates, self._authenticator.wall(client), client):
            self._authenticator.check(client, name, one.target.entry, one.target.model, None)
        return plan.targets[0].entry.provider.display_name

    def _list_json(self, models: Sequence[Model], shape: Shape) -> dict[str, Any]:
        """Return the requested page of the list. Raises ``GatewayError`` for an invalid page."""
        match shape:
            case "gemini":
                page, token = _gemini_page(models)
                more = {} if token is None else {"nextPageToken": token}
                return {"models": [self._model_json(model, shape) for model in page], **more}
            case "anthropic":
                page, has_more = _anthropic_page(models)
                first, last = (page[0].id, page[-1].id) if page else (None, None)
                data = [self._model_json(model, shape) for model in page]
                return {"data": data, "has_more": has_more, "first_id": first, "last_id": last}
            case _:  # Codex reads ``models``: see ``model_shapes``
                data = [self._model_json(model, shape) for model in models]
                return {"object": "list", "data": data, "models": []}

    def _visible(self, listed: Mapping[str, tuple[str, ...]]) -> list[Model]:
        visible, wanted = self._allowed_models(self._router.models(listed)), request.args.get("type")
        if not wanted:
            return visible
        if wanted not in MODEL_TYPES:
            raise invalid(f"type must be one of {', '.join(MODEL_TYPES)}", "type")
        return [model for model in visible if self._type(model) == wanted]

    def _allowed_models(self, models: Sequence[Model]) -> list[Model]:
        names = self._authenticator.allowed_models(g.client, (model.id for model in models))
        return [model for model in models if model.id in names]

    def _type(self, model: Model) -> ModelType:
        description = self._router.description(model.id)
        return "chat" if description is None else description.type

    def _model_json(self, model: Model, shape: Shape) -> dict[str, Any]:
        description = self._router.description(model.id)
        match shape:
            case "gemini":
                return gemini_model(model, description)
            case "anthropic":
                native = description is not None and description.is_claude_in("messages")
                return anthropic_model(model, description, self._started, native=native)
            case _:
                return openai_model(model, description, self._started)


def _requested_shape() -> Shape:
    if request.path.startswith(GEMINI):
        return "gemini"
    if is_anthropic():
        return "anthropic"
    return "gemini" if any(name == "x-goog-api-key" for name, _ in client_headers()) else "openai"


def _error_response(error: GatewayError, shape: Shape) -> Response:
    codec = CODECS.get(_ERRORS[shape], CODECS["chat"])
    body = codec.write_error(error.info, current_scope().id)
    return Response(error.info.status, (*JSON_HEADERS, *error.info.headers, *id_headers()), body)


def _post_only_error() -> GatewayError:
    """Return the 405 for a GET of a model's method (``…:generateContent``)."""
    message = f"{request.method} is not allowed on {shorten_path(request.path)}; use POST"
    return GatewayError("invalid_request", message, status=405, headers=(("allow", "POST"),))


# Pages


def _anthropic_page(models: Sequence[Model]) -> tuple[Sequence[Model], bool]:
    """Return the page that ``limit``, ``after_id`` and ``before_id`` select, and whether more follow in that direction.

    Without parameters, return all. Raises ``GatewayError``."""
    limit = _page_size("limit", len(models), MOST_ON_PAGE)
    if (before := request.args.get("before_id")) is not None:
        rest = models[: _position(models, before, "before_id")]
        return rest[-limit:] if limit else rest, len(rest) > limit
    after = request.args.get("after_id")
    rest = models if after is None else models[_position(models, after, "after_id") + 1 :]
    return rest[:limit], len(rest) > limit


def _gemini_page(models: Sequence[Model]) -> tuple[Sequence[Model], str | None]:
    """Return the page that ``pageSize`` and ``pageToken`` select, and the next page's token.

    A token is the name of the last model before the page, so that a growing list loses none. Raises
    ``GatewayError``."""
    size = _page_size("pageSize", GEMINI_PAGE, MOST_ON_PAGE)
    token = request.args.get("pageToken")
    rest = models[_position(models, token, "pageToken") + 1 :] if token else models
    return rest[:size], rest[size - 1].id if len(rest) > size else None


def _page_size(name: str, default: int, maximum: int) -> int:
    text = request.args.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise invalid(f"{name} must be a whole number from 1 to {maximum}", name)
    return min(int(text), maximum)


def _position(models: Sequence[Model], id: str, name: str) -> int:
    at = next((at for at, model in enumerate(models) if model.id == id), None)
    if at is None:
        raise invalid(f"{name} is not the name of a listed model", name)
    return at
