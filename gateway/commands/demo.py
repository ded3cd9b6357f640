"""The configuration of ``trigate serve --demo``."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.config_files.loading import from_mapping
from gateway.mock.failures import ONLY_FAULTS
from providers.apis import CODECS
from providers.catalog.providers import CATALOG
from providers.endpoints.endpoint import ENDPOINTS

PORT = 12000
STAND_IN = "stand-in"  # the provider for all other model names

DEMO_ENDPOINTS: Final[Mapping[str, Any]] = {
    "rerank": True, "score": "/score", "pooling": "/pooling", "classify": "/classify",
    "fim": {"path": "/fim/completions", "shape": "mistral"},
}  # fmt: skip
"""The endpoints of the stand-in besides OpenAI's."""

OTHER_NAMES: Final = tuple(
    start + end
    for start in ("[!df]*", "d[!e]*", "de[!m]*", "f[!a]*", "fa[!lu]*", "falcon*")  # neither demo nor fault, nor falt
    # llama3.2, llama3.2:latest, openai/gpt-4o, qwen/qwen3-32b:free, ARNs
    for end in ("[0-9]*", ":*", "/*", "/*:*", ":*/*")
)
"""Names of models at routers, clouds and local servers. Misspelled names of the demo and its faults do not match."""

DEMO_TYPES: Final = ("embedding", "rerank", "image", "speech", "transcription", "moderation")
"""Model types with their own names in the demo: model pickers show them, and requests without a model use them."""

DEMO_PRICE: Final = {"input": 3, "cached": 0.3, "output": 15}
"""The invented price of conversations, in dollars per million tokens, so that a newcomer sees costs."""


def demo_config(upstream: str) -> Config:
    """Return a configuration with a provider for each API, all served by the mock at ``upstream``.

    Every pair of APIs can be tried. Faults of the mock are ``fault/NAME``, or ``fault-chat/NAME`` and so on for only
    one API. All other model names work as well, so that programs need no setting but the address."""
    # The key is masked everywhere, so it must not be part of a response.
    provider = {
        "provider_interface": "openai", "base_url": f"{upstream}/v1", "access_key": "unneeded-by-a-stand-in",
        "quirks": {"bedrock_family": "claude"},  # thinks on request, like Claude
    }  # fmt: skip
    priced = {**provider, "price": DEMO_PRICE}
    faulty = {**provider, "headers": {ONLY_FAULTS: "1"}}
    apis = list(CODECS)
    # Only the first entry serves the endpoints without a fallback.
    kept: dict[str, Any] = {name: False for name, row in ENDPOINTS.items() if row.fallback == "never"}
    config = from_mapping(
        {
            "version": "v0.4.0",
            "listeners": [{"type": "model", "name": "demo", "port": PORT}],
            "model_providers": [
                {**priced, "model": "demo/mock-large", "name": "demo", "default": True,
                 "speaks": apis, "endpoints": DEMO_ENDPOINTS},
                *({**priced, "model": f"{api}-only/mock-large", "name": f"demo-{api}", "speaks": [api],
                   "endpoints": dict.fromkeys(ENDPOINTS, False)} for api in apis),
                *({**provider, "model": f"demo/mock-{kind}", "name": f"demo-{kind}", "type": kind,
                   "speaks": apis, "endpoints": {**DEMO_ENDPOINTS, **kept}} for kind in DEMO_TYPES),
                {**priced, "model": f"{STAND_IN}/*", "speaks": apis,
                 "endpoints": {**DEMO_ENDPOINTS, **kept, "realtime": True}},  # for names such as gpt-realtime
                {**faulty, "model": "fault/*", "speaks": apis, "endpoints": {**DEMO_ENDPOINTS, **kept}},
                *({**faulty, "model": f"fault-{api}/*", "speaks": [api],
                   "endpoints": dict.fromkeys(ENDPOINTS, False)} for api in apis),
            ],
        }
    )  # fmt: skip
    families = tuple(dict.fromkeys((*(family for row in CATALOG.values() for family in row.families), *OTHER_NAMES)))
    return attrs.evolve(config, entries=tuple(_with_families(entry, families) for entry in config.entries))


def _with_families(entry: ModelEntry, families: tuple[str, ...]) -> ModelEntry:
    """Return ``entry`` without faults in its model list; the stand-in's entry also serves ``families``."""
    entry = attrs.evolve(entry, lists_all=False)
    if entry.provider.id != STAND_IN:
        return entry
    return attrs.evolve(entry, provider=attrs.evolve(entry.provider, families=families))
