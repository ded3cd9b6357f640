"""What Open WebUI asks a speech server of one's own for, to fill its pickers: the voices and the models that speak
(``get_available_voices`` and ``get_available_models`` in its ``routers/audio.py``)."""

from collections.abc import Iterator
from typing import Any

from quart import g
from quart_trio import QuartTrio

from gateway.access.authentication import Authenticator
from gateway.endpoints.answers import json_answer
from gateway.exchange.service import Service
from gateway.http.response import Response
from gateway.routing.described import Description
from gateway.routing.router import Router
from gateway.serving.quart_views import add_view
from providers.endpoints.voices import voices_of


def add_voices(app: QuartTrio, service: Service) -> None:
    """Serve both lists."""
    lists = VoiceLists(service.router, service.authenticator)
    add_view(app, "/v1/audio/voices", "voices", lists.voices, ["GET"])
    add_view(app, "/v1/audio/models", "speech_models", lists.models, ["GET"])


class VoiceLists:
    """The models that speak, as each client may use them, and their voices."""

    def __init__(self, router: Router, authenticator: Authenticator) -> None:
        self._router = router
        self._authenticator = authenticator

    async def voices(self) -> Response:
        names = dict.fromkeys(
            voice for _, known in self._speaking() for found in known.found for voice in voices_of(found.model)
        )
        return json_answer({"voices": [{"id": name, "name": name} for name in names]})

    async def models(self) -> Response:
        return json_answer({"models": [{"id": name} for name, _ in self._speaking()]})

    def _speaking(self) -> Iterator[tuple[str, Description]]:
        listed: list[Any] = [model.id for model in self._router.models()]
        allowed = self._authenticator.allowed(g.client, listed)
        for name in listed:
            if name in allowed and (known := self._router.description(name)) is not None and known.type == "speech":
                yield name, known
