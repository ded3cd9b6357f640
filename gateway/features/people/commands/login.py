"""``trigate login``: signs in to a gateway with the device flow (RFC 8628), and saves the session."""

import sys
import time
import webbrowser
from collections.abc import Mapping
from typing import Any, Final

import click

from gateway.commands.fetching import FetchError, fetch, post_form
from gateway.commands.sessions import (
    SavedSession,
    SessionFailed,
    SessionFile,
    origin_of,
    read_object,
    root_of,
    seconds_in,
)
from gateway.commands.terminal import say

METADATA: Final = "/.well-known/oauth-authorization-server"
GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
PATIENCE: Final = 10.0
"""Seconds for each request."""
SHORTEST: Final = 0.5
LONGEST: Final = 60.0
"""Limits of the seconds between two requests."""
SLOWER: Final = 5.0
"""Seconds that ``slow_down`` adds to the interval (RFC 8628, section 3.5)."""


def run(url: str, no_browser: bool) -> int:
    """Sign in to the gateway with the address ``url``, and return the exit status."""
    try:
        file = SessionFile.of_user()
        session = sign_in(root_of(url), opens_browser=not no_browser)
        file.save(session, is_new=True)
    except SessionFailed as error:
        say(f"trigate login: {error}")
        return 1
    click.echo(f"Signed in to {session.root}.")
    return 0


def sign_in(root: str, *, opens_browser: bool) -> SavedSession:
    """Return the session of a person who confirms the sign-in in a browser. Raises ``SessionFailed``."""
    metadata = _metadata_of(root)
    grant = _post(metadata["device_authorization_endpoint"], {"client_id": "trigate"})
    if not all(isinstance(grant.get(name), str) for name in ("device_code", "user_code", "verification_uri")):
        raise SessionFailed(f"{root} does not offer a sign-in: {_reason(grant)}")
    complete = grant.get("verification_uri_complete")
    address = _own_url(root, complete if isinstance(complete, str) and complete else grant["verification_uri"])
    click.echo(f"Open this page, compare the code, and approve:\n\n  {address}\n\n  code: {grant['user_code']}\n")
    if opens_browser and sys.stdout.isatty():
        webbrowser.open(address)
    return _await_approval(root, metadata["token_endpoint"], grant)


def _metadata_of(root: str) -> Mapping[str, str]:
    """Return the gateway's endpoints. Raises ``SessionFailed`` for endpoints elsewhere, which could be another's."""
    try:
        status, body = fetch(f"{root}{METADATA}", {}, PATIENCE)
    except FetchError as error:
        raise SessionFailed(f"no response from {root}: {error}") from None
    found = read_object(body)
    names = ("device_authorization_endpoint", "token_endpoint")
    if status != 200 or not all(isinstance(found.get(name), str) for name in names):
        raise SessionFailed(f"{root} offers no sign-in (status {status}): ask its operator whether it has `issuers`")
    return {name: _own_url(root, found[name]) for name in names}


def _own_url(root: str, url: str) -> str:
    """Return ``url``, which must be of the gateway at ``root``. Raises ``SessionFailed``."""
    place = origin_of(url)
    if place != origin_of(root):
        raise SessionFailed(
            f"{root} names an address of another server, {place[1]}: its operator must fix `public_url`"
        )
    return url


def _await_approval(root: str, token_url: str, grant: Mapping[str, Any]) -> SavedSession:
    pause = min(max(seconds_in(grant, "interval") or SLOWER, SHORTEST), LONGEST)
    ends = time.monotonic() + (seconds_in(grant, "expires_in") or 600.0)
    form = {"grant_type": GRANT, "device_code": grant["device_code"], "client_id": "trigate"}
    while time.monotonic() < ends:
        time.sleep(pause)
        found = _post(token_url, form)
        match found.get("error"):
            case None:
                return SavedSession.of_response(root, token_url, found, time.time())
            case "authorization_pending":
                pass
            case "slow_down":
                pause += SLOWER
            case "access_denied":
                raise SessionFailed("the sign-in was denied")
            case "expired_token":
                break
            case _:
                raise SessionFailed(f"the sign-in failed: {_reason(found)}")
    raise SessionFailed("nobody approved the sign-in in time: run the command again")


def _post(url: str, form: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        return read_object(post_form(url, form, PATIENCE)[1])
    except FetchError as error:
        raise SessionFailed(f"no response from {url}: {error}") from None


def _reason(found: Mapping[str, Any]) -> str:
    """Return the reason in an error response (RFC 6749, section 5.2)."""
    words = found.get("error_description") or found.get("error")
    return " ".join(words.split())[:200] if isinstance(words, str) else "its response has no reason"
