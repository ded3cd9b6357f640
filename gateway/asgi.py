"""For a server that wants an ASGI app: ``hypercorn -k trio 'gateway.asgi:application()'``.

The app is whole, but its server is somebody else's: draining, the write timeout on stalled clients and the workers of
``trigate serve`` are not there.
"""

import logging
import os
from pathlib import Path

import trio
from quart_trio import QuartTrio

from gateway.app import create_app
from gateway.config.loading import discover, load
from gateway.serving.install import install
from gateway.state.opening import open_store

log = logging.getLogger("trigate.asgi")


def application() -> QuartTrio:
    """The app for the config that ``trigate serve`` would find. Raises ``ConfigError``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    install()
    config = load(discover(Path.cwd(), os.environ), os.environ)
    for text in (*config.warnings, *config.notes):
        log.warning(text)
    return create_app(config, store=trio.run(open_store, config))
