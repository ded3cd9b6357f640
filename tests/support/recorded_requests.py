"""Recorded requests of real programs."""

import json
from functools import cache
from typing import Any, TypeAlias

import attrs

from streams.events import Api
from tests.support.recordings import recordings
from tests.support.repository import SHARED

Json: TypeAlias = Any

PATHS: tuple[tuple[str, Api], ...] = (
    ("/chat/completions", "chat"), ("/messages", "messages"), ("/responses", "responses"),
)  # fmt: skip


@attrs.frozen
class Request:
    """A recorded request. ``key`` is the name of the recording, or the program and the number of its request."""

    key: str
    api: Api
    text: bytes = attrs.field(repr=False)
    own: bool = False  # written for these tests

    @property
    def body(self) -> dict[str, Json]:
        value: dict[str, Json] = json.loads(self.text)
        return value


@cache
def requests() -> tuple[Request, ...]:
    """Return the requests of the corpus and of recorded programs, without other endpoints."""
    recorded = [Request(one.key, one.api, one.request, one.own) for one in recordings() if one.request is not None]
    for file in sorted(SHARED.glob("clients/*/*.request.json")):
        seen = json.loads(file.read_text(encoding="utf-8"))
        path = str(seen["path"]).partition("?")[0]
        api = next((api for end, api in PATHS if path.endswith(end)), None)
        if api is not None and seen["method"] == "POST":
            key = f"{file.parent.name}/{file.name.partition('.')[0]}"
            recorded.append(Request(key, api, json.dumps(seen["body"]).encode()))
    return tuple(recorded)
