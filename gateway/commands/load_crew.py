"""``trigate load worker``, and what the command line says of loads by several processes."""

import ipaddress
import signal
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import trio

import gateway
from configfile.document import ConfigError, Mistake
from configfile.wording import Wrong
from gateway.commands.terminal import say
from loadtest.crew.handshake import LEAST
from loadtest.crew.worker_port import WorkerPort
from loadtest.plan.scenario import Scenario
from loadtest.plan.workforce import processes as process_count
from loadtest.plan.workforce import worker, workers
from loadtest.requests.keys import Credential

GOOD, UNUSABLE = 0, 2

_PLAIN: Final = "the plan goes there as it is, over TCP without encryption"


def crew_secret(plan: Scenario, env: Mapping[str, str]) -> str | None:
    """The secret of the workers. Raises ``ConfigError``."""
    if plan.secret_env is None:
        return None
    if not plan.workers:
        raise _wrong("--secret-env", "a secret, and no workers that it is for", "add --workers host:port")
    return _secret(plan.secret_env, env)


def _secret(name: str, env: Mapping[str, str]) -> str:
    value = env.get(name, "").strip()
    if len(value) < LEAST:
        found = f"the environment variable {name} has {len(value)} characters" if value else f"no variable {name}"
        raise _wrong("--secret-env", found, f"set it to {LEAST} or more, as of `openssl rand -hex 16`")
    return value


def with_scale(plan: Scenario, processes: str | None, workers_: str | None, secret_env: str | None) -> Scenario:
    """The plan with what the options say of processes, over its own. Raises ``ConfigError``."""
    given: dict[str, Any] = {} if secret_env is None else {"secret_env": secret_env}
    for option, text, read in (("processes", processes, process_count), ("workers", workers_, workers)):
        try:
            given |= {} if text is None else {option: read(text)}
        except Wrong as wrong:
            raise _wrong(f"--{option}", wrong.found, wrong.expected) from None
    return attrs.evolve(plan, **given)


def crew_notes(plan: Scenario, keys: Mapping[str, Credential]) -> Iterator[str]:
    """What is to be told before a plan is sent to other machines."""
    far = [worker for worker in plan.workers if not _is_here(worker.rpartition(":")[0])]
    if far and (plan.headers or any(key.value for key in keys.values())):
        yield (
            f"the key or the headers of this load go to {', '.join(far)}: {_PLAIN}; where others can listen, "
            "go through `ssh -L 7071:127.0.0.1:7071 HOST`"
        )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """The exceptions in a group of groups."""
    found: list[Exception] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _wrong(place: str, found: str, expected: str) -> ConfigError:
    return ConfigError((Mistake(place, "", found, expected),))


# The worker


def work(listen: str, secret_env: str | None, env: Mapping[str, str]) -> int:
    """Exit status 0 after Ctrl-C, 2 if there is nothing to listen on."""
    try:
        host, port, secret = _place(listen, secret_env, env)
    except ConfigError as error:
        say(error.listed("mistakes"))
        return UNUSABLE
    return trio.run(_work, host, port, secret)


def _place(listen: str, secret_env: str | None, env: Mapping[str, str]) -> tuple[str, int, str | None]:
    """Raises ``ConfigError``."""
    try:
        address = worker(listen, 0)
    except Wrong as wrong:
        raise _wrong("--listen", wrong.found, wrong.expected) from None
    host, _, port = address.rpartition(":")
    if secret_env is None and not _is_here(host):
        found = f"{address}, where other machines can have this one load any server"
        raise _wrong("--listen", found, "add --secret-env NAME, or listen on 127.0.0.1 and come by ssh -L")
    return host.strip("[]"), int(port), None if secret_env is None else _secret(secret_env, env)


async def _work(host: str, port: int, secret: str | None) -> int:
    serving = WorkerPort(gateway.__version__, secret, lambda told: say(f"worker: {told}"))
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        say(f"{host}:{port}: cannot be listened on: {error.strerror or error}")
        return UNUSABLE
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serving.serve, listeners)
            say(f"worker: listening on {host}:{listeners[0].socket.getsockname()[1]}")
            await anext(signals)
            nursery.cancel_scope.cancel()
    return GOOD
