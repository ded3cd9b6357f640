"""The stand-in provider: ``trigate serve --demo``, which also runs a gateway, and ``trigate mock``."""

from functools import partial

import trio

from gateway.app import create_app
from gateway.commands import listening
from gateway.commands import serve_messages as messages
from gateway.commands.demo import PORT, demo_config
from gateway.commands.registry import registered
from gateway.commands.serve import Options, can_record, report_bind_failure, run_trio
from gateway.config.settings import Config
from gateway.log_output.setup import Log
from gateway.mock.prompt_cache import SharedPrefixes
from gateway.mock.server import MODELS, create_mock
from gateway.open_store import open_store
from gateway.processes.binding import BindFailed
from gateway.processes.descriptors import raise_descriptor_limit
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from streams.garbage import freeze_startup_objects


def run_demo(host: str | None, port: int | None, pace: float, options: Options) -> int:
    """Run ``trigate serve --demo``, the gateway and a stand-in provider in one process; return its exit status."""
    raise_descriptor_limit()
    log = options.log()
    if not can_record(options.record):
        return 1
    try:
        one, mock = (
            listening.open_listener(host or listening.LOCAL, PORT if port is None else port),
            listening.open_listener(listening.LOCAL, 0),
        )
    except BindFailed as error:
        return report_bind_failure(error)
    config = demo_config(mock.url)
    with registered(config, [one.place]):
        run_trio(_serve_demo, config, one, mock, pace, options, log)
    return 0


def run_mock(host: str, port: int, pace: float) -> int:
    """Run ``trigate mock`` and return its exit status."""
    Log()
    try:
        one = listening.open_listener(host, port)
    except BindFailed as error:
        return report_bind_failure(error)
    state = Lifecycle()
    app = create_mock(pace, state)
    freeze_startup_objects()
    announce = partial(messages.print_banner, "trigate mock", [one], MODELS, MODELS[0])
    run_trio(partial(serve, app, [one.sock], state=state, drain=1, ready=announce))
    return 0


async def _serve_demo(
    config: Config,
    one: listening.OpenListener,
    mock_one: listening.OpenListener,
    pace: float,
    options: Options,
    log: Log,
) -> None:
    lifecycle, mock_state = Lifecycle(), Lifecycle()
    app = create_app(
        config, lifecycle, await open_store(config),
        check_streams=options.check_streams, record=options.record, readable=log.readable,
    )  # fmt: skip
    mock = create_mock(pace, mock_state, SharedPrefixes())
    freeze_startup_objects()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve, mock, [mock_one.sock], state=mock_state, signals=False))
        announce = partial(messages.announce_listeners, config, [one])
        await serve(app, [one.sock], state=lifecycle, drain=config.drain, ready=announce)
        nursery.cancel_scope.cancel()
