"""The wall of a client: the only entries that may ever serve it (BerriAI/litellm#38572)."""

import attrs
import pytest

from gateway.access.authentication import Authenticator
from gateway.config_files.loading import from_mapping
from gateway.routing.plan import Candidate, candidates_inside, is_inside
from gateway.routing.router import Router
from streams.errors import GatewayError

NAMES = ("eu-1", "eu-2", "us")
CONFIG = from_mapping(
    {
        "version": "v0.4.0",
        "model_providers": [
            {"model": "azure_openai/gpt-5", "name": name, "access_key": "k", "base_url": f"https://{name}.example"}
            for name in NAMES
        ],
        "client_keys": [{"name": name, "key": f"sk-{name}-0123456789"} for name in ("bank", "shop", "nobody")],
    }
)
ONLY = {"bank": ("eu-*",), "shop": None, "nobody": ()}
KEYS = tuple(attrs.evolve(key, only=ONLY[key.name]) for key in CONFIG.client_keys)
AUTHENTICATOR = Authenticator(attrs.evolve(CONFIG, client_keys=KEYS))
CANDIDATES = tuple(Candidate(Router(CONFIG).resolve(name, "chat"), at) for at, name in enumerate(NAMES))


@pytest.mark.parametrize(("client", "left"), [("bank", NAMES[:2]), ("shop", NAMES), (None, NAMES)])
def test_only_candidates_inside_the_wall_remain(client, left):
    kept = candidates_inside(CANDIDATES, AUTHENTICATOR.wall(client), client)
    assert tuple(one.target.entry.name for one in kept) == left


def test_without_a_wall_the_same_candidates_are_returned():
    assert candidates_inside(CANDIDATES, None, "shop") is CANDIDATES


@pytest.mark.parametrize(("client", "candidates"), [("nobody", CANDIDATES), ("bank", CANDIDATES[2:])])
def test_an_empty_plan_is_a_403_that_names_no_other_targets(client, candidates):
    with pytest.raises(GatewayError) as refused:
        candidates_inside(candidates, AUTHENTICATOR.wall(client), client)
    failed = refused.value.info
    assert (failed.kind, failed.param) == ("permission", "model")
    assert f"the key '{client}'" in failed.message
    assert "example" not in failed.message
    assert "GET /v1/models" in failed.message


def test_a_pattern_matches_the_whole_name_and_its_case():
    keys = tuple(attrs.evolve(key, only=("u", "EU-1")) for key in CONFIG.client_keys)
    wall = Authenticator(attrs.evolve(CONFIG, client_keys=keys)).wall("bank")
    assert not any(is_inside(one.target, wall) for one in CANDIDATES)
