"""Listening sockets: how a process opens them, and the reasons for which it cannot."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.serving.listeners import WRITE_TIMEOUT

BACKLOG: Final = 1024


class BindFailed(OSError):
    """An address cannot be used. The message names it, the reason and the remedy."""


_ADVICE: Final = {
    errno.EADDRINUSE: "another process is listening there{owner}: stop it, or choose another port",
    errno.EACCES: "ports below 1024 need privileges: choose a higher port",
    errno.EADDRNOTAVAIL: "this machine does not have that address: use one of its addresses, or 0.0.0.0 for all",
}


def bind(host: str, port: int, *, write_timeout: float = WRITE_TIMEOUT) -> socket.socket:
    """Listen on ``host`` (a name, IPv4 or IPv6; ``::`` includes IPv4) and ``port`` (0: any free one).

    ``write_timeout`` is how many seconds a client may leave sent bytes unacknowledged before it is cut. Raises
    ``BindFailed``."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise BindFailed(f"cannot listen on {where}: {error.strerror}: check the host's spelling") from error
    sock = socket.socket(family, kind, protocol)
    try:
        _set_options(sock, write_timeout)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        advice = _ADVICE.get(error.errno or 0, "choose another address").format(owner=_owner_of(port))
        raise BindFailed(f"cannot listen on {where}: {error.strerror}: {advice}") from error
    return sock


def _owner_of(port: int) -> str:
    """Return the process that listens on a TCP port, in parentheses; "" if only another user knows it."""
    sockets = {
        f"socket:[{fields[9]}]"
        for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        for fields in map(str.split, _read_or_empty(path).splitlines()[1:])
        if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port
    }
    for folder in Path("/proc").glob("[0-9]*/fd") if sockets else ():
        with contextlib.suppress(OSError):  # another user's process, or one that has just ended
            if any(os.readlink(one) in sockets for one in folder.iterdir()):
                return f" ({_read_or_empty(folder.parent / 'comm').strip()}, process {folder.parent.name})"
    return ""


_LISTENING: Final = "0A"
"""The state in Linux's ``/proc/net/tcp``."""


def _read_or_empty(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def bind_unix(path: Path, mode: int) -> socket.socket:
    """Listen on a Unix socket at ``path``, a file with the permissions ``mode``. Raises ``BindFailed``."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o777 & ~mode)  # from the start no other user can open it
    try:
        _remove_stale(path)
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        advice = _UNIX_ADVICE.get(error.errno or 0, "choose another path, of at most 100 characters")
        raise BindFailed(f"cannot listen on {path}: {reason}: {advice}") from error
    finally:
        os.umask(umask)
    return sock


_UNIX_ADVICE: Final = {
    errno.EADDRINUSE: (
        "another process is listening there, or it is not a socket: stop the process, or choose another path"
    ),
    errno.EACCES: "this user may not create it: choose another directory",
    errno.ENOENT: "create its directory first",
}


def _remove_stale(path: Path) -> None:
    """Remove a socket that a crashed process left. Anything else stays and makes ``bind`` fail."""
    if not (path.exists() and stat.S_ISSOCK(path.lstat().st_mode)):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def unlink_at_end(sock: socket.socket) -> Iterator[None]:
    """Return a context that removes the file of a Unix socket at its end, unless another process listens there."""
    name = sock.getsockname()
    path = Path(name) if sock.family == socket.AF_UNIX else None
    made = None if path is None else path.stat().st_ino
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if path is not None and path.lstat().st_ino == made:
                path.unlink()


def _set_options(sock: socket.socket, write_timeout: float) -> None:
    """Set options; accepted connections inherit all but the first."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        # Writes are shielded, so a client that stops reading would otherwise never time out.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(write_timeout * 1000))
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def adopt(fd: int) -> socket.socket:
    """Take over the listening socket with the file descriptor ``fd`` from ``supervise``."""
    return socket.socket(fileno=fd)
