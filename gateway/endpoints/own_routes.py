"""The routes of the kernel: conversations, health, stored objects and lists of models.

Handlers other than those of conversations and health are imported with the first request."""

from collections.abc import Iterator
from typing import Final

from gateway.config.settings import Config
from gateway.endpoints.health import health_routes
from gateway.endpoints.inference import conversation_routes
from gateway.exchange.service import Service
from gateway.seams.route import HttpRoute
from gateway.serving.late_views import LateViews
from gateway.serving.route_table import READING
from providers.apis import CODECS

_INTERACTIONS: Final = CODECS["interactions"].wire

_DELETE: Final = ("DELETE",)
_POST: Final = ("POST",)

VIEWS: Final = (
    ("responses", "response_views", "/v1/responses", (
        ("/{id}", READING, "retrieve"), ("/{id}", _DELETE, "delete"), ("/{id}/input_items", READING, "input_items"),
        ("/{id}/cancel", _POST, "cancel"),
    )),
    ("conversations", "conversation_views", "/v1/conversations", (
        ("", _POST, "create"), ("/{id}", READING, "retrieve"), ("/{id}", _POST, "update"), ("/{id}", _DELETE, "delete"),
        ("/{id}/items", _POST, "add_items"), ("/{id}/items", READING, "items"),
        ("/{id}/items/{item_id}", READING, "item"), ("/{id}/items/{item_id}", _DELETE, "delete_item"),
    )),
    ("interactions", "interaction_views", _INTERACTIONS.root + _INTERACTIONS.path, (
        ("/{id}", READING, "retrieve"), ("/{id}", _DELETE, "delete"), ("/{id}/cancel", _POST, "cancel"),
    )),
)  # fmt: skip
"""The modules with views, the functions that make these, and for each path and its methods the view."""


def own_routes(config: Config, service: Service, page: str | None = None) -> Iterator[HttpRoute]:
    """Yield the routes of ``config``. ``/`` sends browsers to ``page``."""
    yield from conversation_routes(service)
    yield from health_routes(service, config, page)
    for module, maker, root, rows in VIEWS:
        views = LateViews((f"gateway.endpoints.{module}",), maker, (service,))
        for path, methods, name in rows:
            yield HttpRoute(root + path, views.view(name), methods, for_programs=True)
