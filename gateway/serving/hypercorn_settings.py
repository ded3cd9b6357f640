"""The settings that Hypercorn's protocols read."""

import sys
from typing import Final

from hypercorn.config import Config


class HypercornSettings(Config):
    """The settings of all protocols; those of connections are in ``listeners``."""

    include_server_header = False
    keep_alive_max_requests = sys.maxsize


SETTINGS: Final = HypercornSettings()
