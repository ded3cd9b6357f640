"""A file with many mistakes: each is reported, and none hides another."""

import copy
import itertools
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from gateway.config_files.loading import ConfigError, load
from tests.support.each_row import each_row
from tests.support.features import members_of, rows_of

KEY = "sk-gw-0123456789-0123"
VALID = {
    "version": "v0.4.0",
    "listeners": [{"port": 12000}],
    "providers": {"mine": {"base_url": "http://127.0.0.1:8001/v1"}},
    "model_providers": [
        {"model": "openai/gpt-4o", "access_key": "k", "name": "big"},
        {"model": "openai/gpt-4o-mini", "access_key": "k"},
    ],
    "model_aliases": {"fast": {"target": "openai/gpt-4o-mini"}},
    "client_groups": [{"name": "team"}],
    "client_keys": [{"name": "app", "key": KEY, "group": "team", "models": ["fast"]}],
    **members_of("mcp", mcp_servers=[{"name": "git", "base_url": "http://127.0.0.1:8002/mcp"}]),
    **members_of("steps", steps=[{"use": "pii", "name": "first"}]),
    "budgets": ["5 usd/day"],
}
Change = Callable[[dict[str, Any]], object]
RULE = {"when": {"sub": "x"}}
ISSUER = {"issuer": "https://id.example", "audience": ["trigate"], "admit": [RULE]}


def text(place: str, value: Any) -> Change:
    """Return a change that adds ``value`` to a list."""
    return lambda content: content.setdefault(place, []).append(value)


def item(place: str, /, **members: Any) -> Change:
    return text(place, members)


def name(place: str, name: str, value: Any) -> Change:
    return lambda content: content[place].update({name: value})


def root(place: str, value: Any) -> Change:
    return lambda content: content.update({place: value})


def key(name: str, **members: Any) -> Change:
    return item("client_keys", name=name, **{"key": f"{KEY}-{name}", **members})


TOPICS: dict[str, Change] = {
    "colour: unknown key": root("colour", "red"),
    **members_of("live_view", **{"ui: 'maybe'": root("ui", "maybe")}),
    "listeners[].port: 99999": item("listeners", name="b", address="127.0.0.2", port=99999),
    "providers.other.base_url: 'nowhere'": name("providers", "other", {"base_url": "nowhere"}),
    "model_providers[].model: missing": item("model_providers", access_key="k"),
    "model_providers[].model: unknown provider 'opnai'": item("model_providers", model="opnai/o4", access_key="k"),
    "model_providers[].model: vllm/a has no price, but the root of the file has a budget of 5 usd/day": item(
        "model_providers", model="vllm/a", base_url="http://127.0.0.1:8003/v1"
    ),
    "model_aliases.a.target: 'gpt-9' is not a configured model": name("model_aliases", "a", {"target": "gpt-9"}),
    "model_aliases.b.targets[]: 'gpt-10' is not a configured model": name(
        "model_aliases", "b", {"targets": ["big", "gpt-10"]}
    ),
    "client_groups[].name: missing": item("client_groups", models=["big"]),
    "client_keys[].group: there is no group 'teem'": key("grouped", group="teem"),
    "client_keys[]: neither key nor sha256 is set": item("client_keys", name="keyless"),
    "client_keys[].models[]: 'gpt-13' is not a configured model": key("models", models=["gpt-13"]),
    **members_of(
        "mcp",
        **{
            "client_keys[].mcp[]: there is no MCP server 'gti'": key("mcp", mcp=["gti"]),
            "mcp_servers[].base_url: 'nowhere'": item("mcp_servers", name="hub", base_url="nowhere"),
        },
    ),
    **members_of(
        "people",
        **{
            "issuers[].audience: the list is empty": item("issuers", **{**ISSUER, "name": "i", "audience": []}),
        },
    ),
    **members_of(
        "steps",
        **{
            "steps[].use: missing": item("steps", name="second"),
            "steps[].for.models[]: 'gpt-14' is not a configured model": item(
                "steps", use="pii", name="third", **{"for": {"models": ["gpt-14"]}}
            ),
        },
    ),
    "state_storage.type: 'sqlte'": root("state_storage", {"type": "sqlte"}),
    "counters.url: type redis needs a url": root("counters", {"type": "redis"}),
    **members_of("answer_cache", **{"cache.url: redis needs a url": root("cache", {"type": "redis"})}),
    "retries.attempts: 0": root("retries", {"attempts": 0}),
    **members_of("tracing", **{"tracing.random_sampling: 200": root("tracing", {"random_sampling": 200})}),
}
"""One mistake of each topic by its path without positions and its text, and the change that makes it."""

MORE: dict[str, Change] = {  # mistakes of the same topics, which no other test has
    "listeners[].port: it cannot be combined with socket": item("listeners", name="d", socket="/run/x", port=3),
    "listeners[].timeout: 'soon'": item("listeners", name="e", port=12004, timeout="soon"),
    "model_providers[]: 'openai/gpt-5'": text("model_providers", "openai/gpt-5"),
    "model_providers[].modle: unknown key": item("model_providers", modle="openai/gpt-4.1", access_key="k"),
    "client_groups[].name: another group has the name team": item("client_groups", name="team"),
    "client_groups[].models[]: 'gpt-12' is not a configured model": item("client_groups", name="g", models=["gpt-12"]),
    "client_groups[].only[]: no entry matches 'zzz'": item("client_groups", name="h", only=["zzz"]),
    "client_keys[]: client app has the same key": item("client_keys", name="copy", key=KEY),
    "client_keys[].only[]: no entry matches 'yyy'": key("only", only=["yyy"]),
    "client_keys[].sha256: not a SHA-256 digest": item("client_keys", name="digest", sha256="xyz"),
    **members_of(
        "mcp",
        **{
            "mcp_servers[].name: another server has the name git": item(
                "mcp_servers", name="git", base_url="http://127.0.0.1:8009/mcp"
            ),
        },
    ),
    **members_of(
        "people",
        **{
            "issuers[].admit[].group: there is no group 'nogroup'": item(
                "issuers",
                **{**ISSUER, "name": "j", "issuer": "https://j.example", "admit": [{**RULE, "group": "nogroup"}]},
            ),
            "issuers[].admit: the list is empty": item(
                "issuers", **{**ISSUER, "name": "k", "issuer": "https://k.example", "admit": []}
            ),
        },
    ),
    **members_of(
        "steps",
        **{
            "steps[].for.entries[]: no name in model_providers matches 'xxx'": item(
                "steps", use="pii", name="fourth", **{"for": {"entries": ["xxx"]}}
            ),
            "steps[].with.colour: unknown key": item("steps", use="pii", name="fifth", **{"with": {"colour": 1}}),
        },
    ),
    **members_of("admin", **{"stored_keys: 'x'": root("stored_keys", "x")}),
    "log_level: 'loud'": root("log_level", "loud"),
    "signing_key: not a valid key": root("signing_key", "short"),
}


def mistakes(changes: Iterable[Change], tmp_path) -> set[str]:
    content = copy.deepcopy(VALID)
    for change in changes:
        change(content)
    found = ()
    try:
        load(tmp_path / "trigate.yaml", {}, json.dumps(content).encode())
    except ConfigError as error:
        found = error.mistakes
    assert len({*map(str, found)}) == len(found), "each is said once"
    return {re.sub(r"\[\d+\]", "[]", one.path) + f": {one.found}" for one in found}


def test_without_a_mistake_the_file_is_valid(tmp_path):
    assert mistakes((), tmp_path) == set()


def test_all_mistakes_of_a_file_are_reported_together(tmp_path):
    found = mistakes((*TOPICS.values(), *MORE.values()), tmp_path)
    assert {*TOPICS, *MORE} - found == set()


@pytest.mark.parametrize("part", range(3))
def test_no_mistake_hides_one_of_another_topic(part, tmp_path):
    hidden = [
        {one, other} - found
        for one, other in itertools.islice(itertools.combinations(TOPICS, 2), part, None, 3)
        if {one, other} - (found := mistakes((TOPICS[one], TOPICS[other]), tmp_path))
    ]
    assert hidden == []


def test_a_mistake_of_yaml_hides_no_other(tmp_path):
    path = tmp_path / "trigate.yaml"
    more = "colour: red\nport: 1\nport: 2\nmodel_providers: [{model: a/b}, ]\n"
    path.write_text(f"version: v0.4.0\ntimezone: !!bool x\n{more}")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert [str(one).removeprefix(f"{path}:").split(";")[0] for one in caught.value.mistakes] == [
        "2:11: timezone: a tag changes the type of this value",
        "3:1: colour: unknown key.",
        "5:1: port: this key appears twice, first in line 4",
        "5:1: port: unknown key",
        "6:20: model_providers[0].model: unknown provider 'a'",
    ]


@each_row(
    ("change", "names"),
    [
        (item("model_providers", modle="openai/gpt-4.1"), ["openai/gpt-4.1", "gpt-4.1"]),
        (item("model_providers", model="gpt-4.1"), ["gpt-4.1"]),
        (item("model_providers", model="opnai/gpt-4.1", name="mine"), ["mine", "gpt-4.1"]),
        (item("model_providers", model="opnai/*"), ["opnai/gpt-4.1"]),
        (item("model_providers", nmae="x", name="openai/*"), ["openai/gpt-9", "gpt-4.1"]),
    ],
)
def test_a_name_of_an_invalid_entry_is_not_reported_as_unknown(tmp_path, change, names):
    aliases = [name("model_aliases", f"a{i}", {"target": one}) for i, one in enumerate(names)]
    found = mistakes((change, *aliases, key("x", models=names)), tmp_path)
    assert found
    assert not [one for one in found if "is not a configured model" in one]


@pytest.mark.parametrize(
    ("changes", "only"),
    [
        ((item("client_groups", nmae="new"), key("x", group="new")), {"client_groups[].name", "client_groups[].nmae"}),
        *rows_of("mcp", ((text("mcp_servers", "new"), key("x", mcp=["new"])), {"mcp_servers[]"})),
        ((name("model_aliases", "new", 5), key("x", models=["new"])), {"model_aliases.new"}),
        ((item("client_keys", name="x", keey="k"),), {"client_keys[].keey"}),
        *rows_of(
            "admin",
            ((root("state_storage", {"type": "sqlte"}), root("stored_keys", True)), {"state_storage.type"}),
        ),
    ],
)  # fmt: skip
def test_a_mistake_causes_no_other_report(tmp_path, changes, only):
    assert {one.partition(":")[0] for one in mistakes(changes, tmp_path)} == only
