"""The configuration of ``trigate serve --demo``."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from gateway.config.loading import Config, from_mapping
from gateway.config.model_entry import ModelEntry
from providers.apis import CODECS
from providers.catalog.providers import CATALOG
from providers.endpoints.endpoint import ENDPOINTS

PORT = 12000
STAND_IN = "stand-in"  # the provider of models that the demo does not list

DEMO_ENDPOINTS: Final[Mapping[str, Any]] = {
    "rerank": True, "score": "/score", "pooling": "/pooling", "classify": "/classify",
    "fim": {"path": "/fim/completions", "shape": "mistral"},
    "message_batches": {"path": "/messages/batches", "shape": "anthropic"},
}  # fmt: skip
"""What the stand-in has beside OpenAI's endpoints."""

ANTHROPICS_FILES: Final[Mapping[str, Any]] = {"files": {"path": "/messages/files", "shape": "anthropic"}}
"""Anthropic's files, at a path of the stand-in's own: an entry has an endpoint in one form, so that other entries of
the same account have these."""

DEMO_TYPES: Final = ("embedding", "rerank", "image", "speech", "transcription", "moderation")
"""What the stand-in is listed for beside conversations, under a name each: pickers find it there, and a request that
names no model means it."""


def demo_config(upstream: str) -> Config:
    """A provider for each API, all of them the mock at ``upstream``: every pair of APIs can be tried, and every fault
    of the mock as ``fault/NAME``, or as ``fault-chat/NAME`` and so on where only that API is spoken. A program that
    knows only its maker's names (Claude Code without settings but the address) is answered by the stand-in, too."""
    # A key that no answer holds: it is masked wherever it is seen.
    provider = {
        "provider_interface": "openai", "base_url": f"{upstream}/v1", "access_key": "unneeded-by-a-stand-in",
        "quirks": {"bedrock_family": "claude"},  # it thinks when it is asked to, as that one is
    }  # fmt: skip
    apis = list(CODECS)
    kept: dict[str, Any] = {
        name: False for name, row in ENDPOINTS.items() if row.fallback == "never"
    }  # there is one place for them
    config = from_mapping(
        {
            "version": "v0.3.0",
            "listeners": [{"type": "model", "name": "demo", "port": PORT}],
            "model_providers": [
                {**provider, "model": "demo/mock-large", "name": "demo", "default": True,
                 "speaks": apis, "endpoints": DEMO_ENDPOINTS},
                *({**provider, "model": f"{api}-only/mock-large", "name": f"demo-{api}", "speaks": [api],
                   "endpoints": dict.fromkeys(ENDPOINTS, False)} for api in apis),
                *({**provider, "model": f"demo/mock-{kind}", "name": f"demo-{kind}", "type": kind,
                   "speaks": apis, "endpoints": {**DEMO_ENDPOINTS, **kept, **ANTHROPICS_FILES}} for kind in DEMO_TYPES),
                {**provider, "model": f"{STAND_IN}/*", "speaks": apis, "endpoints": {**DEMO_ENDPOINTS, **kept}},
                {**provider, "model": "fault/*", "speaks": apis, "endpoints": {**DEMO_ENDPOINTS, **kept}},
                *({**provider, "model": f"fault-{api}/*", "speaks": [api],
                   "endpoints": dict.fromkeys(ENDPOINTS, False)} for api in apis),
            ],
        }
    )  # fmt: skip
    families = tuple(dict.fromkeys(family for row in CATALOG.values() for family in row.families))
    return attrs.evolve(config, entries=tuple(_of_all(entry, families) for entry in config.entries))


def _of_all(entry: ModelEntry, families: tuple[str, ...]) -> ModelEntry:
    """The stand-in's own entry takes every name that a known family has. What it can be asked to do wrong is not
    listed."""
    entry = attrs.evolve(entry, lists_all=False)
    if entry.provider.id != STAND_IN:
        return entry
    return attrs.evolve(entry, provider=attrs.evolve(entry.provider, families=families))
