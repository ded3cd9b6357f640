"""Keys that LiteLLM rejects stay rejected after the import, in each form of its clients' requests."""

import hashlib
from typing import Any

import pytest
import yaml

from tests.support.compatible_forms import HELLO, compatible_requests
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.litellm_files import TOKEN_COSTS, file_text, import_with_tables, item

pytestmark = needs_feature("compatible_clients")

PERIOD = {"max_budget": 5, "budget_duration": "30d", "budget_reset_at": "2999-01-01T00:00:00"}
TEAMS = [
    {"team_id": "open", "team_alias": "open", "models": [], **PERIOD, "spend": 1},
    {"team_id": "spent", "team_alias": "spent", "models": [], **PERIOD, "spend": 6},
    {"team_id": "blocked", "team_alias": "blocked", "models": [], "blocked": True},
    {"team_id": "zero", "team_alias": "zero", "models": [], "tpm_limit": 0},
]
KEYS: dict[str, tuple[int, dict[str, Any]]] = {
    "good": (200, {"max_budget": 50, "budget_duration": "30d", "budget_reset_at": "2999-01-01", "spend": 1}),
    "in-team": (200, {"team_id": "open"}),
    "reset": (200, {**PERIOD, "budget_reset_at": "2020-01-01", "spend": 9}),
    "spent": (402, {**PERIOD, "spend": 5}),
    "spent-in-team": (402, {"team_id": "spent"}),
    "spent-for-good": (401, {"max_budget": 5, "spend": 5}),
    "no-money": (401, {**PERIOD, "max_budget": 0, "spend": 0}),
    "no-requests": (401, {"rpm_limit": 0}),
    "blocked": (401, {"blocked": True}),
    "blocked-team": (401, {"team_id": "blocked"}),
    "zero-team": (401, {"team_id": "zero"}),
    "expired": (401, {"expires": "2020-01-01T00:00:00"}),
}


def secret(name: str) -> str:
    return f"sk-{name}-1234567890"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    with mock_thread() as mock:
        server = {"api_base": f"{mock.url}/v1", "api_key": "os.environ/KEY", **TOKEN_COSTS}
        models = [item(name, "openai/mock-small", **server) for name in ("demo", "team/model")]
        (folder / "litellm.yaml").write_text(yaml.safe_dump({"model_list": models}))
        rows = [
            {"token": hashlib.sha256(secret(name).encode()).hexdigest(), "key_alias": name, "models": [], **columns}
            for name, (_, columns) in KEYS.items()
        ]
        tables = {"LiteLLM_VerificationToken": rows, "LiteLLM_TeamTable": TEAMS}
        moved = yaml.safe_load(file_text(import_with_tables(folder / "litellm.yaml", tables)))
        moved |= {"listeners": [{"port": 0}], "trusted_proxies": ["127.0.0.1"], "compatibility": ["azure", "litellm"]}
        with gateway_thread(moved, env={"KEY": "sk-up"}) as found:
            yield found


@each_row("name", KEYS)
def test_a_key_has_the_status_that_it_had_in_litellm(gateway, name):
    status = KEYS[name][0]
    bearer = {"authorization": f"Bearer {secret(name)}"}
    forms = [*compatible_requests(secret(name)), ("/v1/chat/completions", HELLO, bearer)]
    # Another third of the forms for each key, by turns.
    for number, (path, body, headers) in enumerate(forms[list(KEYS).index(name) % 3 :: 3]):
        # Each request has an address of its own: many wrong keys from one address get 429 instead of 401.
        address = f"10.0.{list(KEYS).index(name)}.{number}"
        reply = gateway.request("POST", path, body, {**headers, "x-forwarded-for": address})
        assert reply.status == status, (path, reply.body)
