"""Settings that need a package of an extra."""

import base64
import sys

import pytest

from gateway.config_files.loading import from_mapping
from tests.support.features import needs_feature

KEY = base64.b64encode(bytes(32)).decode()
POSTGRES = "postgresql://user:word@127.0.0.1/db?sslmode=disable"


@pytest.mark.parametrize(
    ("keys", "module", "key", "extra"),
    [
        ({"state_storage": {"type": "postgres", "connection_string": POSTGRES}}, "psycopg", "state_storage.type",
         "postgres"),
        ({"state_storage": {"type": "memory", "encryption_key": KEY}}, "cryptography", "state_storage.encryption_key",
         "encryption"),
        ({"counters": {"type": "postgres", "url": POSTGRES}}, "psycopg", "counters.type", "postgres"),
        ({"counters": {"type": "redis", "url": "redis://127.0.0.1"}}, "coredis", "counters.type", "redis"),
        pytest.param({"cache": {"type": "redis", "url": "redis://127.0.0.1"}}, "coredis", "cache.type", "redis",
                     marks=needs_feature("answer_cache")),
    ],
)  # fmt: skip
def test_a_missing_package_is_a_warning_because_the_file_may_be_for_another_machine(
    monkeypatch, keys, module, key, extra
):
    """``trigate check`` reported a valid file, and ``trigate serve`` did not start."""
    file = {
        "version": "v0.4.0",
        "listeners": [{"type": "model", "name": "egress", "port": 12000}],
        "model_providers": [{"model": "openai/gpt-4o", "access_key": "sk-upstream"}],
        **keys,
    }
    assert not [one for one in from_mapping(file).warnings if "package" in one]
    monkeypatch.setitem(sys.modules, module, None)
    (warning,) = [one for one in from_mapping(file).warnings if "package" in one]
    assert warning.startswith(f"{key}: ")
    assert warning.endswith(f"pip install 'trigate[{extra}]'")
