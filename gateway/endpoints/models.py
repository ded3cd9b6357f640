"""The models that a client may ask for, in the shape of the API that it speaks."""

import time
from functools import partial
from typing import Any

from quart import g
from quart_trio import QuartTrio

from gateway.access.authentication import Authenticator
from gateway.endpoints.answers import ids, is_anthropic, json_answer
from gateway.exchange.exchange import JSON_HEADERS
from gateway.http.response import Response
from gateway.routing.router import Model, Router
from gateway.routing.walls import walled
from gateway.serving.current import current_scope
from gateway.serving.quart_views import add_view
from providers.apis import CODECS
from streams.errors import GatewayError


def add_models(app: QuartTrio, router: Router, authenticator: Authenticator) -> None:
    """Serve the list of models that can be asked for by name, and each of them."""
    started = int(time.time())
    known = router.models()

    async def listing() -> Response:
        allowed = authenticator.allowed(g.client, (model.id for model in known))
        models = [model for model in known if model.id in allowed]
        if is_anthropic():
            ids = [model.id for model in models]
            return json_answer(
                {
                    "data": [_anthropic_model(model, started) for model in models],
                    "has_more": False,
                    "first_id": ids[0] if ids else None,
                    "last_id": ids[-1] if ids else None,
                }
            )
        # Codex wants its own catalogue in `models`: empty is right, an incomplete entry loses all (openai/codex#37122).
        data = [_openai_model(model, started) for model in models]
        return json_answer({"object": "list", "data": data, "models": []})

    async def single(model_id: str) -> Response:
        anthropic = is_anthropic()
        try:
            plan = router.plan(model_id, "messages" if anthropic else "chat", partial(authenticator.can_use, g.client))
            for one in walled(plan.candidates, authenticator.wall(g.client), g.client):
                authenticator.check(g.client, model_id, one.target.entry, one.target.model, None)
        except GatewayError as error:
            codec = CODECS["messages" if anthropic else "chat"]
            body = codec.write_error(error.failed, current_scope().id)
            return Response(error.failed.status, (*JSON_HEADERS, *error.failed.headers, *ids()), body)
        model = Model(model_id, plan.targets[0].entry.provider.display_name)
        return json_answer((_anthropic_model if anthropic else _openai_model)(model, started))

    add_view(app, "/v1/models", "models", listing, ["GET"])
    add_view(app, "/v1/models/<path:model_id>", "model", single, ["GET"])


def _openai_model(model: Model, created: int) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": created, "owned_by": model.owned_by}


def _anthropic_model(model: Model, created: int) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created))
    return {"type": "model", "id": model.id, "display_name": model.id, "created_at": at, "lifecycle": "active"}
