"""Starts the user's gateway in the background if ``trigate connect CLIENT --`` finds none."""

import os
import subprocess
import time
from pathlib import Path
from typing import Final

from gateway.commands.fetching import FetchError, fetch
from gateway.commands.registry import own_command
from gateway.commands.running_gateways import ConnectFailed, ConnectOptions, Destination, is_here, is_listening
from gateway.commands.terminal import say
from gateway.file_search import trust_in
from gateway.users_files import state_folder

SECONDS: Final = 30.0
"""The longest wait for the start."""
_POLL: Final = 0.05


def require_gateway(found: Destination, options: ConnectOptions) -> None:
    """Start the user's gateway if none listens at the address of ``found``. Raises ``ConnectFailed`` if there is none.

    It starts no gateway with a file that is only in the current directory: the file may be a stranger's, and the
    gateway would serve later commands, too. Other machines may be reachable only through the client's proxy."""
    root, config = found.address.root, found.config
    if found.is_running or not is_here(root):
        return
    if is_listening(root):
        _refuse_other_server(root)
        return
    nothing = f"no gateway is listening on {root}"
    if options.url is not None:
        raise ConnectFailed(f"{nothing}: start it, or leave out --url")
    if config is None or config.path is None:
        raise ConnectFailed(f"{nothing}, and you have no configuration: run trigate init, or trigate serve --demo")
    if trust_in(config.path, os.environ, options.config) != "named":
        raise ConnectFailed(f"{nothing}: if you trust {config.path}, run trigate serve here in another terminal")
    _start_gateway(config.path, root)
    say(f"Started a gateway on {root} with {config.path}. To see it: trigate status. To end it: trigate stop.")


def _refuse_other_server(root: str) -> None:
    """Raise ``ConnectFailed`` if the server at ``root`` responds, but not as a gateway does."""
    try:
        status, _ = fetch(f"{root}/healthz", {}, 3.0)
    except FetchError:
        return  # such as a certificate that only the client knows
    if status != 200:
        raise ConnectFailed(f"the server on {root} is no gateway (status {status}): stop it, or use another port")


def _start_gateway(config: Path, root: str) -> None:
    """Start a gateway with ``config`` that outlives this process, and wait until it serves at ``root``.

    Its log is a file in the user's state folder. Raises ``ConnectFailed`` with the end of the log."""
    folder = state_folder(os.environ)
    if folder is None:
        raise ConnectFailed(f"no gateway is listening on {root}: run trigate serve --config {config}")
    path = folder / "trigate.log"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "rb")  # noqa: SIM115
    except OSError as error:
        raise ConnectFailed(f"cannot write {path}: {(error.strerror or 'unwritable').lower()}") from None
    with log:
        before = log.seek(0, os.SEEK_END)
        command = [*own_command(), "serve", str(config.absolute()), "--log-format", "text"]
        # In a session of its own, so that no closed terminal and no Ctrl-C ends it.
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=null, stdout=null, stderr=log, start_new_session=True)
        until = time.monotonic() + SECONDS
        while not _serves(root):
            if process.poll() is not None or time.monotonic() > until:
                process.terminate()
                log.seek(before)
                last = log.read().decode(errors="replace").strip()
                raise ConnectFailed(f"the gateway did not start; {path} has:\n{last}")
            time.sleep(_POLL)
        process.returncode = 0  # this process does not wait for it


def _serves(root: str) -> bool:
    """Return whether a gateway at ``root`` responds. One that listens may still fail to open its storage."""
    if not is_listening(root):
        return False
    try:
        fetch(f"{root}/healthz", {}, 1.0)
    except FetchError as error:
        return error.is_of_handshake
    return True
