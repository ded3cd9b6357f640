"""A gateway without any of its extras: no module needs one that its configuration does not need."""

import subprocess
import sys
import tomllib
from typing import Final

import pytest

from tests.support.admin import KEYS, admin_config
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.repository import ROOT

PACKAGES: Final = (
    "azure", "botocore", "coredis", "cryptography", "google", "jwt", "nacl", "opentelemetry", "psycopg", "requests",
)  # fmt: skip
EXTRAS: Final = {
    "aws",
    "azure",
    "encryption",
    "gcs",
    "google",
    "identity",
    "litellm",
    "otel",
    "postgres",
    "redis",
    "zstd",
}

NEED_ONE: Final = {
    "gateway.counters.postgres", "gateway.counters.redis", "gateway.stores.encrypted", "gateway.stores.postgres",
    "gateway.stores.redis", "gateway.features.answer_cache.encrypted", "gateway.features.answer_cache.redis",
    "gateway.features.tracing.tracing", "gateway.sign_in.aws", "gateway.sign_in.azure", "gateway.sign_in.google",
}  # fmt: skip
"""The modules that import an extra at their top. A configuration that imports one has a key that needs the extra."""

IMPORTS: Final = f"""
import pkgutil, sys
from importlib import import_module

sys.modules.update(dict.fromkeys({PACKAGES!r}))
for package in ("configfile", "streams", "providers", "loadtest", "trigate", "gateway"):
    for found in pkgutil.walk_packages(import_module(package).__path__, package + "."):
        try:
            found.name.endswith("__main__") or import_module(found.name)
        except ModuleNotFoundError:
            print(found.name)
"""


def test_the_extras_are_the_declared_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == EXTRAS, "add the packages of a new extra to PACKAGES"


@pytest.mark.process
def test_only_the_modules_in_the_table_need_an_extra():
    said = subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert not said.returncode, said.stderr
    assert set(said.stdout.split()) <= NEED_ONE


@pytest.mark.process
@needs_feature("people")
def test_pages_and_calls_without_issuers_need_no_extra(tmp_path, monkeypatch):
    for name in [*PACKAGES, *(name for name in sys.modules if name.partition(".")[0] in PACKAGES)]:
        monkeypatch.setitem(sys.modules, name, None)
    with gateway_thread(admin_config(tmp_path)) as gateway:
        for path in ("/me", "/me/usage", "/admin/v1/keys", "/admin/v1/people", "/ui/me", "/ui/usage", "/ui/keys"):
            reply = gateway.request("GET", path, headers={"x-api-key": KEYS["admin"]})
            assert reply.status == 200, (path, reply.body)
