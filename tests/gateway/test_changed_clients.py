"""Changes of clients while the rest of a configuration stays: unchanged clients keep their values, and their rights are
those that a new start would give them."""

import random
from typing import Any

import attrs

from gateway.access.authentication import Authenticator
from gateway.allowances.allowances import Allowances
from gateway.allowances.seeds import budgets_of
from gateway.config_files.loading import Config, from_mapping
from tests.support.harness import config

ENTRIES = [{"model": f"openai/{name}", "access_key": "k", "price": "free"} for name in ("small", "large")]
GROUPS = [{"name": "research", "models": ["small"], "budgets": ["9 usd/day"]}, {"name": "ci", "only": ["openai/small"]}]
MODELS = ("small", "large")


def client(name: str, chance: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "key": f"key-of-{name}-0123456789-{chance.randrange(9)}"}
    choices = {"group": ["research", "ci"], "models": [["small"], ["large"]], "budgets": [["1 usd/day"], ["2 usd/day"]]}
    made |= {key: chance.choice(values) for key, values in choices.items() if chance.random() < 0.5}
    if made.get("group") == "research" and made.get("models") == ["large"]:
        del made["models"]
    return made


def read(clients: list[dict[str, Any]], **more: Any) -> Config:
    settings = {"client_groups": GROUPS, "client_keys": clients, "budgets": ["50 usd/day"], **more}
    return from_mapping(config(ENTRIES, 12000, **settings))


def with_clients(base: Config, other: Config) -> Config:
    """Return ``base`` with the clients of ``other``. Equal clients stay the same objects."""
    known = {key.name: key for key in base.client_keys}
    same = (known[key.name] if known.get(key.name) == key else key for key in other.client_keys)
    return attrs.evolve(base, client_keys=tuple(same))


def rights(authenticator: Authenticator, settings: Config) -> list[Any]:
    names = [key.name for key in settings.client_keys]
    return [
        (name, [authenticator.can_use(name, model) for model in MODELS], authenticator.wall(name),
         authenticator.group_of(name)) for name in names
    ]  # fmt: skip


def texts(allowances: Allowances, settings: Config) -> list[Any]:
    return [
        (key.name, [(str(one.holder), one.text) for one in allowances.of_client(key.name)])
        for key in settings.client_keys
    ]


def test_changed_clients_have_the_rights_and_limits_of_a_new_start():
    chance = random.Random(7)
    clients = [client(f"c{number}", chance) for number in range(12)]
    present = read(clients)
    authenticator, allowances = Authenticator(present), Allowances(present)
    for round in range(30):
        clients = [client(one["name"], chance) if chance.random() < 0.2 else one for one in clients]
        clients = [one for one in clients if chance.random() < 0.95] + [client(f"n{round}", chance)]
        earlier, present = present, with_clients(present, read(clients))
        previous, authenticator = authenticator, Authenticator(present, before=authenticator)
        before, allowances = allowances, allowances.next(present)
        assert rights(authenticator, present) == rights(Authenticator(present), present)
        assert texts(allowances, present) == texts(Allowances(present), present)
        old = {(str(one.holder), one.text) for one in before.list_all()}
        new = {(str(one.holder), one.text) for one in budgets_of(allowances, before)}
        listed = {(str(one.holder), one.text) for one in budgets_of(Allowances(present))}
        assert new == listed - old
        unchanged = [key.name for key in present.client_keys if key in earlier.client_keys]
        assert unchanged
        assert all(
            a is b
            for name in unchanged
            for a, b in zip(before.of_client(name), allowances.of_client(name), strict=True)
        )
        assert previous is not authenticator


def test_other_groups_or_models_change_all_clients():
    alice = {"name": "alice", "key": "key-of-alice-0123456789", "group": "research"}
    first = read([alice])
    groups = [{**GROUPS[0], "models": ["large"], "budgets": ["8 usd/day"]}, GROUPS[1]]
    second = read([alice], client_groups=groups)
    allowances = Allowances(first).next(second)
    assert texts(allowances, second) == texts(Allowances(second), second)
    assert rights(Authenticator(second, before=Authenticator(first)), second) == rights(Authenticator(second), second)
