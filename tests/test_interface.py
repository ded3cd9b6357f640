"""Every configuration key, option, metric, log field and header of the last release still exists.

A new spelling leaves the old one in place (CONTRIBUTING.md), so a name may be added, and goes only
if it is in ``REMOVED``.
"""

import json
from collections.abc import Mapping, Sequence

import pytest

from tests.pages.interface import FILE, interface
from tests.support.each_row import each_row
from tests.support.features import describes_all_features

REMOVED = {
    "llm_providers[].billed_as", "model_providers[].billed_as",
    "explain --if", "init --yes", "import --keys", "import --teams", "replay --pace", "replay --serve",
    "step", "step test", "step test --api", "step test --config", "step test --key",
    "step test --texts",
    *(
        f"load --{option}"
        for option in (
            "as", "burst", "burstiness", "check", "compare", "connections", "csv", "deadline", "dns-ttl", "exact",
            "find-concurrency", "follow-up", "history", "http", "idle", "images", "junit", "log-bodies",
            "log-events", "max-concurrency", "max-tokens", "no-resend", "order", "otlp", "part", "percentiles",
            "prefix", "probe", "processes", "repeat", "respect-retry-after", "same-prompts", "seed", "self-test",
            "speed", "start-at", "streams-per-connection", "strict", "texts", "think", "think-cap", "tool-results",
            "tools", "trace", "turns", "until", "wait-ready", "websocket",
        )
    ),
}  # fmt: skip
"""Removed names, for which an error and CHANGELOG.md state what to use instead."""

RELEASED = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def names() -> Mapping[str, Sequence[str]]:
    return interface()


@describes_all_features
@each_row("kind", [kind for kind in RELEASED if kind != "version"])
def test_every_name_of_the_last_release_exists(kind, names):
    assert sorted({*RELEASED[kind]} - {*names[kind]} - REMOVED) == [], f"these names are in {RELEASED['version']}"


@describes_all_features
def test_the_list_of_names_is_complete(names):
    """The walks find nested keys, keys below any name, options of subcommands, and labels."""
    assert {"client_groups[].ratelimits.tokens", "stored_keys"} <= {*names["configuration keys"]}
    assert "keys add --config" in names["commands and options"]
    assert "trigate_exchanges_total (counter) ended" in names["metrics"]
    assert "Attempts: cause" in names["log fields"]
    assert "x-trigate-run" in names["headers"]
