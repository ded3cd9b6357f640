"""Names with several targets: their settings in a file, and the mistakes in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.aliases import Route, RouteTarget
from gateway.config.attempts import CircuitSettings, Hedge, Retries
from gateway.config.names import Names
from gateway.config.settings import Config
from gateway.config_files.loading import ConfigError, from_mapping, load
from gateway.config_reports.changes import changes
from gateway.config_reports.warnings import warnings_of
from gateway.routing.router import Router
from gateway.viewing.listed_models import list_models
from streams.events import UNAVAILABLE
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.quick_yaml import load_yaml

HEAD = """version: v0.4.0
model_providers:
  - {model: openai/gpt-4o, name: a, access_key: k}
  - {model: openai/gpt-4o, name: b, access_key: l}
  - {model: anthropic/claude-sonnet-4-5, access_key: m}
  - {model: groq/*, access_key: n}
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Config:
        path = tmp_path / "trigate.yaml"
        path.write_text(HEAD + text)
        return load(path, {})

    return read


@pytest.fixture
def route(read):
    """Return a function that returns the one route of a file from the text of its setting."""

    def route(text: str, more: str = "") -> Route:
        (found,) = read(f"model_aliases:\n  r: {text}\n{more}").routes.values()
        return found

    return route


def test_a_route_needs_only_an_order_of_names(route):
    assert route("{targets: [a, claude-sonnet-4-5, groq/llama]}") == Route(
        name="r", groups=((RouteTarget("a"),), (RouteTarget("claude-sonnet-4-5"),), (RouteTarget("groq/llama"),))
    )


def test_a_list_in_the_list_is_a_group(route):
    found = route("{targets: [[{target: a, weight: 3}, b], {target: groq/x, when: [quota, overloaded]}]}")
    assert found.groups == (
        (RouteTarget("a", 3.0), RouteTarget("b")),
        (RouteTarget("groq/x", when=frozenset(("quota", "overloaded"))),),
    )


def test_unavailable_means_all_failures_of_a_target(route):
    found = route("{targets: [a, {target: b, when: [unavailable, context_too_long]}]}")
    assert found.groups[1][0].when == UNAVAILABLE | {"context_too_long"}


def test_everything_about_a_route_is_read(route):
    found = route(
        "{targets: [a, b], balance: lowest_latency, sticky: X-Session, first_content: 10s,"
        " hedge: {after: p95, at_most: 2%}, retries: {attempts: 6}}",
        "retries: {deadline: 2m, budget: 10%}\n",
    )
    assert (found.balance, found.sticky, found.first_content) == ("lowest_latency", "x-session", 10)
    assert found.hedge == Hedge("p95", 0.02)
    assert found.retries == Retries(attempts=6, deadline=120, budget=0.1)


@pytest.mark.parametrize(("written", "sticky"), [("auto", "auto"), ("false", None), ("off", None)])
def test_stickiness_can_be_turned_off(route, written, sticky):
    assert route(f"{{targets: [a, b], sticky: {written}}}").sticky == sticky


def test_an_alias_of_one_model_stays_an_alias_without_other_settings(read):
    config = read("model_aliases: {one: {target: a}, more: {target: a, retries: {attempts: 2}}}\n")
    assert config.aliases == {"one": "a"}
    assert config.routes == {"more": Route(name="more", groups=((RouteTarget("a"),),), retries=Retries(attempts=2))}


def test_settings_of_attempts_are_laid_over_those_of_the_root(read):
    config = read(
        "  - {model: vllm/x, base_url: 'http://h:8000/v1', retries: {attempts: 2}, circuit: {failures: 9},"
        " probe: /health}\nretries: {wait: 3s}\ncircuit: {longest: 1m, error_rate: 25%}\n"
    )
    *_, plain, own = config.entries
    assert config.retries == Retries(wait=3)
    assert config.circuit == CircuitSettings(longest=60, error_rate=0.25)
    assert (plain.retries, plain.circuit, plain.probe) == (None, None, None)
    assert own.retries == Retries(attempts=2, wait=3)
    assert own.circuit == CircuitSettings(failures=9, longest=60, error_rate=0.25)
    assert own.probe == "/health"


def test_without_routing_keys_no_routing_is_configured(read):
    config = read("")
    assert (config.retries, config.routes) == (None, {})


@each_row(
    ("listener", "root", "retries"),
    [
        ("max_retries: 2", "", Retries(attempts=3)),
        ("max_retries: 0", "", None),
        ("max_retries: 2", "retries: {attempts: 7}", Retries(attempts=7)),
        ("max_retries: 2", "retries: {wait: 1s}", Retries(attempts=3, wait=1)),
    ],
)
def test_a_listeners_retries_are_one_attempt_less(read, listener, root, retries):
    config = read(f"listeners: [{{port: 12000, {listener}}}]\n{root}\n")
    assert config.retries == retries
    assert config.ineffective == ()


def test_a_longer_first_time_out_makes_the_longest_as_long(read):
    assert read("circuit: {cooldown: 30s}\n").circuit == CircuitSettings(cooldown=30, longest=30)


@each_row(
    ("item", "mistake"),
    [
        (
            "{targets: [a, claude-sonet-4-5]}",
            "8:20: model_aliases.r.targets[1]: 'claude-sonet-4-5' is not a configured model; did you mean claude-s",
        ),
        ("{targets: [anthropic/claude-sonet-4-5]}", "; did you mean anthropic/claude-sonnet-4-5?"),
        (
            "{targets: [a, openai/gpt-4o]}",
            "targets[1]: model 'openai/gpt-4o' is ambiguous, because several entries have it; use one of",
        ),
        ("{targets: [a, b, a]}", "8:23: model_aliases.r.targets[2]: 'a' appears twice in this route; list each"),
        ("{targets: [[a, b], {target: a, when: [quota]}]}", "targets[1]: 'a' appears twice in this route"),
        (
            "{targets: [claude-sonnet-4-5, anthropic/claude-sonnet-4-5]}",
            "twice in this route, as 'claude-sonnet-4-5'; list each",
        ),
        ("{targets: [groq/*]}", "targets[0]: 'groq/*' is not a single model; choose one of its models: groq/MODEL"),
        ("{targets: [a, other]}", "targets[1]: 'other' is a route itself; use the name of one of model_providers"),
        ("{targets: [a, r]}", "targets[1]: 'r' is a route itself"),
        ("{targets: [a, single]}", "targets[1]: 'single' is an alias itself"),
        ("{targets: []}", "8:7: model_aliases.r.targets: the list is empty; list at least one model"),
        ("{targets: [a, []]}", "targets[1]: the list is empty; list at least one model"),
        ("{targets: [a, [[b]]]}", "targets[1][0]: a list; expected text"),
        ("{targets: [[{target: a, weight: 0}, {target: b, weight: 0}]]}", "targets[0]: every weight in the group"),
        ("{targets: [{target: a, weight: 0}, b]}", "targets[0]: every weight in the group is 0; set a weight"),
        ("{targets: [{target: a, weight: -1}]}", "targets[0].weight: -1; expected a number, 0 or more"),
        ("{targets: [a, {target: b, when: []}]}", "targets[1].when: the list is empty; list at least one failure"),
        ("{targets: [a, {target: b, when: [qouta]}]}", "targets[1].when[0]: 'qouta'; did you mean quota?"),
        ("{targets: [a, {target: b, when: [invalid]}]}", "when[0]: 'invalid'; errors of the client never"),
        (
            "{targets: [a, {target: b, when: [on]}]}",
            "when[0]: true (YAML reads on, yes and true as this); expected one of unav",
        ),
        ("{targets: [a, {target: b, when: yes}]}", "targets[1].when: true; expected a list"),
        ("{targets: [a, {target: b, on: [quota]}]}", "targets[1].on: unknown key; write it as `when`: YAML reads this"),
        ("{targets: [a, {target: b, true: [quota]}]}", "targets[1].true: unknown key; write it as `when`: YAML reads"),
        ("{targets: [a, off]}", "targets[1]: false; expected text (put it in quotes)"),
        (
            "{targets: [a], target: b}",
            "8:21: model_aliases.r.target: it cannot be combined with targets; remove one of them",
        ),
        ("{balance: weighted}", "8:3: model_aliases.r: neither target nor targets is set; set"),
        ("{targets: [a, b], sticky: on}", "r.sticky: true (YAML reads on, yes and true as this); expected auto"),
        ("{targets: [a, b], sticky: 'x y'}", "r.sticky: 'x y'; expected the name of a header"),
        (
            "{targets: [a, b], hedge: {after: p9}}",
            "hedge.after: 'p9'; expected a duration above 0, such as 2s, or p95",
        ),
        ("{targets: [a, b], first_content: 0}", "r.first_content: 0; expected a duration above 0"),
        ("{fallbacks: [a, b]}", "r.fallbacks: unknown key; write it as `targets`"),
        ("{targets: [a, {target: b, when: [tokens > many]}]}", "when[0]: 'tokens > many'"),
        ("{targets: [a, {target: b, when: [thinkin]}]}", "when[0]: 'thinkin'; did you mean thinking?"),
        ("{targets: [{target: b, when: [thinking]}]}", "targets: each target is for some kinds of requests only; add"),
        ("{target: a}\n  x-*-*: {target: a}", "model_aliases['x-*-*']: 'x-*-*' has several *; write one *"),
        ("{target: a}\n  x-*: {targets: [nobody/*]}", "'nobody/*' is not a configured model"),
        ("{target: a}\n  x-*: {targets: [a], default: true}", "default: x-* stands for many models; set `default`"),
    ],
)
def test_mistakes_in_a_route_are_reported_with_their_path(read, item, mistake):
    # Elsewhere, a cycle or an unknown name is found only at the first failure (BerriAI/litellm#10317).
    with pytest.raises(ConfigError) as caught:
        read(f"model_aliases:\n  r: {item}\n  other: {{targets: [a, b]}}\n  single: {{target: a}}\n")
    (found,) = caught.value.mistakes
    assert mistake in str(found).partition("trigate.yaml:")[2]


@each_row(
    ("text", "mistake"),
    [
        ("model_aliases: {r: {targets: [a, b], default: true}, s: {target: a, default: true}}",
         "model_aliases.s.default: r is also the default; set `default` for"),
        ("retries: {budget: 20}", "7:11: retries.budget: 20; expected a share such as 20%"),
        ("circuit: {error_rate: 0%}", "circuit.error_rate: 0% would make every target unavailable"),
        ("circuit: {cooldown: 30s, longest: 5s}", "circuit.longest: this is shorter than cooldown; set it"),
        ("num_retries: 2", "num_retries: unknown key; write it as `retries: {attempts: 3}`"),
        ("routing_preferences: [{name: code, models: [a, claude-sonet-4-5]}]",
         "7:48: routing_preferences[0].models[1]: 'claude-sonet-4-5' is"),
        ("routing_preferences: [{name: code, models: []}]", "[0].models: the list is empty; list at least one model"),
        ("routing_preferences: [{name: code, models: [a, a]}]", "[0].models[1]: 'a' appears twice in this route"),
        ("routing_preferences: [{name: code, models: [a], selection_policy: {prefer: fast}}]",
         "selection_policy.prefer: 'fast'; expected one of cheap"),
        ("  - {model: openai/x, probe: /health}", "probe: OpenAI is not your own server; remove it"),
        ("  - {model: vllm/x, base_url: 'http://h/v1', probe: health}", "probe: 'health'; expected a path such as"),
    ],
)  # fmt: skip
def test_mistakes_outside_of_routes_are_reported(read, text, mistake):
    # Health checks that were on by default cost 200 million tokens an hour: BerriAI/litellm#9584.
    with pytest.raises(ConfigError) as caught:
        read(f"{text}\n")
    (found,) = caught.value.mistakes
    assert mistake in str(found)


def test_a_boolean_key_from_a_program_is_reported_as_such():
    content = {
        "version": "v0.4.0",
        "model_providers": [{"model": "openai/a", "access_key": "k"}, {"model": "openai/b", "access_key": "k"}],
        "model_aliases": {"r": {"targets": ["a", {"target": "b", True: ["quota"]}]}},
    }
    with pytest.raises(ConfigError) as caught:
        from_mapping(content)
    assert "model_aliases.r.targets[1].true: unknown key; write it as `when`" in str(caught.value)


VARIABLES = """version: v0.4.0
model_providers:
  - {model: openai/gpt-4o, name: a, access_key: $A}
  - {model: $MODEL, name: b, access_key: $B}
model_aliases:
  r: {targets: [[a, b], {target: $LAST, when: [$WHEN]}], first_content: $PATIENCE, sticky: $STICKY, balance: $BALANCE}
  s: {targets: [b, $LAST], hedge: {after: $AFTER}, retries: {attempts: $ATTEMPTS, budget: $BUDGET}}
client_groups: [{name: $GROUP, only: [$ONLY], models: [$MODELS]}]
client_keys: [{name: alice, key: $KEY, group: $GROUP, only: [$ONLY]}]
circuit: {failures: $FAILURES, error_rate: $RATE, cooldown: $COOLDOWN, longest: $LONGEST}
"""


def test_variables_in_routes_may_stay_unknown(tmp_path):
    path = tmp_path / "trigate.yaml"
    path.write_text(VARIABLES)
    config = load(path, None)
    assert config.routes == {"r": Route(name="r", groups=((RouteTarget("a"),),))}
    assert [model.id for model in list_models(Router(config))] == ["a", "r"]


def test_variables_in_routes_are_expanded(tmp_path):
    path = tmp_path / "trigate.yaml"
    path.write_text(VARIABLES)
    values = {
        "A": "k", "B": "l", "MODEL": "groq/x", "LAST": "openai/gpt-4o-mini", "WHEN": "quota", "PATIENCE": "2s",
        "STICKY": "X-S", "BALANCE": "weighted", "AFTER": "p95", "ATTEMPTS": "3", "BUDGET": "5%", "GROUP": "team",
        "ONLY": "a*", "MODELS": "r", "KEY": "sk-gw-0123456789-0123", "FAILURES": "3", "RATE": "40%", "COOLDOWN": "1s",
        "LONGEST": "2s",
    }  # fmt: skip
    path.write_text(VARIABLES.replace("$A}", "$A}\n  - {model: $LAST, access_key: k}"))
    config = load(path, values)
    assert [target for _, target in config.routes["r"].places] == [
        RouteTarget("a"), RouteTarget("b"), RouteTarget("openai/gpt-4o-mini", when=frozenset(("quota",))),
    ]  # fmt: skip
    assert (config.routes["r"].sticky, config.routes["r"].first_content) == ("x-s", 2)
    assert config.routes["s"].retries == Retries(attempts=3, budget=0.05)
    assert config.circuit == CircuitSettings(3, 0.4, 1, 2)
    assert config.client_keys[0].walls == (("a*",), ("a*",))


# Groups of clients

KEYS = """client_keys:
  - {name: alice, key: sk-gw-alice-0123456789-0123456789, group: team%s}
"""


@each_row(
    ("group", "own", "mistake"),
    [
        ("{name: taem}", "", "client_keys[0].group: there is no group 'team'; did you mean taem?"),
        ("{name: team, models: [nobody]}", "", "client_groups[0].models[0]: 'nobody' is not a configured model"),
        ("{name: team, models: [claude-sonet-4-5]}", "", "not a configured model; did you mean claude-sonnet-4-5?"),
        ("{name: team}", ", models: [claude-sonnet]", "'claude-sonnet' is not a configured model; did you mean"),
        ("{name: team, models: []}", "", "client_groups[0].models: the list is empty"),
        ("{name: team, only: []}", "", "client_groups[0].only: the list is empty; list at least one entry"),
        ("{name: team, only: ['eu-*']}", "", "client_groups[0].only[0]: no entry matches 'eu-*'; use"),
        ("{name: team, only: [a, bb]}", "", "client_groups[0].only[1]: no entry matches 'bb'"),
        ("{name: team, only: [a]}", ", only: [b]", "client_keys[0].only: none of these entries is also allowed"),
        ("{name: team, key: sk-gw-team}", "", "client_groups[0].key: unknown key"),
        ("{models: [a]}", "", "client_groups[0].name: missing"),
        ("{name: ''}", "", "client_groups[0].name: the name is empty"),
        ("{name: team}, {name: team}", "", "client_groups[1].name: another group has the name team"),
    ],
)  # fmt: skip
def test_mistakes_in_a_client_group_are_reported(read, group, own, mistake):
    with pytest.raises(ConfigError) as caught:
        read(f"client_groups: [{group}]\n{KEYS % own}")
    found = [str(one) for one in caught.value.mistakes]
    assert mistake in found[0], found
    assert "sk-gw" not in str(caught.value)


def test_an_empty_group_is_a_warning(read):
    config = read(f"client_groups: [{{name: team}}, {{name: other}}]\n{KEYS % ''}")
    assert "client_groups: other has no clients: set `group: other` in an item of client_keys" in warnings_of(config)


def test_a_wildcards_own_name_is_a_pattern_of_it(read):
    (key,) = read(f"client_groups: [{{name: team, only: ['groq/*', a]}}]\n{KEYS % ', only: [a]'}").client_keys
    assert key.walls == (("a",), ("groq/*", "a"))


# Plano's routing preferences

USES = """routing_preferences:
  - name: code
    description: writing code
    models: [anthropic/claude-sonnet-4-5, groq/llama]
    selection_policy: {prefer: %s}
"""


@pytest.mark.parametrize(
    ("prefer", "groups", "balance"),
    [("none", [1, 1], "least_busy"), ("cheapest", [2], "cheapest"), ("fastest", [2], "lowest_latency")],
)
def test_a_preference_is_a_route_of_its_models(read, prefer, groups, balance):
    config = read(USES % prefer)
    route = config.routes["code"]
    assert [target.target for _, target in route.places] == ["anthropic/claude-sonnet-4-5", "groq/llama"]
    assert ([len(group) for group in route.groups], route.balance) == (groups, balance)
    assert {mistake.path for mistake in config.ineffective} == {"routing_preferences[0].description"}


def test_preferences_of_entries_are_a_route_of_these_entries():
    uses = [{"name": "code", "description": "writing code"}, {"name": "talk"}]
    entries = [
        {"model": "openai/gpt-4o", "access_key": "k", "routing_preferences": uses[:1]},
        {"model": "openai/gpt-5", "name": "five", "access_key": "k", "routing_preferences": uses},
    ]
    routes = from_mapping({"version": "v0.3.0", "model_providers": entries}).routes
    assert {name: [target.target for _, target in route.places] for name, route in routes.items()} == {
        "code": ["openai/gpt-4o", "five"],
        "talk": ["five"],
    }


@each_row("name", ["a", "gpt-4o", "claude-sonnet-4-5", "groq/x", "r", "single"])
def test_the_name_of_a_model_is_not_taken_by_a_preference(read, name):
    aliases = "model_aliases: {r: {targets: [a, b]}, single: {target: a}}\n"
    config = read(f"{aliases}routing_preferences: [{{name: {name}, models: [b]}}]\n")
    assert list(config.routes) == ["r"]
    assert f"routing_preferences[].name: another entry or alias has the name '{name}'" in config.warnings


# Probable mistakes

WINDOWS = """version: v0.4.0
model_providers:
  - {model: openai/one, name: a, access_key: k, quirks: {context_window: 100000}}
  - {model: openai/two, name: b, access_key: l, quirks: {context_window: 8000}}
  - {model: openai/three, name: shared, access_key: k}
  - {model: anthropic/four, name: far, access_key: k, quirks: {context_window: 200000}}
  - {model: openai/ten, name: nearly, access_key: l, quirks: {context_window: 95000}}
  - {model: openai/five, name: p, passthrough_auth: true}
  - {model: openai/six, name: q, passthrough_auth: true}
  - {model: vllm/seven, name: v, base_url: "http://h:1/v1"}
  - {model: vllm/eight, name: w, base_url: "http://h:1/v1"}
"""
SMALL = "route r: the context window of b has 8000 tokens, and an earlier target has 100000: longer prompts skip b"
ONE_KEY = "route r: all its targets use the same credential"
FIRST = "route r: a is among the first targets, which always get requests: its `when` has no effect"
USELESS = "route r: `context_too_long` leads to b, whose context window is no larger than those before it (8000 tokens)"
SILENT = "route r: `first_content` (10m) is not shorter than `deadline` (5m), so no target follows a silent one"
ONE = "route r: one attempt is too few for its other targets"
NO_HEDGE = "route r: `hedge.after` is not shorter than the timeout of a target, so there is never a second request"


@each_row(
    ("route", "warnings"),
    [
        ("{targets: [a, far]}", []),
        ("{targets: [a, b]}", [SMALL]),
        ("{targets: [[a, b]]}", []),
        ("{targets: [a, nearly]}", []),
        ("{targets: [b, a]}", []),
        ("{targets: [b, {target: a, when: [context_too_long]}]}", []),
        ("{targets: [a, {target: b, when: [context_too_long]}]}", [USELESS]),
        ("{targets: [shared, {target: b, when: [context_too_long]}]}", []),
        ("{targets: [a, shared]}", [ONE_KEY]),
        ("{targets: [p, q]}", [ONE_KEY]),
        ("{targets: [p, a]}", []),
        ("{targets: [v, w]}", []),
        ("{targets: [a, shared, far]}", []),
        ("{targets: [{target: a, when: [quota]}, far]}", [FIRST]),
        ("{targets: [[far, {target: a, when: [quota]}]]}", [FIRST]),
        ("{targets: [{target: a, when: [unavailable]}, far]}", []),
        ("{targets: [a, far], first_content: 10m}", [SILENT]),
        ("{targets: [a, far], first_content: 10m, retries: {deadline: 1h}}", []),
        ("{target: a, first_content: 10m}", []),
        ("{targets: [a, far], retries: {attempts: 1}}", [ONE]),
        ("{targets: [a, far], first_content: 2s, hedge: {after: 5s}}", [NO_HEDGE]),
        ("{targets: [a, far], first_content: 2s, hedge: {after: p95}}", []),
    ],
)
def test_unlikely_route_settings_are_warnings(tmp_path, route, warnings):
    path = tmp_path / "trigate.yaml"
    path.write_text(f"{WINDOWS}model_aliases:\n  r: {route}\n")
    found = [text for text in warnings_of(load(path, None)) if text.startswith("route ")]
    assert len(found) == len(warnings), found
    assert all(text.startswith(start) for text, start in zip(found, warnings, strict=True)), found


def test_a_choice_by_price_reports_targets_without_a_price(read):
    text = "  - {model: vllm/x, base_url: 'http://h/v1'}\nmodel_aliases: {r: {targets: [[a, x]], balance: cheapest}}\n"
    config = read(text)
    assert config.routes["r"].balance == "cheapest"
    assert [text for text in warnings_of(config) if text.startswith("route r: vllm/x has no price, so targets with")]


# Any shape

NAMES = ["a", "b", "claude-sonnet-4-5", "openai/gpt-4o", "groq/x", "groq/*", "r", "single", "nobody", "", None, True, 1]
ITEMS = st.one_of(
    st.sampled_from(NAMES),
    st.fixed_dictionaries(
        {"target": st.sampled_from(NAMES)},
        optional={
            "weight": st.sampled_from([0, 1, 2.5, "3", -1, None]),
            "when": st.lists(
                st.sampled_from(["quota", "unavailable", "context_too_long", "invalid", True]), max_size=2
            ),
        },
    ),
)
ROUTES = st.fixed_dictionaries(
    {"targets": st.lists(st.one_of(ITEMS, st.lists(ITEMS, max_size=3)), max_size=4)},
    optional={
        "balance": st.sampled_from(["weighted", "cheapest", "x"]),
        "sticky": st.sampled_from([False, True, "auto", "X-S", ""]),
        "first_content": st.sampled_from(["2s", "10m", 0]),
        "hedge": st.sampled_from([{"after": "1s"}, {"after": "p95"}, {}, None]),
        "retries": st.sampled_from([{"attempts": 1}, {"attempts": 0}, {}]),
        "default": st.booleans(),
    },
)


@given(
    ROUTES, st.lists(st.sampled_from(["a", "b", "claude-sonnet-4-5", "groq/x"]), unique=True, min_size=1, max_size=3)
)
@settings(deadline=None, max_examples=examples(150))
def test_a_route_of_any_shape_is_refused_or_planned(route, good):
    entries = load_yaml(HEAD)["model_providers"]
    for item in (route, {"targets": [good]}, {**route, "targets": good}):
        aliases = {"r": item, "single": {"target": "a"}}
        try:
            config = from_mapping({"version": "v0.4.0", "model_providers": entries, "model_aliases": aliases})
        except ConfigError:
            continue
        plan = Router(config).plan("r", "chat")
        meaning = Names.of(config).meaning("r")
        assert [one.target.entry for one in plan.candidates] == [found.entry for found in meaning.found]
        assert [one.group for one in plan.candidates] == [number for number, _ in config.routes["r"].places]
        assert len({(one.target.entry.name, one.target.model) for one in plan.candidates}) == len(plan.candidates)
        assert list(changes(config, config)) == []
