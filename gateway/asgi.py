"""The app for another ASGI server: ``hypercorn -k trio 'gateway.asgi:application()'``.

The drain, the workers, the limit on connections and the write timeout on stalled clients belong to the server of
``trigate serve``, so they are missing.
"""

import logging
import os
from pathlib import Path
from typing import Final

import trio

from configfile.document import ConfigError, Mistake
from gateway.app import create_app
from gateway.config_files.loading import load
from gateway.config_reports.warnings import remarks_on
from gateway.file_search import find_config_file, trust_in
from gateway.log_output.setup import Log
from gateway.open_store import open_store
from gateway.serving.asgi_extensions import AsgiApp, AsgiReceive, AsgiScope, AsgiSend

_WITHOUT_TRIO: Final = "this worker cannot run trigate: start hypercorn with `-k trio`, or use `trigate serve`"


def application() -> AsgiApp:
    """Return the app for the config that ``trigate serve`` would find. Raises ``ConfigError``.

    It is a coroutine function: servers recognise ASGI by that."""
    log = Log(alone=False)  # Hypercorn's lines name its process
    path = find_config_file(Path.cwd(), os.environ)
    config = load(path, os.environ, trust=trust_in(path, os.environ))
    if mistakes := tuple(
        Mistake(str(path), key, found, "use `trigate serve`, or remove it") for key, found in config.only_served
    ):
        raise ConfigError(mistakes[:1])
    log.apply_config(config)
    for kind, text in remarks_on(config):
        log.say(kind, text)
    made = create_app(config, store=trio.run(open_store, config))

    async def app(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        if trio.lowlevel.in_trio_run():
            await made(scope, receive, send)
        elif scope["type"] == "lifespan":  # hypercorn would end with a traceback and status 0 if this failed
            logging.getLogger("trigate").error(_WITHOUT_TRIO)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": _WITHOUT_TRIO.encode(), "more_body": False})
        else:
            await send({"type": "websocket.close", "code": 1011, "reason": None})

    return app
