"""The row of Responses over websockets."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def _is_on(config: Config) -> bool:
    return config.websocket


FEATURE: Final = Feature(
    "responses_websocket",
    "gateway.features.responses_websocket.routes:open_responses_websocket",
    _is_on,
)
