"""The work for lists from clients is linear and bounded: unknown names, and members that no provider accepts."""

import hashlib

import pytest

from gateway.config_files.loading import from_mapping
from gateway.http.headers import paths_header
from gateway.logs.masking import Mask
from gateway.routing.router import Router
from providers.neutral.fields import LONGEST, MAX_PATHS, Drops
from providers.neutral.hints import HINTS, losses
from streams.errors import GatewayError
from tests.support.each_row import each_row
from tests.support.growth import assert_time_grows_linearly, steps


def test_losses_are_judged_in_time_linear_in_their_number():
    assert_time_grows_linearly(lambda n: lambda: losses([f"messages[].m{i}" for i in range(n)]))


def test_hints_are_no_losses_and_names_that_only_begin_like_hints_are():
    assert losses(hint.replace("*", "tools[]") for hint in HINTS) == ()
    assert losses(("users", "metadata_", "tools[].cache_controls")) == ("users", "metadata_", "tools[].cache_controls")


def test_the_number_of_collected_lost_paths_is_bounded():
    drops = Drops(f"m{i}" for i in range(100_000))
    drops.add("x" * 2**20)
    assert len(drops.paths()) == 2 * MAX_PATHS
    assert max(map(len, drops.paths())) <= LONGEST
    assert len(paths_header(drops.paths())) <= 2100


def test_a_loss_is_reported_despite_any_number_of_hints():
    drops = Drops(f"metadata.m{i}" for i in range(100_000))
    assert losses(drops.paths()) == ()
    drops.add("temperature")
    assert losses(drops.paths()) == ("temperature",)


def unknown(router: Router, name: str) -> str:
    with pytest.raises(GatewayError) as caught:
        router.resolve(name, "chat")
    return caught.value.info.message


def test_unknown_names_are_compared_with_few_others():
    """difflib takes the product of two lengths for each close comparison, with each name of similar length."""
    names = [f"acme-{i:03d}-" + "model-" * 12 for i in range(100)]
    entries = [{"model": f"openai/{name}", "access_key": "k", "base_url": "http://a.test"} for name in names]
    router = Router(from_mapping({"version": "v0.3.0", "model_providers": entries}))
    asked = "acme-042-" + "modle-" * 12
    first = sum(steps(lambda: unknown(router, asked)).values())
    again = sum(steps(lambda: unknown(router, asked)).values())
    assert "did you mean" in unknown(router, asked)
    assert first < 400_000
    assert again < first / 20


KEY = "a-key-that-only-its-digest-is-known-of"


UNITS = (f"{KEY}/", f"{KEY} ", "sk-", "sk-a", "eyJ", "eyJa.", "-eyJ", "eyJaaaaaaaaaa.", "AIza", "a/", "=", "a-")


@each_row("unit", UNITS)
def test_keys_are_masked_in_time_linear_in_the_text(unit):
    mask = Mask(("a-secret",), (hashlib.sha256(KEY.encode()).digest(),))
    assert_time_grows_linearly(lambda n: lambda text=unit * (8 * n): mask(text))
