"""The sessions of this user at gateways: ``trigate token`` prints the token of one, and refreshes it in time.

They are in a file that only the user can read. One process at a time refreshes a session, because a refresh token is
valid once."""

import contextlib
import fcntl
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from gateway.commands.fetching import FetchError, post_form
from gateway.http.urls import is_loopback

FILE: Final = "sessions.json"
EARLY: Final = 60.0
"""Seconds before its end at which a token is refreshed."""
PATIENCE: Final = 3.5
"""Seconds for everything that ``trigate token`` waits for: Codex waits for 5 s in all (openai/codex#16288)."""
_POLL: Final = 0.05
_LARGEST: Final = 2**20  # bytes of the file
_MOST_SECONDS: Final = 1e11
"""A larger number is no time: milliseconds, infinity or a mistake."""


class SessionFailed(Exception):
    """There is no valid session; the message is for the user."""


@attrs.frozen(repr=False)
class SavedSession:
    """A session at the gateway ``root``. ``expires_at`` is the end of ``access_token`` in Unix seconds; without
    ``refresh_token`` the session ends then."""

    root: str
    token_url: str
    access_token: str
    expires_at: float
    refresh_token: str | None = None

    @classmethod
    def of_response(cls, root: str, token_url: str, found: Mapping[str, Any], now: float) -> "SavedSession":
        """Return the session in the response of a token endpoint. Raises ``SessionFailed``."""
        token, refresh, seconds = found.get("access_token"), found.get("refresh_token"), seconds_in(found, "expires_in")
        if not isinstance(token, str) or not token or seconds is None:
            raise SessionFailed(f"the response of {token_url} has no access token")
        return cls(root, token_url, token, now + seconds, refresh if isinstance(refresh, str) else None)

    @classmethod
    def of_file(cls, root: str, found: Any) -> "SavedSession | None":
        """Return the session at ``root`` in the file's item ``found``, ``None`` if another version wrote it."""
        match found:
            case {
                "root": str(own),
                "token_url": str(url),
                "access_token": str(token),
                "refresh_token": str() | None as last,
            }:
                ends = seconds_in(found, "expires_at")
                return cls(root, url, token, ends, last) if own == root and ends is not None else None
        return None


class SessionFile:
    """The file with the user's sessions, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE

    @classmethod
    def of_user(cls) -> "SessionFile":
        """Return the file next to the user's own configuration. Raises ``SessionFailed`` without a home directory."""
        from gateway.file_search import users_file

        found = users_file(os.environ)
        if found is None:
            raise SessionFailed("the environment has no home directory for the sessions: set HOME")
        return cls(found.parent)

    def find(self, root: str | None = None) -> SavedSession | None:
        """Return the session at ``root``, by default the last one that began."""
        content = self._read()
        root = content.get("latest") if root is None else root
        return SavedSession.of_file(root, content.get("sessions", {}).get(root)) if isinstance(root, str) else None

    def has_one(self) -> bool:
        """Return whether the user has a session at one gateway only."""
        return len(self._read().get("sessions", {})) == 1

    def save(self, session: SavedSession, *, is_new: bool = False) -> None:
        """Save ``session`` for its gateway. One that ``is_new`` becomes the latest."""
        content = self._read()
        content.setdefault("sessions", {})[session.root] = attrs.asdict(session)
        if is_new:
            content["latest"] = session.root
        self._write(content)

    def forget(self, root: str) -> None:
        content = self._read()
        content.get("sessions", {}).pop(root, None)
        self._write(content)

    @contextlib.contextmanager
    def hold_lock(self, deadline: float) -> Iterator[None]:
        """Hold the file's lock during the block. Raises ``SessionFailed`` after ``deadline``, a monotonic time.

        Only this user can open its file, so that no other user can hold it."""
        path = self._folder / f"{FILE}.lock"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.fchmod(handle, 0o600)
        except OSError as error:
            raise SessionFailed(f"cannot write {path}: {(error.strerror or '').lower()}") from None
        with os.fdopen(handle, "w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise SessionFailed(
                            "another process has not finished refreshing the session: try again"
                        ) from None
                    time.sleep(_POLL)
            yield

    def _read(self) -> dict[str, Any]:
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                content = json.loads(file.read(_LARGEST))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SessionFailed(f"cannot read {self._path}: {(error.strerror or '').lower()}") from None
        except (ValueError, RecursionError):
            content = None
        else:
            if found.st_uid not in (os.getuid(), 0) or found.st_mode & 0o022:
                raise SessionFailed(f"other users can change {self._path}: delete it, and sign in again")
        if not isinstance(content, dict) or not isinstance(content.get("sessions", {}), dict):
            raise SessionFailed(f"{self._path} is damaged: delete it, and sign in again")
        return content

    def _write(self, content: Mapping[str, Any]) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=FILE)  # only the user can read it
            with os.fdopen(handle, "w") as file:
                json.dump(content, file, indent=2)
            Path(name).replace(self._path)
        except OSError as error:
            raise SessionFailed(f"cannot write {self._path}: {(error.strerror or '').lower()}") from None


def valid_token(file: SessionFile, root: str | None = None) -> str:
    """Return a token of the session at ``root``, refreshed if it ends within a minute. Takes four seconds at most.

    If it cannot be refreshed in time, a valid token stays in use. Raises ``SessionFailed``."""
    deadline = time.monotonic() + PATIENCE
    session = _require_session(file, root)
    if time.time() < session.expires_at - EARLY:
        return session.access_token
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file.hold_lock(deadline))
        except SessionFailed as error:
            return _token_without_refresh(session, str(error))
        session = _require_session(file, session.root)  # another process may have refreshed it
        if time.time() < session.expires_at - EARLY:
            return session.access_token
        return _refresh(file, session, deadline)


def _require_session(file: SessionFile, root: str | None) -> SavedSession:
    session = file.find(root)
    if session is None:
        raise SessionFailed(f"there is no session{f' at {root}' if root else ''}: run trigate login {root or 'URL'}")
    return session


def _refresh(file: SessionFile, session: SavedSession, deadline: float) -> str:
    """Return the token of the refreshed ``session``, or its own if the gateway is down and it is still valid."""
    if session.refresh_token is None:
        if time.time() < session.expires_at:
            return session.access_token
        raise SessionFailed(f"the session has ended: run trigate login {session.root}")
    form = {"grant_type": "refresh_token", "refresh_token": session.refresh_token}
    try:
        status, body = post_form(session.token_url, form, max(deadline - time.monotonic(), 0.1))
    except FetchError as error:
        return _token_without_refresh(session, f"no response from {session.root}: {error}")
    found = read_object(body)
    if status == 200:
        renewed = SavedSession.of_response(session.root, session.token_url, found, time.time())
        file.save(attrs.evolve(renewed, refresh_token=renewed.refresh_token or session.refresh_token))
        return renewed.access_token
    if found.get("error") == "invalid_grant":
        file.forget(session.root)
        raise SessionFailed(f"the session has ended: run trigate login {session.root}")
    return _token_without_refresh(session, f"{session.root} did not refresh the session (status {status})")


def _token_without_refresh(session: SavedSession, reason: str) -> str:
    if time.time() < session.expires_at:
        return session.access_token
    raise SessionFailed(reason)


def read_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a response or file, empty for anything else.

    Characters that control terminals are escaped, because commands print the texts."""
    try:
        found = _escape_texts(json.loads(body))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _escape_texts(value: Any) -> Any:
    from gateway.logs.masking import escape

    if isinstance(value, str):
        return escape(value)
    if isinstance(value, list):
        return [_escape_texts(one) for one in value]
    return {escape(name): _escape_texts(one) for name, one in value.items()} if isinstance(value, dict) else value


def seconds_in(found: Mapping[str, Any], name: str) -> float | None:
    """Return the number of seconds in a member of a response, ``None`` without a usable one."""
    value = found.get(name)
    is_usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST_SECONDS
    return float(value) if is_usable and value is not None else None


def origin_of(url: str) -> tuple[str, str]:
    """Return the scheme and the authority of ``url``, empty texts if it is not valid."""
    try:
        return urlsplit(url)[:2]
    except ValueError:
        return "", ""


def root_of(url: str) -> str:
    """Return the address of the gateway at ``url``, which may lack its scheme.

    Raises ``SessionFailed`` for one that is not safe for a sign-in."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        raise SessionFailed("the URL is not that of a gateway: write it as https://HOST") from None
    # Gateways on this machine rarely have a certificate.
    scheme = parts.scheme or ("http" if is_loopback(parts.hostname or "") else "https")
    if scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise SessionFailed("the URL is not that of a gateway: write it as https://HOST")
    if scheme == "http" and not is_loopback(parts.hostname):
        raise SessionFailed(f"{url} has no TLS, so others could read the session: use https://")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"


def print_token(url: str | None) -> int:
    """Run ``trigate token``: print the token alone, and return the exit status."""
    try:
        sys.stdout.write(valid_token(SessionFile.of_user(), None if url is None else root_of(url)) + "\n")
    except SessionFailed as error:
        sys.stderr.write(f"trigate token: {error}\n")
        return 1
    return 0
