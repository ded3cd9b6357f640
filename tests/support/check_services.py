"""Simulated services that check texts: one that speaks LiteLLM's generic guardrail API, and a Presidio analyzer.

They follow the published contracts, and use no code of the gateway on purpose:
https://docs.litellm.ai/docs/adding_provider/generic_guardrail_api and
https://github.com/microsoft/presidio/blob/main/presidio-analyzer/app.py"""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.certificates import Pair
from tests.support.upstreams import JSON, Raw, Seen, Upstream, serve_upstream

GUARDRAIL_PATH = "/beta/litellm_basic_guardrail_api"


class CheckService(Upstream):
    """A service whose ``respond`` returns the JSON, or a raw response, for each request."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.respond: Callable[[Any], Any] = lambda _: {"action": "NONE"}

    def answer(self, received: Seen) -> Raw:
        self.seen.append(received)
        reply = self.respond(received.json)
        return reply if isinstance(reply, Raw) else Raw(200, JSON, (json.dumps(reply).encode(),))

    def use(self, respond: Callable[[Any], Any]) -> None:
        """Respond with ``respond`` from now on, and forget earlier requests."""
        self.seen.clear()
        self.respond = respond

    @property
    def requests(self) -> list[Any]:
        """The JSON of each request."""
        return [one.json for one in self.seen]


def check_service(tls: Pair | None = None) -> contextlib.AbstractContextManager[CheckService]:
    """Run a ``CheckService`` on a free port."""
    return serve_upstream(CheckService, tls=tls)


def masking(pattern: str, replacement: str = "<HIDDEN>") -> Callable[[Any], Any]:
    """Return a guard that replaces ``pattern`` in texts and in the arguments of calls."""

    def respond(request: Mapping[str, Any]) -> Any:
        def hide(text: str) -> str:
            return re.sub(pattern, replacement, text)

        texts = [hide(one) for one in request["texts"]]
        calls = [
            {**call, "function": {**call["function"], "arguments": hide(call["function"]["arguments"])}}
            for call in request["tool_calls"] or ()
        ]
        if texts == request["texts"] and calls == (request["tool_calls"] or []):
            return {"action": "NONE"}
        return {"action": "GUARDRAIL_INTERVENED", "texts": texts, "tool_calls": calls}

    return respond


def analyzer(patterns: Mapping[str, str]) -> Callable[[Any], Any]:
    """Return a Presidio analyzer that finds each entity by a pattern, among those that the request lists."""

    def respond(request: Mapping[str, Any]) -> Any:
        entities = request.get("entities") or [*patterns]
        return [
            [
                {"entity_type": entity, "start": found.start(), "end": found.end(), "score": 0.85}
                for entity in entities
                if entity in patterns
                for found in re.finditer(patterns[entity], text)
            ]
            for text in request["text"]
        ]

    return respond
