"""A gateway whose clients each have a step of their own, with the name of the client."""

import base64
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, free_port

SIGNING_KEY: Final = "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="


def placeholder_of(client: str, value: str, label: str = "word") -> str:
    """Return the placeholder of a masked ``value`` of ``client``."""
    from gateway.features.steps.mask_key import derived_mask_key  # other features use only the key below
    from gateway.features.steps.masks import Placeholders

    return Placeholders(derived_mask_key((base64.b64decode(SIGNING_KEY),)), client).placeholder(label, value)


def key_of(client: str) -> str:
    return f"key-of-{client}-0123456789"


def bearer(client: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key_of(client)}"}


def client_keys(names: Iterable[str], **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "key": key_of(name), **more} for name in names]


def own_steps(steps: Mapping[str, Mapping[str, Any]], use: str = "./steps.py:words") -> list[dict[str, Any]]:
    """Return ``steps`` by name, each for the client with its name."""
    rows: list[dict[str, Any]] = [{"use": use, "name": name, **more} for name, more in steps.items()]
    return [{**row, "for": {"clients": [row["name"]], **row.get("for", {})}} for row in rows]


def step_settings(folder: Path, port: int, entries: list[Any], code: str = "", **settings: Any) -> Path:
    """Write a configuration and the ``code`` of its steps, and return its file."""
    (folder / "steps.py").write_text(code)
    file = folder / "trigate.yaml"
    content = config(entries, port, **{"signing_key": SIGNING_KEY, **settings})
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


@contextlib.contextmanager
def step_gateway(folder: Path, entries: list[Any], code: str = "", **settings: Any) -> Iterator[Gateway]:
    """Serve ``entries`` with ``settings``, and with the ``code`` of their steps."""
    port = free_port()
    with gateway_thread(step_settings(folder, port, entries, code, **settings), port) as served:
        yield served


def post_as(
    gateway: Gateway, client: str, path: str, body: Any, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Return the status, the headers and the body of the response to a client's request."""
    reply = gateway.request("POST", path, body, {**bearer(client), **(headers or {})})
    return reply.status, reply.headers, reply.body
