"""The list of models that a client may use, in the form of its API.

Anthropic's clients send an API version; Gemini's use a path of their own, or ``/v1/models`` with ``x-goog-api-key``;
all others get OpenAI's list. Anthropic's and Gemini's lists support paging."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from gateway.access.authentication import Authenticator
from gateway.endpoints.answers import Call, handler_of
from gateway.endpoints.plain_answers import json_response, request_ids
from gateway.exchange.service import Service
from gateway.features.model_lists.lists import ProviderLists
from gateway.features.model_lists.shapes import (
    anthropic_model,
    gemini_model,
    litellm_group,
    litellm_model,
    openai_model,
)
from gateway.http.offload import offload_always
from gateway.http.paths import SERVED_METHODS, is_anthropic, shorten_path
from gateway.http.response import JSON_HEADERS, Response
from gateway.routing.plan import candidates_inside
from gateway.routing.router import Router
from gateway.serving.route_table import Handler
from gateway.viewing.described import Description, Descriptions
from gateway.viewing.listed_models import Model, list_models
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


def model_views(service: Service, lists: ProviderLists) -> Mapping[str, Handler]:
    """Return the handlers of the lists by name."""
    models = ModelList(service.router, service.authenticator, lists)
    views = (
        models.list_models, models.show_model, models.voices, models.speech_models, models.litellm_models,
        models.litellm_groups,
    )  # fmt: skip
    # The lists of models respond immediately.
    immediate = ("list_models", "show_model")
    return {one.__name__: handler_of(service, one, counts=one.__name__ not in immediate) for one in views}


class ModelList:
    """The models of one configuration, as each client may see them. Lists are made in a thread: there may be thousands
    of models."""

    def __init__(self, router: Router, authenticator: Authenticator, lists: ProviderLists) -> None:
        self._router = router
        self._descriptions = Descriptions(router)
        self._lists = lists
        self._authenticator = authenticator
        self._started = int(time.time())

    async def list_models(self, call: Call) -> Response:
        shape = _requested_shape(call)
        try:
            listed = await self._lists.names()
            return _json(call, await offload_always(lambda: self._list_json(call, self._visible(call, listed), shape)))
        except GatewayError as error:
            return _error_response(call, error, shape)

    async def show_model(self, call: Call, model: str) -> Response:
        shape, model = _requested_shape(call), model.removesuffix("/")
        try:
            owner = self._provider_name(call.client, model, "messages" if shape == "anthropic" else "chat")
        except GatewayError as error:
            is_method = model.rpartition(":")[2] in SERVED_METHODS
            return _error_response(call, _post_only_error(call) if is_method else error, shape)
        return _json(call, self._model_json(Model(model, owner), shape))

    async def litellm_models(self, call: Call) -> Response:
        """Return the models with prices and limits in LiteLLM's form, or only that of ``litellm_model_id``."""
        return await self._litellm_list(call, "litellm_model_id", litellm_model)

    async def litellm_groups(self, call: Call) -> Response:
        """Return the names that clients request in LiteLLM's form, or only that of ``model_group``."""
        return await self._litellm_list(call, "model_group", litellm_group)

    async def _litellm_list(
        self, call: Call, parameter: str, shape: Callable[[Model, Description | None], dict[str, Any]]
    ) -> Response:
        """Return the visible models in ``shape``. Raises nothing."""
        listed, wanted = await self._lists.names(), call.argument(parameter)

        def make_list() -> list[dict[str, Any]]:
            shown_models = [model for model in self._visible(call, listed) if wanted in (None, model.id)]
            return [shape(model, self._descriptions.of(model.id)) for model in shown_models]

        try:
            return _json(call, {"data": await offload_always(make_list)})
        except GatewayError as error:
            return _error_response(call, error, "openai")

    async def voices(self, call: Call) -> Response:
        """Return the voices of the speech models.

        Open WebUI fills its pickers with this list and the next (``get_available_voices`` and ``get_available_models``
        in its ``routers/audio.py``)."""
        names = dict.fromkeys(
            voice
            for _, description in await offload_always(lambda: self._speech_models(call.client))
            for found in description.found
            for voice in voices_of(found.model)
        )
        return _json(call, {"voices": [{"id": name, "name": name} for name in names]})

    async def speech_models(self, call: Call) -> Response:
        return _json(
            call,
            {"models": [{"id": name} for name, _ in await offload_always(lambda: self._speech_models(call.client))]},
        )

    def _speech_models(self, client: str | None) -> list[tuple[str, Description]]:
        models = self._allowed_models(client, list_models(self._router))
        found = ((model.id, self._descriptions.of(model.id)) for model in models)
        return [(id, one) for id, one in found if one is not None and one.type == "speech"]

    def _provider_name(self, client: str | None, name: str, api: Api) -> str:
        """Return the owner of a model. Raises ``GatewayError`` for an unknown or forbidden name."""
        plan = self._router.plan(name, api, partial(self._authenticator.can_use, client))
        for one in candidates_inside(plan.candidates, self._authenticator.wall(client), client):
            self._authenticator.check(client, name, one.target.entry, one.target.model, None)
        return plan.targets[0].entry.provider.display_name

    def _list_json(self, call: Call, models: Sequence[Model], shape: Shape) -> dict[str, Any]:
        """Return the requested page of the list. Raises ``GatewayError`` for an invalid page."""
        match shape:
            case "gemini":
                page, token = _gemini_page(call, models)
                more = {} if token is None else {"nextPageToken": token}
                return {"models": [self._model_json(model, shape) for model in page], **more}
            case "anthropic":
                page, has_more = _anthropic_page(call, models)
                first, last = (page[0].id, page[-1].id) if page else (None, None)
                data = [self._model_json(model, shape) for model in page]
                return {"data": data, "has_more": has_more, "first_id": first, "last_id": last}
            case _:  # Codex reads ``models``: see ``shapes``
                data = [self._model_json(model, shape) for model in models]
                return {"object": "list", "data": data, "models": []}

    def _visible(self, call: Call, listed: Mapping[str, tuple[str, ...]]) -> list[Model]:
        visible, wanted = self._allowed_models(call.client, list_models(self._router, listed)), call.argument("type")
        if not wanted:
            return visible
        if wanted not in MODEL_TYPES:
            raise invalid(f"type must be one of {', '.join(MODEL_TYPES)}", "type")
        return [model for model in visible if self._type(model) == wanted]

    def _allowed_models(self, client: str | None, models: Sequence[Model]) -> list[Model]:
        names = self._authenticator.allowed_models(client, (model.id for model in models))
        return [model for model in models if model.id in names]

    def _type(self, model: Model) -> ModelType:
        description = self._descriptions.of(model.id)
        return "chat" if description is None else description.type

    def _model_json(self, model: Model, shape: Shape) -> dict[str, Any]:
        description = self._descriptions.of(model.id)
        match shape:
            case "gemini":
                return gemini_model(model, description)
            case "anthropic":
                native = description is not None and description.is_claude_in("messages")
                return anthropic_model(model, description, self._started, native=native)
            case _:
                return openai_model(model, description, self._started)


def _requested_shape(call: Call) -> Shape:
    if call.path.startswith(GEMINI):
        return "gemini"
    if is_anthropic(call.headers):
        return "anthropic"
    return "gemini" if any(name == "x-goog-api-key" for name, _ in call.headers) else "openai"


def _json(call: Call, value: Any) -> Response:
    return json_response(value, call.scope.id, call.headers)


def _error_response(call: Call, error: GatewayError, shape: Shape) -> Response:
    codec = CODECS.get(_ERRORS[shape], CODECS["chat"])
    body = codec.write_error(error.info, call.scope.id)
    return Response(
        error.info.status, (*JSON_HEADERS, *error.info.headers, *request_ids(call.scope.id, call.headers)), body
    )


def _post_only_error(call: Call) -> GatewayError:
    """Return the 405 for a GET of a model's method (``…:generateContent``)."""
    message = f"{call.method} is not allowed on {shorten_path(call.path)}; use POST"
    return GatewayError("invalid_request", message, status=405, headers=(("allow", "POST"),))


# Pages


def _anthropic_page(call: Call, models: Sequence[Model]) -> tuple[Sequence[Model], bool]:
    """Return the page that ``limit``, ``after_id`` and ``before_id`` select, and whether more follow in that direction.

    Without parameters, return all. Raises ``GatewayError``."""
    limit = _page_size(call, "limit", len(models), MOST_ON_PAGE)
    if (before := call.argument("before_id")) is not None:
        rest = models[: _position(models, before, "before_id")]
        return rest[-limit:] if limit else rest, len(rest) > limit
    after = call.argument("after_id")
    rest = models if after is None else models[_position(models, after, "after_id") + 1 :]
    return rest[:limit], len(rest) > limit


def _gemini_page(call: Call, models: Sequence[Model]) -> tuple[Sequence[Model], str | None]:
    """Return the page that ``pageSize`` and ``pageToken`` select, and the next page's token.

    A token is the name of the last model before the page, so that a growing list loses none. Raises
    ``GatewayError``."""
    size = _page_size(call, "pageSize", GEMINI_PAGE, MOST_ON_PAGE)
    token = call.argument("pageToken")
    rest = models[_position(models, token, "pageToken") + 1 :] if token else models
    return rest[:size], rest[size - 1].id if len(rest) > size else None


def _page_size(call: Call, name: str, default: int, maximum: int) -> int:
    text = call.argument(name)
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
